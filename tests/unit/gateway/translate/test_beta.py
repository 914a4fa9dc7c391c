"""``translate.beta``: a client that speaks OpenAI's beta, and a provider that speaks GA."""

from typing import Any

import pytest
from msgspec import json
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from gateway.translate.base import Translator
from gateway.translate.beta import BetaTranslator
from gateway.translate.conversation import Conversation
from gateway.translate.kept.responses import OPEN_MAX

Event = dict[str, Any]
GA_CLIENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
GA_SERVER: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
BETA_SERVER: TypeAdapter[Any] = TypeAdapter(BetaServerEvent)

GA_AUDIO = {
    "input": {
        "format": {"type": "audio/pcmu"},
        "noise_reduction": {"type": "near_field"},
        "transcription": {"model": "whisper-1"},
        "turn_detection": None,
    },
    "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1.0},
}
BETA_AUDIO = {
    "input_audio_format": "g711_ulaw",
    "input_audio_noise_reduction": {"type": "near_field"},
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": None,
    "output_audio_format": "pcm16",
    "voice": "alloy",
    "speed": 1.0,
}
SAID = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed"}
CALL = {"id": "item_2", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
USAGE = {"total_tokens": 3, "input_tokens": 2, "output_tokens": 1}


def said(kind: str, **fields: str) -> Event:
    """What the assistant said, as one part."""
    return {**SAID, "content": [{"type": kind, **fields}]}


def translator(conversation: Conversation | None = None) -> Translator:
    """A translator of a session."""
    return BetaTranslator(seed="s", conversation=conversation)


def sent(event: Event, *, by: Translator | None = None) -> tuple[list[Event], list[str]]:
    """What a client's event becomes, and what is ignored of it."""
    made = (by or translator()).from_client(json.encode(event))
    assert made.to_client == []
    return [json.decode(message) for message in made.to_provider], made.ignored


def heard(event: Event, *, by: Translator | None = None) -> list[Event]:
    """What a provider's event becomes."""
    made = (by or translator()).from_provider(json.encode(event))
    assert made.to_provider == []
    return [json.decode(message) for message in made.to_client]


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({}, {}),
        ({"instructions": "Hi", "tool_choice": "auto", "tools": []},
         {"instructions": "Hi", "tool_choice": "auto", "tools": []}),
        ({"turn_detection": None}, {"audio": {"input": {"turn_detection": None}}}),
        ({"turn_detection": {"type": "server_vad", "threshold": 0.5}, "voice": "ash"},
         {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.5}},
                    "output": {"voice": "ash"}}}),
        (BETA_AUDIO, {"audio": GA_AUDIO}),
        ({"input_audio_format": "pcm16", "output_audio_format": "g711_alaw"},
         {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}},
                    "output": {"format": {"type": "audio/pcma"}}}}),
        ({"modalities": ["text", "audio"]}, {"output_modalities": ["audio"]}),
        ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
        ({"max_response_output_tokens": "inf"}, {"max_output_tokens": "inf"}),
        ({"tracing": "auto"}, {"tracing": "auto"}),
    ],
)  # fmt: skip
def test_a_session_moves_to_its_places_in_ga(flat: Event, nested: Event) -> None:
    """Each setting has one place; what the client does not name stays as it is."""
    event = {"type": "session.update", "event_id": "e1", "session": flat}
    (made,), ignored = sent(event)
    assert made == {**event, "session": {"type": "realtime", **nested}}
    assert ignored == []
    GA_CLIENT.validate_python(made)


def test_what_ga_does_not_have_is_dropped_and_named() -> None:
    """GA refuses a temperature, and what only the server may say."""
    session = {
        "temperature": 0.7,
        "model": "gpt-4o-realtime-preview",
        "client_secret": {},
        "id": "s",
    }
    (made,), ignored = sent({"type": "session.update", "session": session})
    assert made["session"] == {"type": "realtime"}
    assert ignored == [
        "session.temperature",
        "session.model",
        "session.client_secret",
        "session.id",
    ]


def test_a_transcription_session_is_a_session_of_its_own_type() -> None:
    """``transcription_session.update`` is GA's ``session.update``."""
    session = {"input_audio_format": "pcm16", "modalities": ["text"], "include": []}
    (made,), ignored = sent({"type": "transcription_session.update", "session": session})
    assert made["type"] == "session.update"
    assert made["session"] == {
        "type": "transcription",
        "include": [],
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}},
    }
    assert ignored == ["session.modalities"]
    GA_CLIENT.validate_python(made)


