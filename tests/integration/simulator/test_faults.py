"""Faults on demand: what the query asks for is what the client gets, and the logs know."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.deadlines import within
from tests.support.harness import STOP_S, Cluster, cluster_folder, eventually, json_lines

Event = dict[str, Any]
CREATE = {"type": "response.create"}
SLOW = {"pace": "1", "reply_ms": "20000"}
DIAL_MS = 60_000
assert DIAL_MS > STOP_S * 1000


@pytest.fixture(scope="module")
def provider() -> Iterator[Cluster]:
    """A simulator that logs what it could not report."""
    with cluster_folder() as cluster:
        cluster.start_simulator("--abandoned-log", str(cluster.folder / "abandoned.jsonl"))
        yield cluster
        assert cluster.simulator is not None
        assert cluster.simulator.stop() == 0
        assert cluster.simulator.complaints() == []


@asynccontextmanager
async def session(provider: Cluster, **query: str) -> AsyncIterator[ClientConnection]:
    """A connection with faults."""
    assert provider.simulator is not None
    pairs = "&".join(f"{name}={value}" for name, value in {"pace": "0", **query}.items())
    url = f"ws://{provider.simulator.field('listen')}/v1/realtime?{pairs}"
    headers = {"Authorization": "Bearer sk-any"}
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        yield socket


async def until(socket: ClientConnection, kind: str, *, seconds: float = 20) -> list[Event]:
    """All events up to one of a type."""
    seen: list[Event] = []
    async with asyncio.timeout(seconds):
        while not seen or seen[-1]["type"] != kind:
            seen.append(json.loads(await socket.recv()))
    return seen


async def say(socket: ClientConnection, *events: Event) -> None:
    """Send client events."""
    for event in events:
        await socket.send(json.dumps(event))


async def created(socket: ClientConnection) -> str:
    """Begin a response; its id once it has begun to speak."""
    await say(socket, CREATE)
    events = await until(socket, "response.output_audio.delta")
    return next(str(e["response"]["id"]) for e in events if e["type"] == "response.created")


def abandoned(provider: Cluster, response_id: str) -> Event:
    """The line of a response in the abandoned log, which is then not among the usages sent."""
    path = provider.folder / "abandoned.jsonl"

    def find() -> Event | None:
        lines = json_lines(path)
        return next((line for line in lines if line["response_id"] == response_id), None)

    found = eventually(find)
    assert found is not None
    assert response_id not in {line["response_id"] for line in provider.usage_sent()}
    return found


async def test_a_client_that_leaves_abandons_its_response(provider: Cluster) -> None:
    """What was generated and could not be reported is known to tests."""
    before = time.time()
    async with session(provider, tag="left", **SLOW) as socket:
        greeting = json.loads(await socket.recv())
        response_id = await created(socket)
        socket.transport.abort()
    line = await asyncio.to_thread(abandoned, provider, response_id)
    assert line["session"] == greeting["session"]["id"]
    assert before <= line["began_at"] <= time.time()
    assert line["usage"]["output_tokens"] > 0
    assert "tag=left" in line["query"]


async def test_a_response_that_was_reported_is_not_abandoned(provider: Cluster) -> None:
    """A whole session leaves no line."""
    async with session(provider, tag="whole") as socket:
        await say(socket, CREATE)
        await until(socket, "response.done")
    async with session(provider, tag="after", **SLOW) as socket:
        last = await created(socket)
    await asyncio.to_thread(abandoned, provider, last)
    assert "tag=whole" not in (provider.folder / "abandoned.jsonl").read_text()


async def test_cancel_is_ignored(provider: Cluster) -> None:
    """Neither obeyed nor answered: the response runs to its end."""
    async with session(provider, cancel="ignore", pace="20", reply_ms="4000") as socket:
        await say(socket, {"type": "response.cancel"})
        await created(socket)
        await say(socket, {"type": "response.cancel"})
        events = await until(socket, "response.done")
    assert events[-1]["response"]["status"] == "completed"
    assert "error" not in [event["type"] for event in events]


async def test_done_is_withheld(provider: Cluster) -> None:
    """The reply is spoken, even cancelled, and never reported; the session answers on."""
    async with session(provider, done="never") as socket:
        response_id = await created(socket)
        await until(socket, "response.output_item.done")
        await say(socket, {"type": "response.cancel"}, CREATE)
        refused = (await until(socket, "error"))[-1]["error"]
        assert refused["code"] == "conversation_already_has_active_response"
        with pytest.raises(TimeoutError):
            await until(socket, "response.done", seconds=0.5)
    line = await asyncio.to_thread(abandoned, provider, response_id)
    assert line["usage"]["output_token_details"]["audio_tokens"] == 40


def numbers(usage: Event) -> set[int]:
    """All counts of a usage."""
    return {
        count
        for value in usage.values()
        for count in (numbers(value) if isinstance(value, dict) else {value})
    }


@pytest.mark.parametrize("kind", ["null", "empty", "zero", "absurd"])
async def test_usage_is_what_was_asked_for(provider: Cluster, kind: str) -> None:
    """Every response.done of the session carries it, and the log says so."""
    async with session(provider, usage=kind) as socket:
        for _ in range(2):
            await say(socket, CREATE)
            response = (await until(socket, "response.done"))[-1]["response"]
            usage = response["usage"]
            if kind in ("null", "empty"):
                assert usage == (None if kind == "null" else {})
            else:
                assert numbers(usage) == {0 if kind == "zero" else 10**12}
    logged = [line for line in provider.usage_sent() if line["response_id"] == response["id"]]
    assert [line["usage"] for line in logged] == [usage]


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_the_upgrade_is_refused(provider: Cluster, status: int) -> None:
    """With the status that was asked for."""
    with pytest.raises(InvalidStatus) as caught:
        async with session(provider, refuse=str(status)):
            pass
    assert caught.value.response.status_code == status


async def test_the_dial_is_slow(provider: Cluster) -> None:
    """The handshake is answered after so long."""
    before = time.monotonic()
    async with session(provider, dial_ms="400") as socket:
        assert time.monotonic() - before >= 0.4
        await until(socket, "session.created")


async def test_a_slow_dial_does_not_keep_the_simulator() -> None:
    """A client that gives up is forgotten, and SIGTERM does not wait for the dial."""
    with cluster_folder() as cluster:
        simulator = cluster.start_simulator()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), session(cluster, dial_ms=str(DIAL_MS)):
                pass
        assert await asyncio.to_thread(simulator.stop) == 0, f"waited for less than {STOP_S} s"
        assert simulator.complaints() == []


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1013, 3000, 4999])
async def test_it_closes_in_the_middle(provider: Cluster, code: int) -> None:
    """So long after the response began; what was generated is abandoned."""
    query = {"close": str(code), "close_after_ms": "300", **SLOW}
    async with session(provider, **query) as socket:
        response_id = await created(socket)
        with within(2, provider.simulator), pytest.raises(ConnectionClosed):
            await until(socket, "response.done")
    assert socket.close_code == code
    await asyncio.to_thread(abandoned, provider, response_id)


MISSPELT = [
    {"cancel": "ignored"}, {"done": "yes"}, {"usage": "huge"}, {"refuse": "418"},
    {"dial_ms": "-1"}, {"dial_ms": "99999999"}, {"close": "1005"}, {"close": "2000"},
    {"close": "soon"}, {"close": "1011", "close_after_ms": "x"},
]  # fmt: skip


@pytest.mark.parametrize("query", MISSPELT, ids=str)
async def test_a_misspelt_fault_is_refused(provider: Cluster, query: dict[str, str]) -> None:
    """400, so that no test passes without its fault."""
    with pytest.raises(InvalidStatus) as caught:
        async with session(provider, **query):
            pass
    assert caught.value.response.status_code == 400
    assert b"expected" in (caught.value.response.body or b"")
