"""A response at the provider becomes a turn towards the client."""

from typing import Any

import pytest
from support.translation import GeminiTalk

USAGE = {"input_tokens": 2, "output_tokens": 1}
COUNTED = {"promptTokenCount": 2, "responseTokenCount": 1, "totalTokenCount": 3}
END = "turnComplete usageMetadata"
CALL = {"id": "i", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


def speak(talk: GeminiTalk, response: str = "resp_1") -> None:
    """The provider opens a response, and says something."""
    talk.provider("response.created", response={"id": response})
    talk.provider("response.output_audio.delta", response_id=response, delta="AAAA")


@pytest.mark.parametrize(
    ("response", "kinds", "reason"),
    [
        ({"status": "completed"}, ["generationComplete", END], None),
        ({"status": "cancelled"}, ["interrupted", END], None),
        (
            {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}},
            ["generationComplete", END], None,
        ),
        (
            {"status": "incomplete", "status_details": {"reason": "content_filter"}},
            ["turnComplete turnCompleteReason usageMetadata"], "GENERATED_CONTENT_SAFETY",
        ),
        (
            {"status": "failed", "status_details": {"error": {"code": "server_error"}}},
            ["turnComplete turnCompleteReason usageMetadata"], "RESPONSE_REJECTED",
        ),
        (
            {"status": "completed", "status_details": "unimplemented"},
            ["generationComplete", END], None,
        ),
    ],
)  # fmt: skip
def test_how_a_response_ends(
    response: dict[str, Any], kinds: list[str], reason: str | None
) -> None:
    """Every status ends the turn, with its usage."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.forget()
    talk.answer(usage=USAGE, **response)
    assert talk.heard_kinds == kinds
    assert talk.heard[-1]["usageMetadata"] == COUNTED
    assert talk.heard[-1]["serverContent"].get("turnCompleteReason") == reason


def test_a_failed_response_is_named() -> None:
    """Gemini has no word for the provider's error, so the log gets it."""
    talk = GeminiTalk.set_up()
    talk.answer("failed", status_details={"error": {"type": "server_error"}})
    assert talk.ignored == ["response failed server_error"]


def test_an_empty_answer_is_no_generation() -> None:
    """Nothing was generated, so only the turn is complete."""
    talk = GeminiTalk.set_up()
    talk.provider("response.created", response={"id": "resp_1"})
    talk.answer()
    assert talk.heard_kinds == ["turnComplete"]


def test_an_end_that_is_told_twice() -> None:
    """It is heard once."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.forget()
    for _ in range(2):
        talk.answer(usage=USAGE)
    assert talk.heard_kinds == ["generationComplete", END]


def test_an_end_without_an_id_ends_the_open_response() -> None:
    """There is no other one; and none is open then that another such end could end."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.forget()
    talk.provider("response.done", response={"status": "completed"})
    talk.provider("response.done")
    assert talk.heard_kinds == ["generationComplete", "turnComplete"]


def test_the_end_of_a_response_that_nobody_knows() -> None:
    """Its usage is told, and the open turn goes on; without a usage nothing is told."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.forget()
    talk.answer(response_id="other", usage=USAGE)
    talk.answer(response_id="third")
    assert talk.heard == [{"usageMetadata": COUNTED}]
    assert talk.translator.is_answering


def test_questions_during_a_response_are_one_question_after_it() -> None:
    """The provider would refuse them while it is open."""
    talk = GeminiTalk.set_up()
    speak(talk)
    for words in ("One?", "Two?"):
        talk.client(realtimeInput={"text": words})
    assert talk.told_types.count("response.cancel") == 1
    assert "response.create" not in talk.told_types
    talk.answer("cancelled")
    assert talk.told_types.count("response.create") == 1
    speak(talk, "resp_2")
    talk.answer(response_id="resp_2")
    assert talk.told_types.count("response.create") == 1
    assert not talk.translator.is_answering


def test_a_question_that_speech_came_before_is_asked_again() -> None:
    """The provider refuses it because a response is open; it is asked after that."""
    talk = GeminiTalk.set_up()
    talk.client(realtimeInput={"text": "Well?"})
    asked = talk.told[-1]["event_id"]
    speak(talk)
    code = "conversation_already_has_active_response"
    talk.provider("error", error={"code": code, "event_id": asked, "message": ""})
    talk.answer()
    assert talk.told_types.count("response.create") == 2
    assert talk.told[-1]["event_id"] != asked
    assert talk.ignored == [f"error {code}"]


def test_a_question_that_is_refused_ends_the_turn() -> None:
    """The client would wait for ever; another question is asked at once."""
    talk = GeminiTalk.set_up()
    talk.client(realtimeInput={"text": "Well?"})
    asked = talk.told[-1]["event_id"]
    talk.provider("error", error={"code": "server_error", "event_id": "another", "message": ""})
    assert talk.translator.is_answering
    talk.provider("error", error={"code": "server_error", "event_id": asked, "message": ""})
    assert talk.heard_kinds == ["turnComplete turnCompleteReason"]
    assert not talk.translator.is_answering


@pytest.mark.parametrize(("provider", "is_over"), [("openai", False), ("xai", True)])
def test_an_error_that_does_not_say_what_it_answers(provider: str, is_over: bool) -> None:
    """Of xAI it answers what is open; of OpenAI it is about something else."""
    talk = GeminiTalk.set_up(provider)
    talk.client(realtimeInput={"text": "Well?"})
    talk.provider("error", error={"code": "server_error", "message": ""})
    assert talk.translator.is_answering is not is_over


def test_a_call_that_was_interrupted_is_not_made() -> None:
    """The client has dropped the turn; the cancel came too late for the provider."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.client(clientContent={"turnComplete": False})
    talk.answer("completed", output=[CALL])
    assert talk.heard_kinds == ["audio", "interrupted", "turnComplete"]
    assert not talk.translator.conversation.items