def test_a_response_is_asked_for_with_its_own_settings() -> None:
    """The fields of ``response.create`` move as those of the session; its items have new types."""
    response = {
        "modalities": ["audio", "text"],
        "voice": "ash",
        "output_audio_format": "pcm16",
        "max_response_output_tokens": 100,
        "temperature": 0.8,
        "conversation": "none",
        "input": [said("text", text="Hello"), {"type": "item_reference", "id": "item_9"}],
    }
    (made,), ignored = sent({"type": "response.create", "response": response})
    assert made["response"] == {
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "ash", "format": {"type": "audio/pcm", "rate": 24000}}},
        "max_output_tokens": 100,
        "conversation": "none",
        "input": [said("output_text", text="Hello"), {"type": "item_reference", "id": "item_9"}],
    }
    assert ignored == ["response.temperature"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (said("text", text="a"), said("output_text", text="a")),
        (said("audio", transcript="a"), said("output_audio", transcript="a")),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},)
        * 2,
        (CALL, CALL),
    ],
)
def test_an_item_is_created_in_gas_form(item: Event, expected: Event) -> None:
    """Only what the assistant said has other names."""
    event = {"type": "conversation.item.create", "previous_item_id": "root", "item": item}
    (made,), _ = sent(event)
    assert made == {**event, "item": expected}
    GA_CLIENT.validate_python(made)


@pytest.mark.parametrize(
    "message",
    [
        b'{"type": "input_audio_buffer.append", "audio": "AAAA"}',
        b'{"audio":"' + b"A" * 5000 + b'","type" : "input_audio_buffer.append"}',
        b'{"type":"input_audio_buffer.commit"}',
        b'{"type":"response.create"}',
        b'{"type":"conversation.item.create","item":7}',
        b'{ "type": "something.new" }',
        b'{"type":7}',
        b"[]",
        b"\xff",
        b"",
        b"[" * 5000,
    ],
)
def test_what_is_the_same_or_not_understood_is_passed_on_untouched(message: bytes) -> None:
    """The provider says itself what is wrong with a message."""
    assert translator().from_client(message).to_provider == [message]


def test_a_text_that_speaks_of_audio_is_not_taken_for_it() -> None:
    """Instructions may quote an event of audio."""
    session = {"instructions": '"type": "input_audio_buffer.append"', "voice": "ash"}
    (made,), _ = sent({"type": "session.update", "session": session})
    assert made["session"]["audio"] == {"output": {"voice": "ash"}}


