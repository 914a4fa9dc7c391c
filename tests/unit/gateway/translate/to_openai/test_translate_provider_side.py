"""What the events of a provider of the OpenAI family become for a Gemini client."""

from typing import Any

import pytest
from support.translation import GeminiTalk

from gateway.metering.account_errors import NEUTRAL_MESSAGE

TRANSCRIPTION = "conversation.item.input_audio_transcription"
SETUP_ID = "event_rts_setup"


def failing(provider: str = "openai", /, **error: Any) -> GeminiTalk:
    """A session whose setup is answered by this error."""
    talk = GeminiTalk(provider)
    talk.take(talk.translator.provider_opened())
    talk.client(setup={"model": "m"})
    talk.provider("error", error=error)
    return talk


def test_a_setup_that_the_provider_refuses() -> None:
    """The client is closed with the provider's words, cut to what fits."""
    talk = failing(event_id=SETUP_ID, code="invalid_value", message="Invalid voice. " + "x" * 200)
    assert talk.close is not None
    assert talk.close.code == 1007
    assert talk.close.reason.startswith("Invalid voice.")
    assert len(talk.close.reason) == 123
    assert talk.ignored == ["error invalid_value"]


def test_a_setup_that_is_refused_because_of_our_account() -> None:
    """The client learns nothing of it."""
    talk = failing(event_id=SETUP_ID, code="insufficient_quota", message="You, org-abcdef, …")
    assert talk.close is not None
    assert talk.close.code == 1011
    assert talk.close.reason == NEUTRAL_MESSAGE


@pytest.mark.parametrize(("provider", "is_closed"), [("openai", False), ("xai", True)])
def test_an_error_before_the_setup_is_accepted(provider: str, is_closed: bool) -> None:
    """Of OpenAI it names what it answers; of xAI it can only be the setup."""
    talk = failing(provider, type="invalid_request_error")
    assert (talk.close is not None) is is_closed
    if talk.close is not None:
        assert talk.close.reason == "invalid_request_error"


@pytest.mark.parametrize(
    ("event", "ignored"),
    [
        (b"\x00", "message without a type"),
        (b"[]", "message without a type"),
        (b'{"type":1}', "message without a type"),
        (b'{"type":"response.mcp_call.failed"}', "event response.mcp_call.failed"),
        (b'{"type":"' + b"x" * 99 + b'"}', "event " + "x" * 64),
        (b'{"type":"error","error":{"code":"session_expired"}}', "error session_expired"),
        (b'{"type":"error"}', "error None"),
        (b'{"type":"%b.failed"}' % TRANSCRIPTION.encode(), "input transcription failed"),
    ],
)
def test_what_has_no_counterpart_is_named(event: bytes, ignored: str) -> None:
    """No Gemini client gets a message that it does not know."""
    talk = GeminiTalk.set_up()
    talk.provider(event)
    assert talk.ignored == [ignored]
    assert not talk.heard


def test_what_is_expected_and_says_nothing_is_not_named() -> None:
    """The log would be full of it."""
    talk = GeminiTalk.set_up()
    for kind in ("ping", "rate_limits.updated", "conversation.item.added", "session.created"):
        talk.provider(kind)
    assert not talk.ignored
    assert not talk.heard


def test_audio_is_copied_in_any_order_of_its_event() -> None:
    """Also where it does not stand last, or is escaped."""
    talk = GeminiTalk.set_up()
    talk.provider("response.created", response={"id": "resp_1"})
    for event in (
        b'{"type":"response.output_audio.delta","item_id":"i","delta":"AB/+"}',
        b'{"delta":"AB/+","type":"response.output_audio.delta"}',
        b'{"type":"response.output_audio.delta","delta":"AB\\/+"}',
        b'{"type":"response.output_audio.delta","delta":"AB/+","output_index":0}',
        b'{"type":"response.output_audio.delta","delta":""}',
        b'{"type":"response.output_audio.delta","delta":7}',
    ):
        talk.provider(event)
    inline = {"mimeType": "audio/pcm;rate=24000", "data": "AB/+"}
    said = {"serverContent": {"modelTurn": {"role": "model", "parts": [{"inlineData": inline}]}}}
    assert talk.heard == [said] * 4


def test_transcripts_are_told_only_where_they_are_asked_for() -> None:
    """xAI transcribes without being asked, and OpenAI says in words what it speaks."""
    talk = GeminiTalk.set_up("xai")
    talk.provider(f"{TRANSCRIPTION}.completed", item_id="u", transcript="Hello")
    talk.provider("response.created", response={"id": "resp_1"})
    talk.provider("response.output_audio_transcript.delta", item_id="i", delta="Hi")
    assert not talk.heard


def test_a_transcript_that_comes_at_once() -> None:
    """Without deltas all of it is told; a correction of what was told is not."""
    talk = GeminiTalk.set_up(inputAudioTranscription={})
    talk.provider(f"{TRANSCRIPTION}.completed", item_id="u", transcript="Hello")
    talk.provider(f"{TRANSCRIPTION}.delta", item_id="v", delta="Good dye")
    talk.provider(f"{TRANSCRIPTION}.completed", item_id="v", transcript="Good day")
    words = [message["serverContent"]["inputTranscription"]["text"] for message in talk.heard]
    assert words == ["Hello", "Good dye"]


def test_a_transcript_that_comes_after_the_answer() -> None:
    """Its item stands before the answer."""
    talk = GeminiTalk.set_up(inputAudioTranscription={})
    talk.provider("input_audio_buffer.committed", item_id="u")
    talk.provider("response.created", response={"id": "resp_1"})
    talk.provider("response.output_item.added", item={"id": "a", "type": "message"})
    said = {"id": "a", "type": "message", "role": "assistant", "object": "realtime.item"}
    talk.provider("response.output_item.done", item=said)
    talk.answer()
    assert not talk.translator.conversation.items
    talk.provider(f"{TRANSCRIPTION}.completed", item_id="u", transcript="Hello")
    assert [item["id"] for item in talk.translator.conversation.items] == ["u", "a"]
    assert "object" not in talk.translator.conversation.items[1]


def test_a_transcript_that_failed_is_not_waited_for() -> None:
    """What the user said is unknown, and left out."""
    talk = GeminiTalk.set_up(inputAudioTranscription={})
    talk.provider("input_audio_buffer.speech_started", item_id="u")
    talk.provider(f"{TRANSCRIPTION}.failed", item_id="u")
    talk.client(realtimeInput={"text": "Hello"})
    assert len(talk.translator.conversation.items) == 1