def test_speech_does_not_interrupt_where_the_client_forbids_it() -> None:
    """With NO_INTERRUPTION the answer goes on."""
    talk = GeminiTalk.set_up(realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"})
    speak(talk)
    talk.provider("input_audio_buffer.speech_started", item_id="u")
    talk.provider("response.output_audio.delta", response_id="resp_1", delta="BBBB")
    assert talk.heard_kinds == ["audio", "audio"]


def test_what_is_said_outside_a_response_is_not_told() -> None:
    """It belongs to a turn that is over."""
    talk = GeminiTalk.set_up(outputAudioTranscription={})
    speak(talk)
    talk.answer()
    talk.forget()
    for kind in ("output_audio", "output_audio_transcript", "output_text"):
        talk.provider(f"response.{kind}.delta", response_id="resp_1", item_id="i", delta="AAAA")
    talk.provider("response.output_item.added", response_id="resp_1", item={"id": "i"})
    talk.provider("response.output_item.done", response_id="resp_1", item=CALL)
    assert not talk.heard


def test_speech_while_a_complete_answer_is_played_drops_the_rest() -> None:
    """The client's audio is the clock: 4 s of an answer are played while 4 s of audio come in."""
    talk = GeminiTalk.set_up()
    second = "A" * 64_000
    talk.provider("response.created", response={"id": "resp_1"})
    for _ in range(4):
        talk.provider("response.output_audio.delta", response_id="resp_1", delta=second)
    talk.answer()
    talk.forget()
    for _ in range(3):
        talk.client(realtimeInput={"audio": {"data": second, "mimeType": "audio/pcm;rate=24000"}})
    talk.provider("input_audio_buffer.speech_started", item_id="u")
    talk.provider("input_audio_buffer.speech_started", item_id="u")
    assert talk.heard_kinds == ["interrupted"]


def test_speech_after_an_answer_was_played_interrupts_nothing() -> None:
    """As much audio came in as was told."""
    talk = GeminiTalk.set_up()
    second = "A" * 64_000
    talk.provider("response.created", response={"id": "resp_1"})
    talk.provider("response.output_audio.delta", response_id="resp_1", delta=second)
    talk.answer()
    talk.forget()
    talk.client(realtimeInput={"audio": {"data": second, "mimeType": "audio/pcm;rate=24000"}})
    talk.provider("input_audio_buffer.speech_started", item_id="u")
    assert not talk.heard


def test_a_turn_begins_when_the_user_is_heard() -> None:
    """A connection that is replaced takes along what the provider has heard: so not before it has
    answered. One that is gone hears nobody.
    """
    talk = GeminiTalk.set_up()
    assert not talk.translator.is_answering
    talk.provider("input_audio_buffer.speech_started", item_id="item_1")
    assert talk.translator.is_answering
    talk.provider("input_audio_buffer.committed", item_id="item_1")
    assert talk.translator.is_answering, "its answer was not begun yet"
    speak(talk)
    talk.answer()
    assert not talk.translator.is_answering
    talk.provider("input_audio_buffer.speech_started", item_id="item_2")
    talk.translator.provider_closed()
    assert not talk.translator.is_answering


def test_the_answer_to_functions_of_which_nothing_was_heard_is_asked_for_again() -> None:
    """The client got the calls of this turn, and has answered them: it waits for the rest."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.answer(output=[CALL])
    name = {"id": CALL["call_id"], "name": CALL["name"]}
    talk.client(toolResponse={"functionResponses": [{**name, "response": {"output": 1}}]})
    talk.provider("response.created", response={"id": "resp_2"})
    talk.forget()
    talk.reconnect()
    assert talk.heard == []
    assert talk.told_types[-1] == "response.create"

    speak(talk, "resp_3")
    talk.reconnect()
    assert talk.heard_kinds == ["audio", "interrupted", "turnComplete"]
    assert talk.told_types.count("response.create") == 1


def test_a_question_that_waits_for_the_end_of_an_answer_is_asked_at_the_next_provider() -> None:
    """The answer that is open ends for the client, which had interrupted it by asking."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.client(realtimeInput={"text": "Two?"})
    talk.forget()
    talk.reconnect()
    assert talk.heard_kinds == ["turnComplete"]
    assert talk.told_types == ["session.update", "conversation.item.create", "response.create"]
    talk.forget()
    speak(talk, "resp_2")
    talk.answer(response_id="resp_2")
    assert talk.heard_kinds == ["audio", "generationComplete", "turnComplete"]
    assert not talk.translator.is_answering


SPEECH = {"mimeType": "audio/pcm;rate=24000", "data": "AAAA" * 2_000}
MANUAL = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
TRANSCRIBED = {"inputAudioTranscription": {}}


@pytest.mark.parametrize(
    ("setup", "events"),
    [
        (MANUAL, []),
        (MANUAL, ["committed"]),
        (MANUAL, ["committed", "created"]),
        ({**MANUAL, **TRANSCRIBED}, []),
        ({**MANUAL, **TRANSCRIBED}, ["committed", "created"]),
        ({**MANUAL, **TRANSCRIBED}, ["committed", "created", "failed"]),
        ({**MANUAL, **TRANSCRIBED}, ["committed", "failed", "created"]),
        ({**MANUAL, **TRANSCRIBED}, ["committed", "created", "completed"]),
        ({}, ["speech_started", "committed", "created"]),
        (TRANSCRIBED, ["speech_started", "committed", "created"]),
        (TRANSCRIBED, ["speech_started", "committed", "created", "failed"]),
    ],
)
def test_no_provider_is_asked_what_it_cannot_be_told(
    setup: dict[str, Any], events: list[str]
) -> None:
    """Speech of which no words are known: the turn ends, and nobody answers what was said before
    it once more.
    """
    talk = GeminiTalk.set_up(**setup)
    if "realtimeInputConfig" in setup:
        for said in ({"activityStart": {}}, {"audio": SPEECH}, {"activityEnd": {}}):
            talk.client(realtimeInput=said)
    transcription = "conversation.item.input_audio_transcription"
    for name in events:
        if name == "created":
            talk.provider("response.created", response={"id": "resp_1"})
        elif name in ("failed", "completed"):
            talk.provider(f"{transcription}.{name}", item_id="item_1", transcript="")
        else:
            talk.provider(f"input_audio_buffer.{name}", item_id="item_1")
    talk.forget()
    talk.reconnect()
    assert talk.heard_kinds == ["interrupted", "turnComplete"]
    assert talk.told_types == ["session.update"]


def test_transcribed_speech_is_asked_again() -> None:
    """Its words are told first, also where the client committed it."""
    talk = GeminiTalk.set_up(**MANUAL, **TRANSCRIBED)
    for said in ({"activityStart": {}}, {"audio": SPEECH}, {"activityEnd": {}}):
        talk.client(realtimeInput=said)
    talk.provider("input_audio_buffer.committed", item_id="item_1")
    talk.provider("response.created", response={"id": "resp_1"})
    transcribed = "conversation.item.input_audio_transcription.completed"
    talk.provider(transcribed, item_id="item_1", transcript="Well?")
    talk.forget()
    talk.reconnect()
    assert [kind for kind in talk.heard_kinds if kind != "inputTranscription"] == []
    assert talk.told_types == ["session.update", "conversation.item.create", "response.create"]


def test_what_is_written_behind_speech_is_asked_though_that_is_lost() -> None:
    """The client spoke, hears the answer, and writes before it is over."""
    talk = GeminiTalk.set_up()
    talk.provider("input_audio_buffer.speech_started", item_id="item_1")
    talk.provider("input_audio_buffer.committed", item_id="item_1")
    speak(talk)
    talk.client(realtimeInput={"text": "And?"})
    talk.forget()
    talk.reconnect()
    assert talk.heard_kinds == ["turnComplete"]
    assert talk.told_types[-1] == "response.create"


@pytest.mark.parametrize("is_begun", [False, True])
def test_what_is_written_is_asked_again_though_the_user_was_heard_meanwhile(is_begun: bool) -> None:
    """The words are there; what was spoken beside them is lost."""
    talk = GeminiTalk.set_up(**TRANSCRIBED)
    talk.client(realtimeInput={"text": "Well?"})
    talk.provider("input_audio_buffer.speech_started", item_id="item_1")
    if is_begun:
        talk.provider("response.created", response={"id": "resp_1"})
    talk.forget()
    talk.reconnect()
    assert talk.heard_kinds == []
    assert talk.told_types == ["session.update", "conversation.item.create", "response.create"]
