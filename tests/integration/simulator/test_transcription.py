"""Transcription usage: both variants, before, in the middle of, and after the response."""

from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.support.harness import Cluster
from tests.support.simulator_client import (
    CREATE,
    Event,
    logged,
    order,
    say,
    send,
    session,
    until,
)
from tests.support.speech import silence, tone

GA: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
PATH = "/v1/realtime"
COMPLETED = "conversation.item.input_audio_transcription.completed"
TURN = silence(0.4) + tone(2.0) + silence(0.6)


def asking(model: str, **audio: Any) -> Event:
    """A session.update that turns transcription on."""
    heard = {"transcription": {"model": model}, **audio}
    return {"type": "session.update", "session": {"type": "realtime", "audio": {"input": heard}}}


KINDS = [
    ("gpt-4o-transcribe", "tokens"),
    ("gpt-4o-mini-transcribe", "tokens"),
    ("whisper-1", "duration"),
    ("gpt-realtime-whisper", "duration"),
]


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize(("model", "kind"), KINDS)
async def test_where_and_what(provider: Cluster, when: str, model: str, kind: str) -> None:
    """The place is the one that was asked for; the log has its charge."""
    tag = f"{when}-{model}"
    async with session(provider, PATH, transcription=when, tag=tag) as socket:
        await send(socket, asking(model), *say(TURN))
        events = await until(socket, COMPLETED)
        if when != "after":
            events += await until(socket, "rate_limits.updated")
    found = order(events)
    places = [found.index(x) for x in ("response.created", "response.done")]
    at = {"before": 0, "between": 1, "after": 2}[when]
    assert sorted([*places, found.index(COMPLETED)]).index(found.index(COMPLETED)) == at
    completed = next(e for e in events if e["type"] == COMPLETED)
    assert GA.validate_python(completed).usage.type == kind
    (line,) = [x for x in logged(provider, tag) if x["kind"] == "transcription"]
    assert (line["usage"], line["transcription_model"]) == (completed["usage"], model)
    charge = line["charge"]
    if kind == "duration":
        assert charge["billed_ms"] == completed["usage"]["seconds"] * 1000 > 0
        assert charge["total_tokens"] == 0
    else:
        assert charge["total_tokens"] == completed["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("when", ["between", "after"])
async def test_speech_without_a_response_is_transcribed(provider: Cluster, when: str) -> None:
    """A commit alone, and a commit with a response that follows."""
    async with session(provider, PATH, transcription=when) as socket:
        await send(socket, asking("whisper-1", turn_detection=None), *say(TURN))
        await send(socket, {"type": "input_audio_buffer.commit"})
        assert "response.created" not in order(await until(socket, COMPLETED))
        await send(socket, *say(TURN), {"type": "input_audio_buffer.commit"}, CREATE)
        found = order(await until(socket, COMPLETED))
    assert ("response.done" in found) == (when == "after")


async def test_it_is_off_by_default(provider: Cluster) -> None:
    """Nothing is transcribed, and nothing is charged, unless the session asks."""
    async with session(provider, PATH, tag="off") as socket:
        await send(socket, *say(TURN))
        assert COMPLETED not in order(await until(socket, "rate_limits.updated"))
    assert [line["kind"] for line in logged(provider, "off")] == ["response"]
