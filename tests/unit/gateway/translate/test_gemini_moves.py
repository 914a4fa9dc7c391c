"""A Gemini client's session that leaves for a provider of another protocol, and comes back."""

from typing import Any

import pytest
from msgspec import json

from gateway.translate.conversation import Conversation
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN

Message = dict[str, Any]
WEATHER = {"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT"}}]}
SPOKEN = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
SETUP: Message = {
    "model": "models/safe",
    "system_instruction": {"parts": [{"text": "Be brief."}]},
    "tools": [WEATHER],
    "generation_config": {"response_modalities": ["AUDIO"], "speech_config": SPOKEN},
    "inputAudioTranscription": {},
    "outputAudioTranscription": {},
    "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
}
LONG = "function-call-12030392049393012345"


def at_gemini(setup: Message = SETUP) -> GeminiKeeper:
    """A session that Gemini has accepted."""
    keeper = GeminiKeeper(seed="9e31", model="gemini-live")
    keeper.provider_opened()
    say(keeper, {"setup": setup})
    assert keeper.provider_said({"setupComplete": {}}) is not None
    return keeper


def say(keeper: GeminiKeeper, message: Message) -> Message | None:
    """The client says something to a keeper."""
    return keeper.client_said(message, json.encode(message))


def text(words: str) -> Message:
    """A question in writing."""
    turn = {"role": "user", "parts": [{"text": words}]}
    return {"clientContent": {"turns": [turn], "turnComplete": True}}


def to_openai(keeper: GeminiKeeper) -> tuple[OpenAITranslator, list[Message], list[Message]]:
    """The session goes on at OpenAI: the translator, what the client hears, what OpenAI is told."""
    heard = [json.decode(json.encode(x)) for x in keeper.provider_closed()]
    rest = keeper.leave()
    kept = keeper.conversation
    there = OpenAITranslator(
        provider="openai", model="m", seed="09e7", voices=BUILT_IN,
        conversation=Conversation(items=kept.items),
    )  # fmt: skip
    made = there.take_over(rest)
    assert made.close is None
    heard += map(json.decode, (*rest.to_client, *made.to_client))
    assert there.is_waiting
    told = list(map(json.decode, there.provider_opened().to_provider))
    accepted = there.from_provider(b'{"type":"session.updated","session":{}}')
    assert not there.is_waiting
    return there, [*heard, *map(json.decode, accepted.to_client)], told


def to_gemini(there: OpenAITranslator) -> tuple[GeminiKeeper, list[Message], list[Message]]:
    """The session goes on at Gemini."""
    heard = list(map(json.decode, there.provider_closed().to_client))
    rest = there.leave()
    keeper = GeminiKeeper(
        seed="1a57", model="gemini-live", conversation=Conversation(items=there.conversation.items)
    )
    keeper.take_over(rest)
    told = [json.decode(json.encode(x)) for x in keeper.provider_opened()]
    said = keeper.provider_said({"setupComplete": {}})
    heard += [said] if said is not None else []
    return keeper, heard, [*told, *map(json.decode, keeper.take_due())]


def provider(there: OpenAITranslator, kind: str, **event: Any) -> list[Message]:
    """OpenAI says something: what the client hears."""
    out = there.from_provider(json.encode({"type": kind, **event}))
    return list(map(json.decode, out.to_client))


def names_of(heard: list[Message]) -> list[str]:
    """What is in the server's contents."""
    return [name for message in heard for name in message["serverContent"]]


def test_openai_is_told_the_setup_and_the_conversation() -> None:
    """In its own words, with a voice and a transcriber of its own. The client hears nothing."""
    keeper = at_gemini()
    say(keeper, text("hello"))
    keeper.provider_said({"serverContent": {"outputTranscription": {"text": "Good day"}}})
    keeper.provider_said({"serverContent": {"turnComplete": True}})
    there, heard, told = to_openai(keeper)
    assert heard == []
    session = told[0]["session"]
    assert session["instructions"] == "Be brief."
    assert session["tools"][0]["name"] == "weather"
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["transcription"] == {"model": "gpt-realtime-whisper"}
    assert session["audio"]["output"]["voice"] == "sage"
    items = [x["item"] for x in told[1:]]
    assert [(x["role"], x["content"][0]["text"]) for x in items] == [
        ("user", "hello"), ("assistant", "Good day"),
    ]  # fmt: skip
    assert not there.is_answering


