"""Whole conversations of an OpenAI client with Gemini Live, event by event."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.translation_to_gemini import AUDIO, USAGE, OpenAITalk

TRANSCRIPTION = "conversation.item.input_audio_transcription"
USER_ITEM = [
    "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
]  # fmt: skip
MESSAGE_BEGINS = [
    "response.output_item.added", "conversation.item.added", "response.content_part.added",
]  # fmt: skip
SPEECH_ENDS = [
    "response.output_audio.done", "response.output_audio_transcript.done",
    "response.content_part.done", "conversation.item.done", "response.output_item.done",
]  # fmt: skip
CALL = [
    "response.output_item.added", "conversation.item.added",
    "response.function_call_arguments.delta", "response.function_call_arguments.done",
    "conversation.item.done", "response.output_item.done",
]  # fmt: skip
COUNTED: dict[str, Any] = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}


def counts(usage: dict[str, Any]) -> dict[str, Any]:
    """The counts of a usage without their details."""
    return {name: usage[name] for name in COUNTED}


def test_a_spoken_turn() -> None:
    """The user speaks, the provider hears when, and everything comes in OpenAI's order."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "Good"}})
    talk.append(2)
    talk.provider(serverContent={"inputTranscription": {"text": " day"}})
    talk.provider(serverContent={"modelTurn": {"parts": [{"text": "Hm.", "thought": True}]}})
    talk.speak("Hello")
    talk.speak(" there")
    talk.provider(serverContent={"generationComplete": True})
    talk.end()

    assert talk.heard_kinds == [
        "input_audio_buffer.speech_started", f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.delta",
        "input_audio_buffer.speech_stopped", *USER_ITEM, f"{TRANSCRIPTION}.completed",
        "response.created", *MESSAGE_BEGINS,
        "response.output_audio_transcript.delta", "response.output_audio.delta",
        "response.output_audio_transcript.delta", "response.output_audio.delta",
        *SPEECH_ENDS, "response.done",
    ]  # fmt: skip
    assert talk.told_kinds == ["audio", "audio", "audio"]
    completed = talk.only(f"{TRANSCRIPTION}.completed")
    assert completed["transcript"] == "Good day"
    assert completed["usage"] == {"type": "duration", "seconds": 0.3}
    assert talk.only("response.output_audio_transcript.done")["transcript"] == "Hello there"
    (response,) = talk.responses
    assert response["status"] == "completed"
    assert counts(response["usage"]) == COUNTED
    assert talk.kept == [("user", "Good day"), ("assistant", "Hello there")]
    assert not talk.ignored


