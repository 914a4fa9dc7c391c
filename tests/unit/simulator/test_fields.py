"""What the simulated providers refuse is what the official SDKs' types do not have."""

import json
import types as python_types
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from google.genai import types
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from simulator import gemini_fields, openai_fields
from simulator.client_events import ClientError
from simulator.gemini_client import read
from simulator.gemini_errors import GeminiError

# Clear the audio of a call, which is not simulated on a socket.
NOT_SIMULATED = {"output_audio_buffer.clear"}
# The SDK sends it in a setup without having it in the type of that message.
UNTYPED = {"LiveClientSetup": {"realtimeInputConfig"}}


def models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation."""
    if get_origin(annotation) is Annotated:
        return models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, python_types.UnionType, list):
        return [model for part in get_args(annotation) for model in models(part)]
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return [annotation] if is_model else []


def tree(*found: type[BaseModel]) -> dict[str, Any]:
    """The fields of models, those of their fields included."""
    inner: dict[str, list[type[BaseModel]]] = {}
    for model in found:
        for name, field in model.model_fields.items():
            inner.setdefault(name, []).extend(models(field.annotation))
    return {name: tree(*kinds) if kinds else None for name, kinds in inner.items()}


EVENTS = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(RealtimeClientEvent)[0])
}


def test_every_event_of_openai_is_known() -> None:
    """But those of calls."""
    assert set(EVENTS) - NOT_SIMULATED == set(openai_fields.EVENT_FIELDS)


@pytest.mark.parametrize("kind", openai_fields.EVENT_FIELDS)
def test_the_names_of_openai_are_the_sdks(kind: str) -> None:
    """At every depth."""
    assert openai_fields.EVENT_FIELDS[kind] == tree(EVENTS[kind])


@pytest.mark.parametrize("kind", gemini_fields.FIELDS)
def test_the_names_of_gemini_are_the_sdks(kind: str) -> None:
    """Of every type that is looked into."""
    fields = {to_camel(name): f for name, f in getattr(types, kind).model_fields.items()}
    assert set(gemini_fields.FIELDS[kind]) == set(fields) | UNTYPED.get(kind, set())
    for name, inner in gemini_fields.FIELDS[kind].items():
        if inner and name in fields and name != "tools":  # which the SDK checks by itself
            assert inner in [model.__name__ for model in models(fields[name].annotation)]


Session = dict[str, Any]
TOOL = {"type": "function", "name": "n", "parameters": {"type": "OBJECT"}}
NESTED = {"type": "object", "properties": {"type": {"type": "array", "items": {"type": "Any"}}}}
SESSIONS: list[tuple[Session, str]] = [
    ({"voice": "ash"}, "unknown_parameter"),
    ({"audio": {"output": {"voices": "ash"}}}, "unknown_parameter"),
    ({"audio": {"input": {"turn_detection": {"silence_ms": 5}}}}, "unknown_parameter"),
    ({"tools": [{"functionDeclarations": []}]}, "unknown_parameter"),
    ({"type": ...}, "missing_required_parameter"),
    ({"type": "live"}, "invalid_value"),
    ({"audio": {"output": {"voice": "Puck"}}}, "invalid_value"),
    ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}, "invalid_value"),
    ({"output_modalities": ["text", "audio"]}, "invalid_value"),
    ({"tools": [TOOL]}, "invalid_value"),
    ({"tools": [{**TOOL, "parameters": NESTED}]}, "invalid_value"),
]


@pytest.mark.parametrize(("changes", "code"), SESSIONS)
def test_what_openai_refuses_in_a_session(changes: Session, code: str) -> None:
    """By the real server's codes."""
    session = {"type": "realtime", **changes}
    session = {name: value for name, value in session.items() if value is not ...}
    with pytest.raises(ClientError) as caught:
        openai_fields.check_fields({"type": "session.update", "session": session})
    assert caught.value.code == code


MESSAGE = {"type": "message", "role": "user"}
ITEMS: list[tuple[Session, str]] = [
    ({**MESSAGE, "content": [{"type": "output_text", "text": "t"}]}, "invalid_value"),
    ({**MESSAGE, "role": "assistant", "content": [{"type": "input_text"}]}, "invalid_value"),
    ({**MESSAGE, "role": "model", "content": [{"type": "input_text"}]}, "invalid_value"),
    ({**MESSAGE, "parts": []}, "unknown_parameter"),
    ({**MESSAGE, "id": "x" * 33}, "string_above_max_length"),
]


@pytest.mark.parametrize(("item", "code"), ITEMS)
def test_what_openai_refuses_in_an_item(item: Session, code: str) -> None:
    """Each role says what it may."""
    with pytest.raises(ClientError) as caught:
        openai_fields.check_fields({"type": "conversation.item.create", "item": item})
    assert caught.value.code == code


def setup(**fields: Any) -> Session:
    """A setup."""
    return {"setup": {"model": "models/m", **fields}}


def declared(**fields: Any) -> Session:
    """A setup with a function."""
    return setup(tools=[{"functionDeclarations": [{"name": "n", **fields}]}])


PART = {"parts": [{"text": "t"}]}
LIVE: list[Session] = [
    setup(voice="Puck"),
    setup(systemInstruction="Be brief."),
    setup(system_instruction={"text": "t"}),
    setup(generation_config={"voiceConfig": {}}),
    setup(generationConfig={"responseModalities": ["audio"]}),
    setup(
        generationConfig={
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "ash"}}}
        }
    ),
    setup(realtimeInputConfig={"automaticActivityDetection": {"silenceMs": 5}}),
    setup(realtimeInputConfig={"activityHandling": "INTERRUPTS"}),
    setup(tools=[{"type": "function", "name": "n"}]),
    declared(parameters={"type": "OBJECT", "strict": True}),
    declared(parameters={"type": "ANY"}),
    declared(parameters={"type": "OBJECT", "properties": {"type": {"format": {}, "soup": 1}}}),
    {"clientContent": {"turns": [{"role": "assistant", **PART}]}},
    {"clientContent": {"turns": [{"role": "user", "content": []}]}},
    {"clientContent": {"turns": [{"role": "user", "parts": [{"inputText": "t"}]}]}},
    {"realtimeInput": {"audio": {"data": "", "mime": "audio/pcm"}}},
    {"toolResponse": {"functionResponses": [{"callId": "c", "response": {}}]}},
    {"toolResponse": {"functionResponses": [{"id": "c", "output": {}}]}},
    {"contextUpdate": {"tools": [{"functionDeclarations": []}]}},
    {"contextUpdate": {"generationConfig": {}}},
]


@pytest.mark.parametrize("message", LIVE)
def test_what_gemini_refuses(message: Session) -> None:
    """Unknown names, and values that are none."""
    with pytest.raises(GeminiError) as caught:
        read(json.dumps(message))
    assert caught.value.code == 1007
    assert len(str(caught.value).encode()) <= 123


TAKEN: list[Session] = [
    declared(parameters_json_schema={"type": "object", "additionalProperties": False}),
    declared(parameters={"type": "object", "properties": {"my_name": {"type": "string"}}}),
    setup(generation_config={"speech_config": {"language_code": "en-US"}}),
    setup(session_resumption={}, context_window_compression={"sliding_window": {}}),
    {"context_update": {"tools": {"tools": []}, "system_instruction": PART}},
]


@pytest.mark.parametrize("message", TAKEN)
def test_what_gemini_takes(message: Session) -> None:
    """Both spellings, and an application's own names."""
    read(json.dumps(message))