def test_gemini_is_told_the_setup_as_it_came() -> None:
    """With its own name for the model, and what was said, for which no answer is asked."""
    there, _, _ = to_openai(at_gemini())
    there.from_client(json.encode(text("hello")))
    provider(there, "response.created", response={"id": "resp_1"})
    done = {"id": "resp_1", "status": "completed", "output": [
        {"id": "i", "type": "message", "role": "assistant",
         "content": [{"type": "output_audio", "transcript": "Good day"}]},
    ]}  # fmt: skip
    provider(there, "response.done", response=done)
    keeper, heard, told = to_gemini(there)
    assert heard == []
    setup = told[0]["setup"]
    assert setup["model"] == "models/gemini-live"
    assert setup["systemInstruction"] == SETUP["system_instruction"]
    assert setup["tools"] == SETUP["tools"]
    assert setup["generationConfig"]["speechConfig"] == SPOKEN
    assert told[1:] == [
        {
            "clientContent": {
                "turns": [
                    {"role": "user", "parts": [{"text": "hello"}]},
                    {"role": "model", "parts": [{"text": "Good day"}]},
                ],
                "turnComplete": False,
            }
        }
    ]
    assert not keeper.is_answering
    assert keeper.conversation.session["instructions"] == "Be brief."


def test_a_question_without_an_answer_is_asked_there_and_back_again() -> None:
    """The client sees a pause."""
    keeper = at_gemini()
    say(keeper, text("hello?"))
    there, heard, told = to_openai(keeper)
    assert heard == []
    assert [x["type"] for x in told[1:]] == ["conversation.item.create", "response.create"]
    keeper, heard, told = to_gemini(there)
    assert heard == []
    assert told[1]["clientContent"]["turnComplete"] is True
    assert keeper.is_answering
    there, heard, told = to_openai(keeper)
    assert [x["type"] for x in told[1:]] == ["conversation.item.create", "response.create"]


def test_a_turn_that_was_heard_ends_as_interrupted_in_both_directions() -> None:
    """What is known of it is kept."""
    keeper = at_gemini()
    say(keeper, text("hello?"))
    keeper.provider_said({"serverContent": {"outputTranscription": {"text": "Good"}}})
    there, heard, told = to_openai(keeper)
    assert names_of(heard) == ["interrupted", "turnComplete"]
    assert told[-1]["item"]["content"] == [{"type": "output_text", "text": "Good"}]
    there.from_client(json.encode(text("well?")))
    provider(there, "response.created", response={"id": "resp_1"})
    provider(there, "response.output_item.added", item={"id": "i"})
    provider(there, "response.output_audio_transcript.delta", item_id="i", delta="Yes")
    _, heard, told = to_gemini(there)
    assert names_of(heard) == ["interrupted", "turnComplete"]
    assert told[1]["clientContent"]["turns"][-1] == {"role": "model", "parts": [{"text": "Yes"}]}


def test_openai_gets_the_output_of_a_function_that_gemini_called() -> None:
    """It knows the call; a name that is too long for it is another one there, of both."""
    keeper = at_gemini()
    say(keeper, text("Is it warm?"))
    call = {"id": LONG, "name": "weather", "args": {"city": "Bonn"}}
    keeper.provider_said({"toolCall": {"functionCalls": [call]}})
    there, heard, told = to_openai(keeper)
    assert heard == []
    assert there.is_answering
    called = told[-1]["item"]
    assert (called["type"], called["name"]) == ("function_call", "weather")
    answer = {"functionResponses": [{"id": LONG, "name": "weather", "response": {"c": 21}}]}
    out = there.from_client(json.encode({"toolResponse": answer}))
    assert out.close is None
    output, asked = map(json.decode, out.to_provider)
    assert output["item"]["call_id"] == called["call_id"]
    assert len(called["call_id"]) <= 32
    assert asked["type"] == "response.create"


def test_gemini_is_told_the_call_of_openai_together_with_its_output() -> None:
    """It has not called it itself, so it gets no toolResponse."""
    there, _, _ = to_openai(at_gemini())
    there.from_client(json.encode(text("Is it warm?")))
    provider(there, "response.created", response={"id": "resp_1"})
    call = {"id": "i", "type": "function_call", "call_id": "c", "name": "weather",
            "arguments": "{}"}  # fmt: skip
    done = {"id": "resp_1", "status": "completed", "output": [call]}
    (heard,) = provider(there, "response.done", response=done)
    assert heard["toolCall"]["functionCalls"][0]["id"] == "c"
    keeper, more, told = to_gemini(there)
    assert more == []
    assert "functionCall" not in str(told)
    answer = {"functionResponses": [{"id": "c", "name": "weather", "response": {"c": 21}}]}
    assert say(keeper, {"toolResponse": answer}) == {}
    (content,) = map(json.decode, keeper.take_due())
    parts = [next(iter(x["parts"][0])) for x in content["clientContent"]["turns"]]
    assert parts == ["functionCall", "functionResponse"]
    assert content["clientContent"]["turnComplete"] is True


