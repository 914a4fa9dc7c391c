"""The simulated GPT-Live is held to the official SDK's own types."""

import base64
import json
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.live import ConnectServerEvent
from openai.types.responses import ResponseCompletedEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed

from tests.support.harness import Cluster
from tests.support.simulator_client import Event, host, logged, order, send, session, until
from tests.support.speech import chunks, silence, tone

SERVER: TypeAdapter[Any] = TypeAdapter(ConnectServerEvent)
PATH = "/v1/live/sessions"
START: Event = {"type": "session.start", "session": {"model": "gpt-live-1"}}
DELEGATING = {"type": "responses", "responses": {"model": "gpt-5"}}
TURN = silence(0.4) + tone(2.0) + silence(0.6)


def say(pcm: bytes) -> list[Event]:
    """Audio in 100 ms pieces."""
    return [
        {"type": "session.input_audio.append", "audio": base64.b64encode(x).decode()}
        for x in chunks(pcm, 100)
    ]


async def test_a_whole_session(provider: Cluster) -> None:
    """Start, speech, a delegated response, cumulative seconds, close; each event is valid."""
    started = {"model": "gpt-live-1", "delegation": DELEGATING}
    async with session(provider, PATH, tag="whole") as socket:
        await send(socket, {**START, "session": started}, *say(TURN))
        events = await until(socket, "response.event")
        events += await until(socket, "session.usage.updated")
        await send(socket, {"type": "session.close"})
        events += await until(socket, "session.closed")
        await socket.wait_closed()
    assert socket.close_code == 1000
    for event in events:
        assert SERVER.validate_python(event).type == event["type"]
    assert [x for x in order(events) if x != "session.usage.updated"][:3] == [
        "session.started", "session.input_transcript.delta", "session.output_transcript.delta",
    ]  # fmt: skip
    audio = [e["delta"] for e in events if e["type"] == "session.output_audio.delta"]
    assert tone(2.0) in b"".join(base64.b64decode(delta) for delta in audio)
    seconds = [e["usage"]["seconds"] for e in events if "usage" in e]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(3.0 + 2.8, abs=0.1)
    (completed,) = [e["event"] for e in events if e["type"] == "response.event"]
    ResponseCompletedEvent.model_validate(completed)


async def test_the_log_adds_up(provider: Cluster) -> None:
    """Cumulative seconds are charged once; delegated tokens as a response of their own."""
    started = {"model": "gpt-live-1", "delegation": DELEGATING}
    async with session(provider, PATH, tag="sum") as socket:
        await send(socket, {**START, "session": started}, *say(TURN))
        await until(socket, "response.event")
        await send(socket, {"type": "session.close"})
        closed = (await until(socket, "session.closed"))[-1]
    lines = logged(provider, "sum")
    seconds = [line for line in lines if line["kind"] == "seconds"]
    assert len(seconds) > 1
    total_ms = sum(line["charge"]["billed_ms"] for line in seconds)
    assert total_ms == round(closed["usage"]["seconds"] * 1000)
    assert all(line["charge"]["total_tokens"] == 0 for line in seconds)
    (delegated,) = [line for line in lines if line["kind"] == "delegated"]
    assert delegated["model"] == "gpt-5"
    assert delegated["charge"]["total_tokens"] == delegated["usage"]["total_tokens"] > 0


async def test_barge_in_and_16_khz(provider: Cluster) -> None:
    """Speech cuts the reply; the session's rate is that of both directions."""
    audio = {"format": {"type": "audio/pcm", "rate": 16_000}}
    start = {**START, "session": {"model": "gpt-live-1", "audio": audio}}
    pcm = tone(20.0 * 16 / 24)
    async with session(provider, PATH, pace="2") as socket:
        await send(socket, start, *say(pcm + silence(0.6)))
        events = await until(socket, "session.output_audio.delta")
        assert len(base64.b64decode(events[-1]["delta"])) == pytest.approx(0.2 * 32_000, abs=4)
        await send(socket, *say(tone(0.6) + silence(0.6)))
        second = await until(socket, "session.input_transcript.delta")
    assert len([e for e in second if e["type"] == "session.output_audio.delta"]) < 75


MISTAKES: list[Event] = [
    {"type": "session.input_audio.append", "audio": ""},
    {"type": "fly"},
    {"type": "session.start"},
    {"type": "session.start", "session": 5},
    {"type": "session.start", "session": {"model": 5}},
    {"type": "session.start", "session": {"model": "m", "audio": {"format": {"type": "mp3"}}}},
    {"type": "session.start", "session": {"model": "sim-usage-huge"}},
]


async def test_mistakes_are_answered_and_survived(provider: Cluster) -> None:
    """Each is answered with the client's event id, and the session can still be started."""
    async with session(provider, PATH) as socket:
        for number, event in enumerate(MISTAKES):
            await send(socket, {**event, "event_id": f"mine-{number}"})
            (answer,) = await until(socket, "error")
            SERVER.validate_python(answer)
            assert answer["error"]["client_event_id"] == f"mine-{number}"
        await send(socket, START, {"type": "session.input_audio.mute"}, START)
        assert order(await until(socket, "error")) == [
            "session.started", "session.input_audio.muted", "error",
        ]  # fmt: skip


async def test_faults(provider: Cluster) -> None:
    """Usage, close and expiry on demand; by the model that session.start names, too."""
    start = {**START, "session": {"model": "sim-usage-absurd,pace-0"}}
    async with session(provider, PATH, tag="absurd") as socket:
        await send(socket, start, {"type": "session.close"})
        assert (await until(socket, "session.closed"))[-1]["usage"]["seconds"] == 10**12
    assert [line["charge"] for line in logged(provider, "absurd")] == [None]
    async with session(provider, PATH, expire_ms="2000") as socket:
        await send(socket, START)
        assert (await until(socket, "session.closed"))[-1]["reason"] == "expired"
    async with session(provider, PATH, close="1011") as socket:
        await send(socket, START, *say(TURN))
        with pytest.raises(ConnectionClosed):
            while True:
                json.loads(await socket.recv())
    assert socket.close_code == 1011


async def test_the_official_sdk_talks_to_it(provider: Cluster) -> None:
    """openai-python's live client."""
    client = AsyncOpenAI(api_key="k", base_url=f"http://{host(provider)}/sim-pace-0/v1")
    async with client.live.connect() as it:
        await it.send(START)  # type: ignore[arg-type]
        for event in say(TURN):
            await it.send(event)  # type: ignore[arg-type]
        seen = []
        async for event in it:
            seen.append(event.type)
            if event.type == "session.output_audio.delta" and seen.count(event.type) == 5:
                await it.send({"type": "session.close"})
    assert seen[0] == "session.started"
    assert seen[-1] == "session.closed"
