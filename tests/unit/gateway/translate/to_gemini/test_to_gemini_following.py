"""Responses that are asked for before Gemini has ended the turn before.

Gemini ends a turn when its answer could have been played, which is many seconds after it was
generated. OpenAI's responses end when they are generated, so its clients may ask then.
"""

from typing import Any

import pytest

from tests.support.translation_to_gemini import USAGE, OpenAITalk

GENERATED = {"generationComplete": True}
LATER = {"promptTokenCount": 50, "responseTokenCount": 5, "totalTokenCount": 55}


def generated(**session: Any) -> OpenAITalk:
    """A session whose answer was generated, and whose turn has not ended."""
    talk = OpenAITalk.ready(**session)
    talk.create_message("Hello")
    talk.client("response.create")
    talk.speak("Once")
    talk.provider(serverContent=GENERATED)
    talk.forget()
    return talk


def asked_again(**session: Any) -> OpenAITalk:
    """The same, and the client has asked for the next one."""
    talk = generated(**session)
    talk.create_message("And?")
    talk.client("response.create", response={"metadata": {"number": "2"}})
    return talk


def test_it_is_asked_for_at_once() -> None:
    """Gemini does not wait for what the client plays; the first response is done with its usage
    before the second is created, as asked for.
    """
    talk = asked_again()
    assert talk.told_kinds == ["clientContent"]
    assert "response.created" not in talk.heard_kinds
    talk.interrupt()
    assert talk.heard_kinds[-2:] == ["response.done", "response.created"]
    talk.speak("Twice")
    talk.end(usage=LATER)

    first, second = talk.responses
    assert [x["status"] for x in (first, second)] == ["completed", "completed"]
    assert [x["usage"]["total_tokens"] for x in (first, second)] == [30, 55]
    assert (first["metadata"], second["metadata"]) == (None, {"number": "2"})
    assert "input_audio_buffer.speech_started" not in talk.heard_kinds
    assert talk.kept[1:] == [("assistant", "Once"), ("user", "And?"), ("assistant", "Twice")]


def test_the_turn_ended_meanwhile() -> None:
    """Its end crossed the question: the same, without an interruption."""
    talk = asked_again()
    talk.end()
    talk.speak("Twice")
    talk.end(usage=LATER)

    assert [x["usage"]["total_tokens"] for x in talk.responses] == [30, 55]


def test_the_end_of_the_turn_is_not_sent() -> None:
    """The next answer says that it is over."""
    talk = asked_again()
    talk.speak()
    talk.end(usage=LATER)

    assert [x["status"] for x in talk.responses] == ["completed", "completed"]
    assert [x["usage"] and x["usage"]["total_tokens"] for x in talk.responses] == [None, 55]


def test_an_answer_to_speech_after_a_turn_whose_end_was_not_sent() -> None:
    """Its audio is not the generated response's."""
    talk = generated()
    talk.append()
    talk.speak("Twice")
    talk.speak()
    talk.end()

    assert [len(x["output"]) for x in talk.responses] == [1, 1]
    assert talk.heard_kinds.count("input_audio_buffer.committed") == 1


def test_words_of_the_generated_answer_come_late() -> None:
    """They are kept with it."""
    talk = asked_again()
    talk.provider(serverContent={"outputTranscription": {"text": " more."}})
    talk.end()

    assert ("assistant", "Once more.") in talk.kept


def test_a_third_one_is_refused() -> None:
    """One can wait."""
    talk = asked_again()
    talk.client("response.create")

    assert talk.error["code"] == "conversation_already_has_active_response"
    talk.end()
    assert talk.heard_kinds.count("response.created") == 1


@pytest.mark.parametrize("is_begun", [True, False])
def test_one_is_refused_while_the_model_speaks(is_begun: bool) -> None:
    """Also before its first word."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    if is_begun:
        talk.speak("Once")
    talk.client("response.create")

    assert talk.error["code"] == "conversation_already_has_active_response"


def test_the_next_one_is_cancelled_before_it_is_created() -> None:
    """It is created and cancelled; what Gemini says of it is dropped."""
    talk = asked_again()
    talk.client("response.cancel")
    talk.interrupt()
    talk.create_message("Well?")
    talk.client("response.create")
    talk.speak("Well.")
    talk.end(usage=LATER)

    assert [x["status"] for x in talk.responses] == ["completed", "cancelled", "completed"]
    assert "error" not in talk.heard_kinds
    assert talk.kept[-1] == ("assistant", "Well.")


def test_the_connection_is_lost_meanwhile() -> None:
    """The generated response is done, and the next connection is asked for the other."""
    talk = asked_again()
    talk.disconnect()
    assert talk.heard_kinds[-2:] == ["response.done", "response.created"]
    talk.forget()
    talk.connect()
    talk.provider(setupComplete={})

    assert talk.told[-1]["clientContent"]["turnComplete"]
    talk.speak("Twice")
    talk.end()
    assert talk.responses[0]["metadata"] == {"number": "2"}


def test_speech_that_interrupts_what_is_played() -> None:
    """The answer is whole: only what the client plays is cut."""
    talk = generated()
    talk.append()
    talk.interrupt()

    assert talk.heard_kinds == ["input_audio_buffer.speech_started", "response.done"]
    assert talk.responses[0]["status"] == "completed"


def test_a_committed_activity_behind_a_generated_answer() -> None:
    """The client commits while the answer before is played; its words stay those of its item."""
    talk = generated(audio={"input": {"turn_detection": None, "transcription": {}}})
    talk.append()
    talk.client("input_audio_buffer.commit")
    talk.client("response.create")
    talk.interrupt()
    talk.provider(serverContent={"inputTranscription": {"text": "And?"}})
    talk.speak("Twice")
    talk.end(usage=LATER)

    assert talk.told_kinds == ["activityStart", "audio", "activityEnd"]
    completed = talk.only("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "And?"
    assert [x["usage"]["total_tokens"] for x in talk.responses] == [30, 55]


def test_something_else_is_asked_while_the_model_waits_for_a_function() -> None:
    """The end of the turn that waited is not that of the new response."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_message("Never mind.")
    talk.forget()
    talk.client("response.create", response={"metadata": {"number": "2"}})
    talk.provider(toolCallCancellation={"ids": ["call_1"]})
    talk.interrupt()
    assert not talk.responses
    talk.speak("Well.")
    talk.end(usage=USAGE)

    (response,) = talk.responses
    assert (response["status"], response["metadata"]) == ("completed", {"number": "2"})
    assert talk.heard_kinds.count("response.created") == 1
