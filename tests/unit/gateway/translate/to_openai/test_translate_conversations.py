"""Whole conversations of a Gemini client with a provider of the OpenAI family."""

from typing import Any

import pytest
from support.translation import GeminiTalk

from gateway.translate.conversation import Conversation

PCM_16K = "audio/pcm;rate=16000"
USAGE: dict[str, Any] = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {"text_tokens": 5, "audio_tokens": 15, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 3, "audio_tokens": 7},
}
COUNTED: dict[str, Any] = {
    "promptTokenCount": 20,
    "responseTokenCount": 10,
    "totalTokenCount": 30,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 5},
        {"modality": "AUDIO", "tokenCount": 15},
    ],
    "responseTokensDetails": [
        {"modality": "TEXT", "tokenCount": 3},
        {"modality": "AUDIO", "tokenCount": 7},
    ],
}
SAID = {
    "id": "item_a",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_audio", "transcript": "Good day."}],
}


def speak(talk: GeminiTalk, *, response: str = "resp_1", item: str = "item_a") -> None:
    """The provider opens a response and says something."""
    place = {"response_id": response, "item_id": item}
    talk.provider("response.created", response={"id": response, "status": "in_progress"})
    talk.provider("response.output_item.added", response_id=response, item={"id": item})
    talk.provider("response.output_audio_transcript.delta", **place, delta="Good day.")
    talk.provider("response.output_audio.delta", **place, delta="AAAA")