def test_audio_is_copied_in_both_directions() -> None:
    """Base64 is passed on as it is, with the rate that it has."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak()
    talk.speak()

    audio = talk.told[0]["realtimeInput"]["audio"]
    assert audio == {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}
    deltas = [e["delta"] for e in talk.heard if e["type"] == "response.output_audio.delta"]
    assert deltas == [AUDIO, AUDIO]


def test_a_turn_whose_end_the_client_says() -> None:
    """The activity begins with the first audio and ends when a response is asked for."""
    talk = OpenAITalk.manual()
    talk.append(2)
    talk.provider(serverContent={"inputTranscription": {"text": "Good day"}})
    talk.client("input_audio_buffer.commit")
    talk.client("response.create")
    talk.speak("Hello")
    talk.end()

    assert talk.told_kinds == ["activityStart", "audio", "audio", "activityEnd"]
    assert talk.heard_kinds == [
        *USER_ITEM, f"{TRANSCRIPTION}.delta", "response.created",
        f"{TRANSCRIPTION}.completed", *MESSAGE_BEGINS,
        "response.output_audio_transcript.delta", "response.output_audio.delta", *SPEECH_ENDS,
        "response.done",
    ]  # fmt: skip
    assert talk.kept == [("user", "Good day"), ("assistant", "Hello")]


def test_a_written_turn() -> None:
    """Items wait until a response is asked for, and are told with their roles."""
    talk = OpenAITalk.ready(output_modalities=["text"])
    talk.create_message("Be brief.", role="system")
    talk.create_message("What is it?")
    assert talk.told == []
    talk.client("response.create")
    talk.write("It")
    talk.write(" is.")
    talk.end()

    turns = [
        {"role": "user", "parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": [{"text": "What is it?"}]},
    ]
    assert talk.told == [{"clientContent": {"turns": turns, "turnComplete": True}}]
    assert talk.heard_kinds == [
        "conversation.item.added", "conversation.item.done",
        "conversation.item.added", "conversation.item.done",
        "response.created", *MESSAGE_BEGINS, "response.output_text.delta",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "conversation.item.done", "response.output_item.done", "response.done",
    ]  # fmt: skip
    assert talk.responses[0]["output"][0]["content"] == [{"type": "output_text", "text": "It is."}]


def test_a_written_turn_of_a_model_that_only_speaks() -> None:
    """The client gets the words of what is said as text, and no audio."""
    talk = OpenAITalk.ready(output_modalities=["text"])
    talk.client("response.create")
    talk.speak("It")
    talk.speak(" is")
    talk.provider(serverContent={"generationComplete": True})
    talk.provider(serverContent={"outputTranscription": {"text": " so."}})
    talk.end()

    assert talk.responses[0]["output"][0]["content"] == [
        {"type": "output_text", "text": "It is so."}
    ]
    assert not any("audio" in kind for kind in talk.heard_kinds)


def test_functions_that_are_called_at_once() -> None:
    """Each call is an item; their outputs go on together, and are answered by another response."""
    talk = OpenAITalk.ready()
    talk.append()
    talk.call(("call_1", "look"), ("call_2", "listen"))
    talk.create_output("call_1", '{"seen": 3}')
    assert "toolResponse" not in talk.told_kinds
    talk.create_output("call_2", "silence")
    talk.client("response.create")
    talk.speak("Three, and silence.")
    talk.end()

    assert talk.told[1:] == [
        {
            "toolResponse": {
                "functionResponses": [
                    {"id": "call_1", "name": "look", "response": {"seen": 3}},
                    {"id": "call_2", "name": "listen", "response": {"output": "silence"}},
                ]
            }
        }
    ]
    assert talk.heard_kinds[:17] == [
        *USER_ITEM, "response.created", *CALL, *CALL, "response.done",
    ]  # fmt: skip
    calls, answer = talk.responses
    assert (calls["status"], calls["usage"]) == ("completed", None)
    assert [item["arguments"] for item in calls["output"]] == ['{"a":1}', '{"a":1}']
    assert counts(answer["usage"]) == COUNTED
    assert [kind for kind, _ in talk.kept] == [
        "user", "function_call", "function_call", "function_call_output", "function_call_output",
        "assistant",
    ]  # fmt: skip


def test_the_user_interrupts() -> None:
    """The client hears of the speech first, and of the response when its usage is known."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "A story"}})
    talk.speak("Once upon a time")
    talk.forget()
    talk.provider(serverContent={"interrupted": True})
    assert talk.heard_kinds == ["input_audio_buffer.speech_started", *SPEECH_ENDS]
    talk.provider(serverContent={"outputTranscription": {"text": " there"}})
    talk.end()
    talk.provider(serverContent={"inputTranscription": {"text": "Stop"}})
    talk.speak("Well.")

    (response,) = talk.responses
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert counts(response["usage"]) == COUNTED
    assert talk.kept == [
        ("user", "A story"),
        ("assistant", "Once upon a time there"),
        ("user", "Stop"),
    ]