DELTA = {"event_id": "e", "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
PLACE = {"event_id": "e", "response_id": "r", "output_index": 0}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "response.output_audio.delta", **DELTA, "delta": "AAAA"},
         {"type": "response.audio.delta", **DELTA, "delta": "AAAA"}),
        ({"type": "response.output_audio.done", **DELTA}, {"type": "response.audio.done", **DELTA}),
        ({"type": "response.output_audio_transcript.delta", **DELTA, "delta": "a",
          "obfuscation": "x"},
         {"type": "response.audio_transcript.delta", **DELTA, "delta": "a"}),
        ({"type": "response.output_audio_transcript.done", **DELTA, "transcript": "a"},
         {"type": "response.audio_transcript.done", **DELTA, "transcript": "a"}),
        ({"type": "response.output_text.delta", **DELTA, "delta": "a"},
         {"type": "response.text.delta", **DELTA, "delta": "a"}),
        ({"type": "response.output_text.done", **DELTA, "text": "a"},
         {"type": "response.text.done", **DELTA, "text": "a"}),
        ({"type": "response.function_call_arguments.delta", **PLACE, "item_id": "i",
          "call_id": "c", "delta": "{}", "obfuscation": "x"},
         {"type": "response.function_call_arguments.delta", **PLACE, "item_id": "i",
          "call_id": "c", "delta": "{}"}),
        ({"type": "conversation.item.added", "event_id": "e", "previous_item_id": None,
          "item": said("output_audio", transcript="a")},
         {"type": "conversation.item.created", "event_id": "e", "previous_item_id": None,
          "item": said("audio", transcript="a")}),
        ({"type": "conversation.item.retrieved", "event_id": "e", "item": said("output_text")},
         {"type": "conversation.item.retrieved", "event_id": "e", "item": said("text")}),
        ({"type": "response.output_item.done", **PLACE, "item": said("output_text", text="a")},
         {"type": "response.output_item.done", **PLACE, "item": said("text", text="a")}),
        ({"type": "response.content_part.added", **DELTA, "part": {"type": "audio"}},
         {"type": "response.content_part.added", **DELTA, "part": {"type": "audio"}}),
        ({"type": "response.created", "event_id": "e", "response": {
            "id": "r", "output_modalities": ["text"], "output": [], "status": "in_progress"}},
         {"type": "response.created", "event_id": "e", "response": {
             "temperature": 0.8, "id": "r", "output": [], "status": "in_progress",
             "modalities": ["text"]}}),
        ({"type": "response.done", "event_id": "e", "response": {
            "id": "r", "output": [said("output_audio", transcript="a"), CALL], "usage": USAGE,
            "status": "completed", "status_details": None, "max_output_tokens": "inf",
            "output_modalities": ["audio"],
            "audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "ash"}}}},
         {"type": "response.done", "event_id": "e", "response": {
             "temperature": 0.8, "id": "r", "output": [said("audio", transcript="a"), CALL],
             "usage": USAGE, "status": "completed", "status_details": None,
             "max_output_tokens": "inf", "modalities": ["text", "audio"],
             "output_audio_format": "g711_alaw", "voice": "ash"}}),
        ({"type": "session.updated", "event_id": "e", "session": {
            "type": "realtime", "id": "s", "object": "realtime.session", "model": "gpt-realtime",
            "output_modalities": ["audio"], "max_output_tokens": 9, "truncation": "auto",
            "audio": GA_AUDIO, "tools": [], "tool_choice": "auto", "instructions": "Hi"}},
         {"type": "session.updated", "event_id": "e", "session": {
             "temperature": 0.8, "id": "s", "object": "realtime.session", "model": "gpt-realtime",
             "tools": [], "tool_choice": "auto", "instructions": "Hi",
             "modalities": ["text", "audio"], "max_response_output_tokens": 9, **BETA_AUDIO}}),
        ({"type": "error", "event_id": "e", "error": {
            "type": "server_error", "message": "No", "param": "session.audio.output.voice"}},
         {"type": "error", "event_id": "e", "error": {
             "type": "server_error", "message": "No", "param": "session.voice"}}),
        ({"type": "rate_limits.updated", "event_id": "e", "rate_limits": []},
         {"type": "rate_limits.updated", "event_id": "e", "rate_limits": []}),
    ],
)  # fmt: skip
def test_a_ga_event_is_told_in_the_betas_form(event: Event, expected: Event) -> None:
    """Names, sessions, responses and items are the beta's; ids and payloads are untouched."""
    GA_SERVER.validate_python(event)
    (made,) = heard(event)
    assert made == expected
    BETA_SERVER.validate_python(made)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.done", "item": SAID},
        {"type": "conversation.item.input_audio_transcription.segment"},
        {"type": "input_audio_buffer.timeout_triggered"},
        {"type": "input_audio_buffer.dtmf_event_received"},
        {"type": "mcp_list_tools.completed"},
        {"type": "response.mcp_call_arguments.delta"},
        {"type": "response.mcp_call.failed"},
        {"type": "conversation.item.added", "item": {"id": "i", "type": "mcp_call"}},
        {"type": "response.output_item.added", "item": {"id": "i", "type": "mcp_list_tools"}},
    ],
)
def test_what_the_beta_does_not_have_is_dropped(event: Event) -> None:
    """A client of the beta hears of each item once, and nothing of MCP."""
    assert heard(event) == []


def test_a_session_that_transcribes_is_told_by_its_own_names() -> None:
    """The beta calls it a transcription session, which has neither voice nor temperature."""
    session = {"type": "transcription", "id": "s", "audio": {"input": GA_AUDIO["input"]}}
    made = [
        heard({"type": f"session.{what}", "session": session}) for what in ("created", "updated")
    ]
    assert [event["type"] for (event,) in made] == [
        "transcription_session.created",
        "transcription_session.updated",
    ]
    assert made[0][0]["session"] == {
        "id": "s",
        "client_secret": None,
        **{n: v for n, v in BETA_AUDIO.items() if n.startswith("input") or n == "turn_detection"},
    }


def test_xais_usage_stands_where_the_beta_has_it() -> None:
    """xAI reports usage beside the response, and a text where details belong."""
    response = {"id": "r", "output": [], "status_details": "unimplemented", "usage": {}}
    (made,) = heard({"type": "response.done", "response": response, "usage": USAGE})
    assert made["response"]["usage"] == USAGE
    assert made["response"]["status_details"] is None


@pytest.mark.parametrize("message", [b"\xff", b"[]", b'{"type":7}', b"{}", b"[" * 5000, b"x"])
def test_what_is_no_event_of_the_provider_is_passed_on(message: bytes) -> None:
    """A message that nobody understands reaches the client as it was."""
    assert translator().from_provider(message).to_client == [message]


def test_both_paths_of_audio_agree() -> None:
    """Audio whose name is exchanged is the same event as audio that is parsed."""
    event = {"type": "response.output_audio.delta", **DELTA, "delta": "A" * 16_000}
    compact = json.encode(event)
    by_name = translator().from_provider(compact).to_client[0]
    parsed = translator().from_provider(json.format(compact, indent=2)).to_client[0]
    assert json.decode(by_name) == json.decode(parsed)
    assert len(by_name) == len(compact) - len("output_")


def test_a_response_is_open_from_created_to_done() -> None:
    """That is when this is not between two turns."""
    session = translator()
    heard({"type": "response.created", "response": {"id": "r"}}, by=session)
    assert session.is_answering
    assert not session.is_waiting
    heard({"type": "response.done", "response": {"id": "r"}}, by=session)
    assert not session.is_answering