def test_a_spoken_turn() -> None:
    """The user speaks, the provider hears when, and the client gets words, audio and usage."""
    talk = GeminiTalk.set_up(inputAudioTranscription={}, outputAudioTranscription={})
    talk.client(realtimeInput={"audio": {"data": "AAAA" * 400, "mimeType": PCM_16K}})
    talk.provider("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=0)
    talk.provider("input_audio_buffer.speech_stopped", item_id="item_u", audio_end_ms=900)
    talk.provider("input_audio_buffer.committed", item_id="item_u", previous_item_id=None)
    speak(talk)
    transcription = "conversation.item.input_audio_transcription"
    talk.provider(f"{transcription}.delta", item_id="item_u", delta="Hello")
    talk.provider(f"{transcription}.completed", item_id="item_u", transcript="Hello there")
    talk.provider("response.output_item.done", response_id="resp_1", item=SAID)
    talk.answer(usage=USAGE)
    talk.provider("rate_limits.updated", rate_limits=[])

    assert talk.told_types == ["input_audio_buffer.append"]
    assert talk.heard_kinds == [
        "outputTranscription", "audio", "inputTranscription", "inputTranscription",
        "generationComplete", "turnComplete usageMetadata",
    ]  # fmt: skip
    assert [m["serverContent"]["inputTranscription"]["text"] for m in talk.heard[2:4]] == [
        "Hello",
        " there",
    ]
    assert talk.heard[-1]["usageMetadata"] == COUNTED
    assert not talk.ignored
    words = [item["content"][0]["transcript"] for item in talk.translator.conversation.items]
    assert words == ["Hello there", "Good day."]


def test_a_turn_that_the_client_detects() -> None:
    """Between the activity's begin and end audio is appended; its end asks for an answer."""
    talk = GeminiTalk.set_up(realtimeInputConfig={"automaticActivityDetection": {"disabled": True}})
    audio = {"data": "AAAA" * 2000, "mimeType": "audio/pcm;rate=24000"}
    talk.client(realtimeInput={"audio": audio})
    talk.client(realtimeInput={"activityStart": {}})
    talk.client(realtimeInput={"audio": audio})
    talk.client(realtimeInput={"activityEnd": {}})

    assert talk.told_types == [
        "input_audio_buffer.clear", "input_audio_buffer.append", "input_audio_buffer.commit",
        "response.create",
    ]  # fmt: skip
    assert talk.told[1]["audio"] == "AAAA" * 2000


def test_an_activity_that_is_too_short_to_be_committed_is_lengthened() -> None:
    """OpenAI refuses less than 100 ms, so silence is appended."""
    talk = GeminiTalk.set_up(realtimeInputConfig={"automaticActivityDetection": {"disabled": True}})
    talk.client(realtimeInput={"activityStart": {}})
    audio = {"data": "AAAA" * 16, "mimeType": "audio/pcm;rate=24000"}
    talk.client(realtimeInput={"audio": audio})
    talk.client(realtimeInput={"activityEnd": {}})

    appended = [m["audio"] for m in talk.told if m["type"] == "input_audio_buffer.append"]
    assert sum(len(audio) * 3 // 4 for audio in appended) >= 4_800
    assert talk.told_types[-2:] == ["input_audio_buffer.commit", "response.create"]


def test_a_written_turn() -> None:
    """Text becomes an item and a question; the answer's text is told as it comes."""
    talk = GeminiTalk.set_up(generationConfig={"responseModalities": ["TEXT"]})
    talk.client(realtimeInput={"text": "What is it?"})
    talk.provider("response.created", response={"id": "resp_1"})
    talk.provider("response.output_text.delta", response_id="resp_1", item_id="i", delta="It is")
    talk.answer(usage=USAGE)

    assert talk.told_types == ["conversation.item.create", "response.create"]
    assert talk.told[0]["item"]["content"] == [{"type": "input_text", "text": "What is it?"}]
    assert talk.heard_kinds == ["text", "generationComplete", "turnComplete usageMetadata"]


def test_parallel_calls_come_together_and_are_answered_once() -> None:
    """Two calls are one toolCall; when both are answered one response is asked for."""
    talk = GeminiTalk.set_up(tools=[{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}])
    talk.provider("response.created", response={"id": "resp_1"})
    for number, name in enumerate("fg"):
        call = {"type": "function_call", "name": name, "call_id": f"call_{number}"}
        item = {"id": f"item_{number}", **call, "arguments": '{"a_b": [1]}'}
        talk.provider("response.output_item.done", response_id="resp_1", item=item)
    talk.answer(usage=USAGE)

    assert talk.heard == [
        {
            "toolCall": {
                "functionCalls": [
                    {"id": "call_0", "name": "f", "args": {"a_b": [1]}},
                    {"id": "call_1", "name": "g", "args": {"a_b": [1]}},
                ]
            },
            "usageMetadata": COUNTED,
        }
    ]
    assert talk.translator.is_answering
    answers = [
        {"id": f"call_{n}", "name": name, "response": {"snake_case": n}}
        for n, name in enumerate("fg")
    ]
    talk.client({"tool_response": {"function_responses": answers[:1]}})
    assert talk.told_types == ["conversation.item.create"]
    talk.client({"tool_response": {"function_responses": answers[1:]}})
    assert talk.told_types == ["conversation.item.create"] * 2 + ["response.create"]
    assert [m["item"]["output"] for m in talk.told[:2]] == ['{"snake_case":0}', '{"snake_case":1}']
    speak(talk, response="resp_2")
    talk.answer(response_id="resp_2", usage=USAGE)
    assert talk.heard_kinds[-2:] == ["generationComplete", "turnComplete usageMetadata"]
    assert not talk.translator.is_answering


def test_the_user_interrupts_the_answer() -> None:
    """Speech during a response interrupts it once; no audio of it follows, its usage does."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.provider("input_audio_buffer.speech_started", item_id="item_u")
    talk.provider("response.output_audio.delta", response_id="resp_1", delta="BBBB")
    talk.answer("cancelled", usage=USAGE)

    assert talk.heard_kinds == ["audio", "interrupted", "turnComplete usageMetadata"]
    assert not talk.told


def test_content_interrupts_the_answer_and_is_asked_about_after_it() -> None:
    """A question during a response cancels it, and is asked when the response has ended."""
    talk = GeminiTalk.set_up()
    speak(talk)
    talk.forget()
    content = {"turns": [{"role": "user", "parts": [{"text": "Stop"}]}], "turnComplete": True}
    talk.client(clientContent=content)
    assert talk.told_types == ["response.cancel", "conversation.item.create"]
    assert talk.heard_kinds == ["interrupted"]
    talk.answer("cancelled", usage=USAGE)
    assert talk.told_types[2:] == ["response.create"]
    assert talk.heard_kinds == ["interrupted", "turnComplete usageMetadata"]


def test_a_history_in_content() -> None:
    """Turns, images, calls and their answers become items, in their order."""
    talk = GeminiTalk.set_up()
    image = {"inlineData": {"mimeType": "image/png", "data": "-_8="}}
    turns = [
        {"role": "user", "parts": [{"text": "Look"}, image]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a_b": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 2}}}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "A cat."}]},
    ]
    talk.client(clientContent={"turns": turns, "turnComplete": False})

    items = [message["item"] for message in talk.told]
    assert [item["type"] for item in items] == [
        "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert items[0]["content"][1] == {
        "type": "input_image",
        "image_url": "data:image/png;base64,+/8=",
    }
    assert items[1]["call_id"] == items[2]["call_id"]
    assert items[1]["arguments"] == '{"a_b":1}'
    assert items[3]["content"] == [{"type": "output_text", "text": "A cat."}]


def test_another_connection_is_told_what_was_said() -> None:
    """After a reconnect the session and the items are sent, and the client hears nothing of it."""
    talk = GeminiTalk.set_up(systemInstruction="Be kind.")
    talk.client(realtimeInput={"text": "Hello"})
    speak(talk)
    talk.provider("response.output_item.done", response_id="resp_1", item=SAID)
    talk.answer(usage=USAGE)
    talk.forget()
    talk.reconnect()

    assert talk.translator.is_waiting
    assert talk.told_types == ["session.update"] + ["conversation.item.create"] * 2
    assert talk.told[0]["session"]["instructions"] == "Be kind."
    items = [message["item"] for message in talk.told[1:]]
    assert items[1] == {
        "id": "item_a",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Good day."}],
    }
    talk.provider("session.updated", session={})
    assert not talk.translator.is_waiting
    assert not talk.heard


def test_a_turn_that_is_cut_by_the_connection_ends() -> None:
    """The client hears that the turn is interrupted and over; what was said of it is kept."""
    talk = GeminiTalk.set_up(outputAudioTranscription={})
    speak(talk)
    talk.forget()
    talk.reconnect()

    assert talk.heard_kinds == ["interrupted", "turnComplete"]
    assert talk.told[1]["item"]["content"] == [{"type": "output_text", "text": "Good day."}]
    assert not talk.translator.is_answering


def test_xai_counts_beside_the_response_and_transcribes_all_anew() -> None:
    """The usage stands beside the response; each transcript repeats what came before."""
    talk = GeminiTalk.set_up("xai", inputAudioTranscription={})
    transcription = "conversation.item.input_audio_transcription"
    talk.provider("ping", timestamp=1)
    talk.provider("input_audio_buffer.speech_started", item_id="item_u")
    for kind, words in (("updated", "Good"), ("completed", "Good mor"), ("completed", "Good day")):
        talk.provider(f"{transcription}.{kind}", item_id="item_u", transcript=words)
    talk.provider("input_audio_buffer.committed", item_id="item_u")
    speak(talk)
    talk.provider("response.done", response={"id": "resp_1", "status": "completed", "usage": {},
                  "status_details": "unimplemented"}, usage=USAGE)  # fmt: skip

    texts = [
        message["serverContent"]["inputTranscription"]["text"]
        for message in talk.heard
        if "inputTranscription" in message.get("serverContent", {})
    ]
    assert texts == ["Good", " mor", "day"]
    assert talk.heard[-1]["usageMetadata"] == COUNTED
    assert talk.translator.conversation.items[0]["content"][0]["transcript"] == "Good day"


def test_a_conversation_goes_on_at_another_provider() -> None:
    """A translator that is given a conversation tells its provider, and expects no setup."""
    talk = GeminiTalk.set_up(
        inputAudioTranscription={},
        generationConfig={
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
        },
    )
    talk.client(realtimeInput={"text": "Hello"})
    other = GeminiTalk("xai", talk.translator.conversation)
    other.take(other.translator.provider_opened())

    assert other.told_types == ["session.update", "conversation.item.create"]
    session = other.told[0]["session"]
    assert session["voice"] == "ara"
    assert session["audio"]["input"]["transcription"] == {}
    other.provider("session.updated", session={})
    other.client(realtimeInput={"text": "Still there?"})
    assert not other.heard
    assert other.close is None
    assert isinstance(other.translator.conversation, Conversation)


def test_xai_goes_on_with_the_conversation_that_it_has() -> None:
    """It is asked to keep it. The next connection is told only what was not replayed there, and
    has an answer taken out of which nobody heard.
    """
    talk = GeminiTalk.set_up("xai")
    resumption = talk.translator.resumption
    assert resumption.name == ""
    talk.provider("conversation.created", conversation={"id": "conv_1"})
    assert resumption.name == "conv_1"
    turns = [{"role": "user", "parts": [{"text": words}]} for words in ("Hello", "Who is it?")]
    talk.client(clientContent={"turns": turns, "turnComplete": True})
    asked = [x["item"] for x in talk.told if x["type"] == "conversation.item.create"]
    talk.forget()
    talk.reconnect()
    assert talk.told_types == ["session.update"]
    assert talk.told[0]["session"]["resumption"] == {"enabled": True}
    talk.provider("session.created", session={})
    talk.provider("conversation.created", conversation={"id": "conv_1"})
    talk.provider("conversation.item.added", item=asked[0])
    talk.provider("conversation.item.added", item={**SAID, "id": "unheard"})
    assert talk.translator.is_waiting
    talk.forget()
    talk.provider("session.updated", session={})
    assert talk.told_types == [
        "conversation.item.delete", "conversation.item.create", "response.create",
    ]  # fmt: skip
    assert (talk.told[0]["item_id"], talk.told[1]["item"]["id"]) == ("unheard", asked[1]["id"])
    assert not talk.heard
    assert not talk.translator.is_waiting


def test_xai_is_told_a_conversation_that_it_has_forgotten() -> None:
    """Its new connection is another conversation; one that is cut before that is not named again,
    nor one of a provider before.
    """
    talk = GeminiTalk.set_up("xai")
    resumption = talk.translator.resumption
    talk.provider("conversation.created", conversation={"id": "conv_1"})
    talk.client(realtimeInput={"text": "Hello"})
    talk.reconnect()
    talk.provider("conversation.created", conversation={"id": "conv_2"})
    talk.forget()
    talk.provider("session.updated", session={})
    assert talk.told_types == ["conversation.item.create", "response.create"]
    assert resumption.name == "conv_2"
    talk.forget()
    talk.reconnect()
    talk.reconnect()
    assert talk.told_types == [
        "session.update", "session.update", "conversation.item.create", "response.create",
    ]  # fmt: skip
    talk.provider("conversation.created", conversation={"id": "conv_3"})
    talk.take(talk.translator.provider_closed())
    assert resumption.name == "conv_3"
    talk.translator.moved_to("xai")
    assert resumption.name == ""


@pytest.mark.parametrize("is_early", [True, False])
def test_an_error_while_xai_goes_on_does_not_end_the_session(is_early: bool) -> None:
    """It says of no error what it answers. One before the conversation is there answers nothing;
    behind that it ends what is replayed.
    """
    talk = GeminiTalk.set_up("xai")
    talk.provider("conversation.created", conversation={"id": "conv_1"})
    talk.client(realtimeInput={"text": "Hello"})
    talk.forget()
    talk.reconnect()
    if not is_early:
        talk.provider("conversation.created", conversation={"id": "conv_1"})
    talk.provider("error", error={"code": "invalid", "message": "Something is wrong."})
    assert talk.close is None
    assert talk.translator.is_waiting is is_early
    asked = [] if is_early else ["conversation.item.create", "response.create"]
    assert talk.told_types == ["session.update", *asked]