def test_an_activity_goes_on() -> None:
    """What is spoken after the move belongs to it, and its end is answered."""
    keeper = at_gemini()
    say(keeper, {"realtimeInput": {"activityStart": {}}})
    there, _, _ = to_openai(keeper)
    audio = {"data": "AAAA" * 1600, "mimeType": "audio/pcm;rate=16000"}
    heard = there.from_client(json.encode({"realtimeInput": {"audio": audio}}))
    assert heard.to_provider
    keeper, _, told = to_gemini(there)
    assert told[-1] == {"realtimeInput": {"activityStart": {}}}
    there, _, _ = to_openai(keeper)
    there.from_client(json.encode({"realtimeInput": {"audio": audio}}))
    ended = there.from_client(json.encode({"realtimeInput": {"activityEnd": {}}}))
    assert [json.decode(x)["type"] for x in ended.to_provider][-2:] == [
        "input_audio_buffer.commit", "response.create",
    ]  # fmt: skip


@pytest.mark.parametrize("tools", [[WEATHER], []])
def test_what_a_context_update_changed_is_told_there_and_back(tools: list[Message]) -> None:
    """Instructions and tools, wherever they were changed; the tools have an object around them."""
    there, _, _ = to_openai(at_gemini())
    update = {"systemInstruction": {"parts": [{"text": "In French."}]}, "tools": {"tools": tools}}
    (changed,) = there.from_client(json.encode({"contextUpdate": update})).to_provider
    names = [tool["name"] for tool in json.decode(changed)["session"]["tools"]]
    assert names == ["weather"] * len(tools)
    keeper, _, told = to_gemini(there)
    assert told[0]["setup"]["systemInstruction"] == update["systemInstruction"]
    assert told[0]["setup"]["tools"] == tools
    _, _, back = to_openai(keeper)
    assert back[0]["session"]["instructions"] == "In French."
    assert [tool["name"] for tool in back[0]["session"]["tools"]] == names


def test_a_handle_is_taken_back() -> None:
    """It leads to a session that does not go on there; the next Gemini is told no handle."""
    keeper = at_gemini({**SETUP, "sessionResumption": {}})
    update = {"newHandle": "handle_1", "resumable": True}
    keeper.provider_said({"sessionResumptionUpdate": update})
    there, heard, _ = to_openai(keeper)
    assert heard == [{"sessionResumptionUpdate": {"resumable": False}}]
    keeper, heard, told = to_gemini(there)
    assert heard == []
    assert told[0]["setup"]["sessionResumption"] == {}


def test_a_handle_that_nobody_has_checked_reaches_no_provider() -> None:
    """A client of OpenAI's provider may have named one; it could be another account's."""
    there = OpenAITranslator(provider="openai", model="m", seed="09e7", voices=BUILT_IN)
    there.provider_opened()
    setup = {**SETUP, "session_resumption": {"handle": "another's"}}
    there.from_client(json.encode({"setup": setup}))
    provider(there, "session.updated", session={})
    _, _, told = to_gemini(there)
    assert told[0]["setup"]["sessionResumption"] == {}


def test_a_client_that_waits_for_its_setup_hears_of_it_once() -> None:
    """From the provider that accepts it."""
    keeper = GeminiKeeper(seed="9e31", model="gemini-live")
    keeper.provider_opened()
    say(keeper, {"setup": SETUP})
    _, heard, _ = to_openai(keeper)
    assert heard == [{"setupComplete": {}}]


def test_a_client_that_has_said_nothing_begins_at_the_next_provider() -> None:
    """Nothing is known of it."""
    keeper = GeminiKeeper(seed="9e31", model="gemini-live")
    there = OpenAITranslator(provider="openai", model="m", seed="09e7", voices=BUILT_IN)
    there.take_over(keeper.leave())
    assert there.provider_opened().to_provider == []
    back = GeminiKeeper(seed="1a57", model="gemini-live")
    back.take_over(there.leave())
    assert list(back.provider_opened()) == []


def test_history_that_is_not_complete_goes_on_as_history() -> None:
    """What the client writes first is not answered, wherever it is served."""
    keeper = at_gemini({**SETUP, "historyConfig": {"initialHistoryInClientContent": True}})
    turn = {"role": "user", "parts": [{"text": "before"}]}
    say(keeper, {"clientContent": {"turns": [turn], "turnComplete": False}})
    there, _, _ = to_openai(keeper)
    rest = there.from_client(json.encode(text("more")))
    assert [json.decode(x)["type"] for x in rest.to_provider] == ["conversation.item.create"]
    asked = there.from_client(json.encode(text("well?")))
    assert json.decode(asked.to_provider[-1])["type"] == "response.create"


def test_a_setup_that_cannot_be_read_closes_the_session() -> None:
    """As it does where the session begins there."""
    keeper = at_gemini({**SETUP, "tools": [{"functionDeclarations": [{"name": ""}]}]})
    keeper.provider_closed()
    there = OpenAITranslator(provider="openai", model="m", seed="09e7", voices=BUILT_IN)
    close = there.take_over(keeper.leave()).close
    assert close is not None
    assert close.code == 1007
