"""Golden sessions: every shape of usage with its exact charge, held against the SDKs' own types."""

import copy
import typing
from typing import Any

import pytest
from google.genai.types import LiveClientMessage, LiveServerMessage
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.live import ServerEvent as LiveServerEvent
from openai.types.realtime import (
    RealtimeClientEvent,
    RealtimeServerEvent,
    RealtimeTranslationClientEvent,
)
from openai.types.realtime import RealtimeTranslationServerEvent as TranslationServerEvent
from openai.types.responses import ResponseUsage
from openai.types.responses.response import ToolUsage
from pydantic import BaseModel, TypeAdapter

from tests.support import golden_audio, golden_gemini, golden_openai
from tests.support.golden import Script, Step, normal, play

SCRIPTS = golden_openai.SCRIPTS + golden_gemini.SCRIPTS + golden_audio.SCRIPTS
UNIONS = {
    "ga": RealtimeServerEvent, "beta": BetaServerEvent, "live": LiveServerEvent,
    "translation": TranslationServerEvent,
}  # fmt: skip

CLIENT_EVENTS: dict[str, TypeAdapter[Any]] = {
    "ga": TypeAdapter(RealtimeClientEvent),
    "translation": TypeAdapter(RealtimeTranslationClientEvent),
}

# xAI publishes no types: what its events hold, by recordings.
XAI_TOP = {
    "type": str, "event_id": str, "response": dict, "response_id": str, "usage": dict,
    "previous_item_id": type(None), "conversation": dict, "timestamp": int,
}  # fmt: skip
XAI_USAGE: dict[str, Any] = {
    "input_tokens": int, "output_tokens": int, "total_tokens": int, "input_token_details": dict,
    "output_token_details": dict, "output_audio_seconds": float, "billable_audio_seconds": int,
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_golden_session_costs_what_stands_beside_it(script: Script) -> None:
    """Kind, model, every count and the raw rest of each charge, in order."""
    assert normal(play(script)) == normal(script.expected)
    assert normal(play(script, skims=False)) == normal(script.expected)


def test_golden_sessions_have_names_of_their_own() -> None:
    """A failing name leads to one table row."""
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_golden_session_is_shaped_like_the_real_thing(script: Script) -> None:
    """Each message is one that the SDK's own types take; what none would take is called odd."""
    for step in script.steps:
        if step.raw is None and script.shape != "odd":
            _check(script.shape, step)


def _check(shape: str, step: Step) -> None:
    event = copy.deepcopy(step.event)
    if step.is_client and shape == "gemini":
        LiveClientMessage._from_response(response=event, kwargs={})
    elif step.is_client:
        CLIENT_EVENTS[shape].validate_python(event)
    elif shape == "gemini":
        LiveServerMessage._from_response(response=event, kwargs={})
    elif shape == "xai":
        assert all(isinstance(value, XAI_TOP[name]) for name, value in event.items())
        usage = event.get("usage", {})
        assert all(isinstance(value, XAI_USAGE[name]) for name, value in usage.items())
    else:
        _type_of(shape, event["type"]).model_validate(event, strict=True)
        if event["type"] == "response.event":
            _check_delegated(event["event"]["response"] or {})


def _type_of(shape: str, kind: str) -> type[BaseModel]:
    """The SDK's class for events of a type."""
    members = typing.get_args(typing.get_args(UNIONS[shape])[0])
    (found,) = [m for m in members if typing.get_args(m.model_fields["type"].annotation) == (kind,)]
    return found


def _check_delegated(response: dict[str, Any]) -> None:
    """What the union leaves open: the counts of a response of the Responses API."""
    for name, kind in (("usage", ResponseUsage), ("tool_usage", ToolUsage)):
        if response.get(name):
            kind.model_validate(response[name], strict=True)
