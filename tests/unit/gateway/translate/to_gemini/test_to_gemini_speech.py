"""When the user is heard to speak, and what of the transcript the client gets."""

from typing import Any

import pytest

from tests.support.translation_to_gemini import AUDIO, OpenAITalk

STARTED = "input_audio_buffer.speech_started"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def hears(talk: OpenAITalk, text: str, **fields: Any) -> None:
    """The provider transcribes what the user says."""
    talk.provider(serverContent={"inputTranscription": {"text": text, **fields}})


def test_speech_of_which_nothing_was_heard_before_the_answer() -> None:
    """It is an item, and not announced: a client that stops what it plays when it hears of speech
    takes moments for that, and pipecat would lose the first audio of the answer.
    """
    talk = OpenAITalk.ready()
    talk.append(3)
    talk.speak("Hello")
    talk.end()
    talk.append(2)
    talk.forget()
    talk.speak("Still there?")

    assert talk.heard_kinds[:4] == [
        "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
        "response.created",
    ]  # fmt: skip
    assert not any("speech" in kind or kind.startswith(TRANSCRIPTION) for kind in talk.heard_kinds)


def test_a_transcript_that_comes_together_with_the_answer() -> None:
    """No speech is announced, for the same reason; the words are told of the item."""
    talk = OpenAITalk.detected()
    talk.append(5)
    hears(talk, "Good")
    talk.append()
    hears(talk, " day")
    assert talk.heard == []
    assert talk.translator.is_answering
    talk.speak("Hello")

    assert talk.heard_kinds[:6] == [
        "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
        f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed", "response.created",
    ]  # fmt: skip
    assert talk.only(f"{TRANSCRIPTION}.delta")["delta"] == "Good day"


def test_a_transcript_while_the_user_speaks() -> None:
    """Speech is announced with it, once some more of it was heard."""
    talk = OpenAITalk.detected()
    talk.append()
    hears(talk, "Good")
    hears(talk, " day")
    talk.append()
    assert talk.heard == []
    talk.append()

    assert talk.heard_kinds == [STARTED, f"{TRANSCRIPTION}.delta"]
    assert talk.heard[0]["audio_start_ms"] == 100
    assert talk.heard[1]["delta"] == "Good day"
    hears(talk, " to you")
    assert talk.heard[2]["delta"] == " to you"
    assert talk.heard[2]["item_id"] == talk.heard[0]["item_id"]


def test_an_interruption_after_words_of_it() -> None:
    """It is announced at once, with the words, and before the response is cancelled."""
    talk = OpenAITalk.detected()
    talk.append()
    hears(talk, "Tell me")
    talk.speak("Once")
    talk.end()
    talk.forget()
    hears(talk, "Stop")
    talk.speak("Twice")
    talk.forget()
    talk.append()
    talk.interrupt()

    kinds = talk.heard_kinds
    assert kinds.index(STARTED) < kinds.index("response.done")
    assert talk.responses[0]["status"] == "cancelled"


def test_a_transcript_that_comes_late() -> None:
    """It belongs to what is being answered, and is complete when the answer is."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Hello")
    hears(talk, "Good")
    hears(talk, " day")
    talk.end()

    assert talk.only(f"{TRANSCRIPTION}.completed")["transcript"] == "Good day"
    assert STARTED not in talk.heard_kinds
    assert talk.kept == [("user", "Good day"), ("assistant", "Hello")]


def test_the_rest_of_a_transcript_is_kept() -> None:
    """When the model began the transcript was told to be complete."""
    talk = OpenAITalk.detected()
    talk.append()
    hears(talk, "Good")
    talk.speak("Hello")
    hears(talk, " day", finished=True)

    assert talk.only(f"{TRANSCRIPTION}.completed")["transcript"] == "Good"
    assert talk.kept == [("user", "Good day")]


def test_a_transcript_that_says_that_it_is_complete() -> None:
    """It is then complete for the client, too; without a word it is empty."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"finished": True}})
    talk.speak("Hello")
    hears(talk, "Good day", finished=True)
    assert talk.only(f"{TRANSCRIPTION}.completed")["transcript"] == "Good day"
    talk.end()
    talk.append()
    talk.forget()
    talk.speak("Hello?")
    talk.end()

    assert talk.only(f"{TRANSCRIPTION}.completed")["transcript"] == ""


