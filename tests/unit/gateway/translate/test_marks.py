"""What a message says of how long the user waits, and what a translator says of it."""

from typing import Any

import pytest
from msgspec import json

from gateway.translate.base import Translation
from gateway.translate.beta import BetaTranslator
from gateway.translate.chain import Chained
from gateway.translate.marks import Mark, of_gemini, of_openai
from gateway.translate.to_gemini.translator import GeminiTranslator
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN

Message = dict[str, Any]
AUDIO = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAAAAAA"}}
TURN = {"role": "user", "parts": [{"text": "Hello?"}]}


def model(*parts: Message, **more: Any) -> Message:
    """What the model says."""
    return {"serverContent": {"modelTurn": {"parts": list(parts)}, **more}}


@pytest.mark.parametrize(
    ("message", "mark"),
    [
        ({"realtimeInput": {"activityEnd": {}}}, Mark.STOPPED),
        ({"realtime_input": {"activity_end": {}}}, Mark.STOPPED),
        ({"realtimeInput": {"activityStart": {}}}, Mark.FORGOTTEN),
        ({"realtimeInput": {"text": "Hello?"}}, Mark.STOPPED),
        ({"realtimeInput": {"audio": {}}}, None),
        ({"realtimeInput": {"audioStreamEnd": True}}, None),
        ({"clientContent": {"turns": [TURN], "turnComplete": True}}, Mark.STOPPED),
        ({"client_content": {"turns": [TURN], "turn_complete": True}}, Mark.STOPPED),
        ({"clientContent": {"turns": [TURN]}}, Mark.FORGOTTEN),
        ({"toolResponse": {"functionResponses": []}}, Mark.FORGOTTEN),
        ({"toolCall": {"functionCalls": []}}, Mark.FORGOTTEN),
        ({"voiceActivity": {"voiceActivityType": "ACTIVITY_END"}}, Mark.STOPPED),
        ({"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}}, Mark.FORGOTTEN),
        ({"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_EOS"}}, Mark.STOPPED),
        ({"serverContent": {"inputTranscription": {"text": "Hello"}}}, Mark.TRANSCRIBED),
        ({"serverContent": {"outputTranscription": {"text": "Hello"}}}, None),
        (model(AUDIO), Mark.BEGUN),
        (model({"text": "Hello"}), Mark.BEGUN),
        (model({"text": "Hm.", "thought": True}), None),
        (model(AUDIO, turnComplete=True), Mark.ENDED),
        ({"serverContent": {"turnComplete": True}, "usageMetadata": {}}, Mark.ENDED),
        ({"serverContent": {"interrupted": True}}, Mark.ENDED),
        ({"serverContent": {"generationComplete": True}}, None),
        ({"setupComplete": {}}, None),
        ({"serverContent": {"modelTurn": {"parts": 7}}}, None),
        ({"voiceActivity": {"voiceActivityType": []}}, None),
        ({"clientContent": 7}, Mark.FORGOTTEN),
        ({"realtimeInput": 7}, None),
    ],
)
def test_what_a_message_of_gemini_s_says(message: Message, mark: Mark | None) -> None:
    """In either spelling, and whatever stands where."""
    assert of_gemini(message) is mark


def marks(*made: Translation) -> list[Mark]:
    """What is said of the wait."""
    return [mark for out in made for mark in out.marks if mark is not None]


def test_a_gemini_client_at_openai_waits_as_openai_says() -> None:
    """By its detection of speech, or from the end of an activity, or a question in writing."""
    talk = OpenAITranslator(provider="openai", model="m", seed="5eed", voices=BUILT_IN)
    manual = {"automaticActivityDetection": {"disabled": True}}
    talk.provider_opened()
    talk.from_client(json.encode({"setup": {"model": "m", "realtimeInputConfig": manual}}))
    talk.from_provider(b'{"type":"session.updated","session":{}}')
    said = [
        {"realtimeInput": {"activityStart": {}}},
        {"realtimeInput": {"activityEnd": {}}},
        {"clientContent": {"turns": [TURN], "turnComplete": True}},
        {"realtimeInput": {"text": "Well?"}},
    ]
    assert marks(*(talk.from_client(json.encode(x)) for x in said)) == [Mark.STOPPED] * 3
    kinds = ("input_audio_buffer.speech_stopped", "response.content_part.added", "response.done")
    heard = [talk.from_provider(json.encode({"type": kind})) for kind in kinds]
    assert marks(*heard) == [Mark.STOPPED, Mark.BEGUN, Mark.ENDED]


@pytest.mark.parametrize("is_beta", [False, True])
def test_an_openai_client_at_gemini_waits_as_gemini_says(is_beta: bool) -> None:
    """What the translator tells the client of its speech is made up when the answer begins."""
    inner = GeminiTranslator(model="gemini-live", seed="5eed", voices=BUILT_IN)
    talk = Chained(BetaTranslator(seed="be7a"), inner) if is_beta else inner
    talk.opened()
    talk.provider_opened()
    talk.from_client(b'{"type":"input_audio_buffer.append","audio":"AAAAAAAA"}')
    heard = {"serverContent": {"inputTranscription": {"text": "Hello"}}}
    over = {"serverContent": {"turnComplete": True}}
    said: list[Message] = [{"setupComplete": {}}, heard, model(AUDIO), model(AUDIO), over]
    made = [talk.from_provider(json.encode(message)) for message in said]
    assert marks(*made) == [Mark.TRANSCRIBED, Mark.BEGUN, Mark.ENDED]


def test_a_client_of_the_beta_waits_as_any_of_openai_s() -> None:
    """Its events have other names, its provider's have not."""
    talk = BetaTranslator(seed="be7a")
    kinds = ("input_audio_buffer.speech_stopped", "response.content_part.added", "response.done")
    heard = [talk.from_provider(json.encode({"type": kind})) for kind in kinds]
    assert marks(*heard) == [Mark.STOPPED, Mark.BEGUN, Mark.ENDED]
    assert marks(talk.from_client(b'{"type":"response.create"}')) == [Mark.FORGOTTEN]
    assert of_openai({"type": "response.created"}) is None


def done(status: str, **details: Any) -> Message:
    """The end of a response."""
    return {"type": "response.done", "response": {"status": status, "status_details": details}}


@pytest.mark.parametrize(
    ("event", "mark"),
    [
        (done("completed"), Mark.ENDED),
        (done("cancelled", reason="turn_detected"), Mark.ENDED),
        (done("failed", error={"type": "server_error"}), Mark.FAILED),
        (done("failed"), Mark.FAILED),
        (done("failed", error={"type": "invalid_request_error"}), Mark.ENDED),
        ({"type": "response.done", "response": {"status": "failed"}}, Mark.FAILED),
        ({"type": "response.done", "response": 7}, Mark.ENDED),
        ({"type": "error", "error": {"type": "server_error"}}, Mark.FAILED),
        ({"type": "error", "error": {"type": "invalid_request_error"}}, None),
        ({"type": "error"}, None),
    ],
)
def test_an_answer_that_failed_is_told_from_what_the_client_did_wrong(
    event: Message, mark: Mark | None
) -> None:
    """By OpenAI's type of the error; one without is the provider's."""
    assert of_openai(event) is mark