def test_the_client_cancels() -> None:
    """Gemini is interrupted by content; what it still says is dropped, and its usage told."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("One")
    talk.forget()
    talk.client("response.cancel")
    talk.speak(" two")
    talk.interrupt()

    assert talk.told == [{"clientContent": {"turnComplete": False}}]
    assert talk.heard_kinds == [*SPEECH_ENDS, "response.done"]
    (response,) = talk.responses
    assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert counts(response["usage"]) == COUNTED
    assert talk.kept == [("assistant", "One")]


def test_vertex_ai() -> None:
    """It names neither calls nor the response's tokens as the Developer API does."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"outputTranscription": {}})
    talk.provider(toolCall={"functionCalls": [{"name": "look", "args": {}}]})
    talk.end(usage={"promptTokenCount": 5, "candidatesTokenCount": 2})
    call_id = talk.kept[-1][1]
    talk.create_output(call_id, "{}")
    talk.client("response.create")
    talk.provider(serverContent={"modelTurn": {"role": "model", "parts": [{"text": "Nothing."}]}})
    talk.provider(serverContent={"outputTranscription": {"finished": True}})
    talk.end(usage={"promptTokenCount": 20, "candidatesTokenCount": 10})

    functions = talk.told[1]["toolResponse"]["functionResponses"]
    assert functions == [{"name": "look", "response": {}}]
    assert counts(talk.responses[-1]["usage"]) == COUNTED


@pytest.mark.parametrize("place", range(3))
def test_a_turn_of_vertex_ai_that_ends_with_its_calls(place: int) -> None:
    """Its answer to their outputs is another turn. The end of the first may cross the outputs, and
    is no answer to them.
    """
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.provider(toolCall={"functionCalls": [{"name": "look", "args": {}}]})
    steps = [
        lambda: talk.create_output(talk.kept[-1][1], "{}"),
        lambda: talk.client("response.create"),
    ]
    steps.insert(place, talk.end)
    for step in steps:
        step()
    talk.speak("Nothing.")
    talk.end()

    called, answered = talk.responses
    assert [len(response["output"]) for response in (called, answered)] == [1, 1]
    assert talk.heard_kinds.count("response.created") == 2
    assert not talk.translator.is_answering


def test_a_turn_of_an_unknown_model_that_ended_with_its_calls_once() -> None:
    """It is known then, though the calls have ids."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    for number in range(2):
        talk.call((f"call_{number}", "look"))
        if not number:
            talk.end()
        talk.create_output(f"call_{number}", "{}")
        talk.client("response.create")
    talk.end()
    talk.speak("Nothing.")
    talk.end()

    assert [len(response["output"]) for response in talk.responses] == [1, 1, 1]


def replaced(talk: OpenAITalk) -> None:
    """The turn ends with its calls, and then its connection."""
    talk.end()
    talk.disconnect()
    talk.connect()
    talk.provider(setupComplete={})


@pytest.mark.parametrize("before", [OpenAITalk.interrupt, replaced])
def test_a_model_that_says_nothing_of_the_outputs(before: Callable[[OpenAITalk], None]) -> None:
    """Gemini's Developer API ends a turn once, behind the outputs: the response is done. Neither an
    interruption nor another connection's model tells anything else of it.
    """
    talk = OpenAITalk.ready()
    talk.provider(toolCall={"functionCalls": [{"id": "call_1", "name": "look", "args": {}}]})
    before(talk)
    talk.call(("call_2", "look"))
    talk.create_output("call_2", "{}")
    talk.client("response.create")
    talk.end()

    assert len(talk.responses[-1]["output"]) == 0
    assert not talk.translator.is_answering


def test_what_is_said_takes_the_clients_format() -> None:
    """G.711 is decoded for Gemini, and Gemini's speech is encoded for the client."""
    ulaw = {"format": {"type": "audio/pcmu"}}
    talk = OpenAITalk.ready(audio={"input": ulaw, "output": ulaw})
    talk.client("input_audio_buffer.append", audio="/////w==")
    talk.speak()
    talk.speak()
    talk.end()

    audio = talk.told[0]["realtimeInput"]["audio"]
    assert audio == {"mimeType": "audio/pcm;rate=8000", "data": "AAAAAAAAAAA="}
    deltas = [e["delta"] for e in talk.heard if e["type"] == "response.output_audio.delta"]
    encoded = sum(len(delta) * 3 // 4 for delta in deltas)
    assert 1_500 < encoded <= 1_610  # 200 ms at 8 kHz, with the padding of base64
    assert USAGE["promptTokenCount"] == talk.responses[0]["usage"]["input_tokens"]