def test_words_while_the_user_cannot_interrupt() -> None:
    """They are another speech, because the model was not interrupted by it."""
    detection = {"type": "server_vad", "interrupt_response": False}
    talk = OpenAITalk.ready(audio={"input": {"turn_detection": detection, "transcription": {}}})
    talk.append()
    hears(talk, "One")
    talk.speak("Two")
    hears(talk, "Three")
    talk.append(2)

    started = talk.only(STARTED)
    assert talk.heard[-1]["delta"] == "Three"
    assert talk.heard[-1]["item_id"] == started["item_id"]


def test_a_transcript_that_the_client_does_not_want() -> None:
    """It gets none."""
    talk = OpenAITalk.ready()
    talk.append()
    hears(talk, "Hello")

    assert talk.heard == []


SIGNALS = [
    (
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_START", "audioOffset": "0.05s"}},
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_END", "audioOffset": "0.25s"}},
        (50, 250),
    ),
    (
        {"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_SOS"}},
        {"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_EOS"}},
        (100, 300),
    ),
    (
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_START", "audioOffset": "soon"}},
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_END", "audioOffset": "-1s"}},
        (100, 300),
    ),
]


@pytest.mark.parametrize(("start", "stop", "expected"), SIGNALS)
def test_a_provider_that_says_when_the_user_speaks(
    start: dict[str, Any], stop: dict[str, Any], expected: tuple[int, int]
) -> None:
    """The client hears it at once, and once."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(**start)
    talk.provider(**start)
    talk.append(2)
    talk.provider(**stop)
    talk.provider(**stop)
    talk.provider(voiceActivity={"voiceActivityType": "TYPE_UNSPECIFIED"})
    talk.provider(voiceActivityDetectionSignal={"vadSignalType": 1})
    talk.speak("Hello")

    started = talk.only("input_audio_buffer.speech_started")
    stopped = talk.only("input_audio_buffer.speech_stopped")
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == expected


def test_a_client_that_says_itself_when_its_user_speaks_is_not_told() -> None:
    """Neither by the provider's signals nor by an interruption."""
    talk = OpenAITalk.manual()
    talk.append()
    talk.provider(voiceActivity={"voiceActivityType": "ACTIVITY_START"})
    talk.client("input_audio_buffer.commit")
    talk.client("response.create")
    talk.speak("Once")
    talk.interrupt()

    assert "input_audio_buffer.speech_started" not in talk.heard_kinds
    assert talk.responses[0]["status_details"]["reason"] == "turn_detected"


def test_an_interruption_of_no_response() -> None:
    """The user speaks: a client that still plays the last answer stops."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"interrupted": True})

    assert talk.heard_kinds == [STARTED]


def test_words_that_were_held_are_told_with_an_interruption() -> None:
    """Nothing of them is told twice."""
    talk = OpenAITalk.detected()
    talk.append()
    hears(talk, "Stop")
    talk.provider(serverContent={"interrupted": True})
    talk.append(3)

    assert talk.heard_kinds == [STARTED, f"{TRANSCRIPTION}.delta"]


def test_nothing_to_commit() -> None:
    """An empty buffer is the client's mistake, also behind a commit."""
    talk = OpenAITalk.manual()
    talk.client("input_audio_buffer.append", audio="")
    talk.client("input_audio_buffer.commit")
    assert talk.error["code"] == "input_audio_buffer_commit_empty"
    talk.append()
    talk.client("input_audio_buffer.commit")
    talk.forget()
    talk.client("input_audio_buffer.commit")
    assert talk.error["code"] == "input_audio_buffer_commit_empty"


def test_two_commits_before_an_answer() -> None:
    """Two items, and one activity."""
    talk = OpenAITalk.manual()
    for text in ("One", "Two"):
        talk.append()
        hears(talk, text)
        talk.client("input_audio_buffer.commit")
    talk.client("response.create")

    assert talk.told_kinds == ["activityStart", "audio", "audio", "activityEnd"]
    assert talk.heard_kinds.count("input_audio_buffer.committed") == 2