def test_a_response_is_cancelled_when_its_provider_is_gone() -> None:
    """What is open towards the client is closed there."""
    session = translator()
    response = {"id": "r", "object": "realtime.response", "output_modalities": ["audio"]}
    heard({"type": "response.created", "response": response}, by=session)
    (message,) = session.provider_closed().to_client
    made = json.decode(message)
    BETA_SERVER.validate_python(made)
    assert made["response"]["id"] == "r"
    assert made["response"]["status"] == "cancelled"
    assert made["response"]["modalities"] == ["text", "audio"]
    assert session.is_answering  # nothing of it was heard, so it is asked for again
    assert session.provider_closed().to_client == []
    (asked,) = session.provider_opened().to_provider
    assert json.decode(asked) == {"type": "response.create"}


def test_open_responses_are_bounded() -> None:
    """A provider that never ends its responses fills no memory."""
    session = translator()
    for number in range(OPEN_MAX + 9):
        heard({"type": "response.created", "response": {"id": f"r{number}"}}, by=session)
    assert len(session.provider_closed().to_client) == OPEN_MAX


def test_another_provider_is_told_what_was_configured_and_said() -> None:
    """Settings are kept as the client gave them, speech as its transcript."""
    first = translator()
    assert first.opened() == first.provider_opened()
    sent({"type": "session.update", "session": {"voice": "ash", "turn_detection": None}}, by=first)
    sent({"type": "session.update", "session": {"voice": "sage", "instructions": "Hi"}}, by=first)
    speech = {"id": "item_u", "type": "message", "role": "user"}
    for event in (
        {"type": "session.created", "session": {"type": "realtime"}},
        {"type": "session.updated", "session": {"type": "realtime"}},
        {"type": "session.updated", "session": {"type": "realtime"}},
        {"type": "conversation.item.added", "item": speech},
        {"type": "conversation.item.done",
         "item": {**speech, "content": [{"type": "input_audio", "transcript": None}]}},
        {"type": "conversation.item.added", "item": SAID},
        {"type": "conversation.item.done", "item": said("output_audio", transcript="Hello")},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_u",
         "content_index": 0, "transcript": "Good morning"},
    ):  # fmt: skip
        heard(event, by=first)

    second = translator(first.conversation)
    told = [json.decode(message) for message in second.provider_opened().to_provider]
    for event in told:
        GA_CLIENT.validate_python(event)
    update, *items = told
    assert update["session"] == {
        "type": "realtime",
        "instructions": "Hi",
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "sage"}},
    }
    assert [item["item"]["content"][0]["text"] for item in items] == ["Good morning", "Hello"]
    assert heard({"type": "session.created", "session": {}}, by=second) == []


def test_what_the_client_deleted_is_forgotten() -> None:
    """Another provider does not hear of it."""
    session = translator()
    heard({"type": "conversation.item.done", "item": said("output_text", text="a")}, by=session)
    assert len(session.conversation.items) == 1
    heard({"type": "conversation.item.deleted", "item_id": "item_1"}, by=session)
    assert session.conversation.items == []


def test_only_settings_are_kept_of_a_session() -> None:
    """A client that sends what is no setting fills no memory, and breaks nothing."""
    session = translator()
    for audio in (7, {"input": 7, "output": {"voice": "ash", "volume": 11}}, None):
        sent({"type": "session.update", "session": {"audio": audio, "x": 1}}, by=session)
        heard({"type": "session.updated", "session": {}}, by=session)
    assert session.conversation.session == {
        "type": "realtime",
        "audio": {"output": {"voice": "ash"}},
    }


def test_the_answers_to_what_is_told_again_are_not_passed_on() -> None:
    """The client has heard of its session and of its items once; what is new it hears."""
    kept = Conversation(
        session={"type": "realtime", "instructions": "Be brief."},
        items=[
            {
                "id": "item_1",
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hello"}],
            }
        ],
    )
    session = BetaTranslator(seed="s", conversation=kept)
    told = [json.decode(message)["type"] for message in session.provider_opened().to_provider]
    assert told == ["session.update", "conversation.item.create"]
    known, new = {"id": "item_1", "type": "message"}, {"id": "item_2", "type": "message"}
    for event in (
        {"type": "session.created", "session": {}},
        {"type": "session.updated", "session": {}},
        {"type": "conversation.item.added", "item": known},
        {"type": "conversation.item.done", "item": known},
    ):
        assert session.from_provider(json.encode(event)).to_client == []
    for event in (
        {"type": "session.updated", "session": {"type": "realtime"}},
        {"type": "conversation.item.added", "item": new},
    ):
        assert len(session.from_provider(json.encode(event)).to_client) == 1