def test_clearing() -> None:
    """With detection there is nothing to take back; without it what was sent cannot be, and stays
    in the activity. The client's buffer is empty.
    """
    talk = OpenAITalk.detected()
    talk.append()
    talk.client("input_audio_buffer.clear")
    assert talk.heard_kinds == ["input_audio_buffer.cleared"]
    talk = OpenAITalk.manual()
    talk.client("input_audio_buffer.clear")
    talk.append()
    assert talk.ignored == []
    talk.client("input_audio_buffer.clear")
    assert talk.heard_kinds == ["input_audio_buffer.cleared"] * 2
    assert talk.ignored == ["input_audio_buffer.clear"]
    talk.client("input_audio_buffer.commit")
    assert talk.error["code"] == "input_audio_buffer_commit_empty"


def test_a_client_that_clears_before_each_turn() -> None:
    """As pipecat does where it detects turns itself: it says the first words again, and cancels
    what may be being said.
    """
    talk = OpenAITalk.manual()
    talk.append(3)
    talk.client("input_audio_buffer.clear")
    talk.append()
    talk.client("response.cancel")
    assert talk.error["code"] == "response_cancel_not_active"
    talk.client("input_audio_buffer.commit")
    talk.client("response.create")
    talk.speak("Hello")
    talk.end()

    assert [kind for kind in talk.told_kinds if kind != "audio"] == ["activityStart", "activityEnd"]
    assert talk.responses[0]["status"] == "completed"


@pytest.mark.parametrize("audio", ["!", "AAAAA", "AAA=A", "A===", "\u00e9", 1, None])
def test_audio_that_is_no_base64(audio: object) -> None:
    """Gemini would close the session."""
    talk = OpenAITalk.ready()
    talk.client("input_audio_buffer.append", audio=audio)

    assert talk.error["param"] == "audio"
    assert talk.told == []


@pytest.mark.parametrize("audio", [AUDIO, AUDIO[:-2]])
def test_audio_in_an_unusual_message(audio: str) -> None:
    """It is parsed, and says the same; the padding may be missing."""
    talk = OpenAITalk.ready()
    talk.client("input_audio_buffer.append", audio=audio, more="")

    assert talk.told[0]["realtimeInput"]["audio"]["data"] == audio


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_microphone_that_is_always_on_interrupts_nothing(is_committed: bool) -> None:
    """Where the client says when a turn is over, OpenAI is not interrupted by audio; the beginning
    of an activity would interrupt Gemini. What was held is heard with the next turn.
    """
    talk = OpenAITalk.manual()
    talk.append()
    talk.client("input_audio_buffer.commit")
    talk.client("response.create")
    talk.append()
    talk.speak("Hello")
    talk.append()
    if is_committed:
        talk.client("input_audio_buffer.commit")
    talk.forget()
    assert talk.told == []
    talk.end()
    if not is_committed:
        talk.append()
        assert talk.told_kinds == ["activityStart", "audio", "audio", "audio"]
        talk.client("input_audio_buffer.commit")
        talk.forget()
    talk.client("response.create")

    assert talk.told_kinds == (
        ["activityStart", "audio", "audio", "activityEnd"] if is_committed else ["activityEnd"]
    )
    assert "error" not in talk.heard_kinds


def test_a_microphone_that_is_always_on_while_a_function_runs() -> None:
    """The model would give up the call."""
    talk = OpenAITalk.manual()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.forget()
    talk.append()
    talk.create_output("call_1", "1")
    talk.append()
    talk.client("response.create")

    assert talk.told_kinds == ["toolResponse"]


def test_audio_that_is_held_can_be_cleared() -> None:
    """Nobody has heard it. A lost connection takes it as well, and the client hears so."""
    talk = OpenAITalk.manual()
    talk.client("response.create")
    talk.append()
    talk.client("input_audio_buffer.clear")
    talk.speak("Hello")
    talk.end()
    talk.forget()
    talk.append()
    assert talk.told_kinds == ["activityStart", "audio"]
    talk = OpenAITalk.manual()
    talk.client("response.create")
    talk.speak("Hello")
    talk.append()
    talk.disconnect()

    assert talk.heard_kinds[-1] == "input_audio_buffer.cleared"


def test_an_activity_begins_where_too_much_would_be_held() -> None:
    """Nothing of the user's is lost."""
    talk = OpenAITalk.manual()
    talk.client("response.create")
    talk.forget()
    sent = 0
    while "activityStart" not in talk.told_kinds:
        talk.append()
        sent += 1

    assert 60_000 < sent * 100 < 90_000
    assert talk.told_kinds.count("audio") == sent
