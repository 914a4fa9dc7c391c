"""Faults in every dialect: endings, repetitions, spelling, frames, quotes; by query and path."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import BEARER, CREATE, Event, logged, send, session, write

GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
WEATHER = {"type": "function", "name": "weather", "parameters": {}}


def _is_response_done(message: Event) -> bool:
    return message.get("type") == "response.done"


def _is_turn_complete(message: Event) -> bool:
    return bool(message.get("serverContent", {}).get("turnComplete"))


@dataclass(frozen=True)
class Dialect:
    """How to ask for a reply, and how to know its end and its usage."""

    path: str
    ask: list[Event]
    is_end: Callable[[Event], bool]
    usage_at: tuple[str, ...]
    setup: list[Event] = field(default_factory=list)
    query: dict[str, str] = field(default_factory=dict)


CREATED = [CREATE]
SPOKEN = {"turns": [{"parts": [{"text": "hello"}]}], "turnComplete": True}
OLD = {"api-version": "a", "deployment": "gpt-4o-realtime-preview"}
IN_RESPONSE = ("response", "usage")
DIALECTS = {
    "ga": Dialect("/v1/realtime", CREATED, _is_response_done, IN_RESPONSE),
    "beta": Dialect("/openai/realtime", CREATED, _is_response_done, IN_RESPONSE, query=OLD),
    "xai": Dialect("/xai/v1/realtime", CREATED, _is_response_done, ("usage",)),
    "gemini": Dialect(
        GEMINI, [{"clientContent": SPOKEN}], _is_turn_complete, ("usageMetadata",),
        [{"setup": {"model": "models/m", "outputAudioTranscription": {}}}],
    ),
}  # fmt: skip
TYPES: dict[str, TypeAdapter[Any]] = {
    "ga": TypeAdapter(RealtimeServerEvent),
    "beta": TypeAdapter(BetaServerEvent),
}
OPENAI = ["ga", "beta", "xai"]
every_dialect = pytest.mark.parametrize("name", DIALECTS)
of_openai = pytest.mark.parametrize("name", OPENAI)


async def talk(
    provider: Cluster, dialect: Dialect, *messages: Event, **query: str
) -> tuple[list[Event], int | None]:
    """A session up to the end of its reply, or its close; the messages and the close code."""
    asked = {**dialect.query, **query}
    async with session(provider, dialect.path, BEARER, **asked) as socket:
        with contextlib.suppress(ConnectionClosed):  # what it said before it closed is read below
            await send(socket, *dialect.setup, *(messages or dialect.ask))
        return await until_end(socket, dialect.is_end), socket.close_code


async def until_end(socket: ClientConnection, is_end: Callable[[Event], bool]) -> list[Event]:
    """All messages up to the end of the reply, or of the connection."""
    seen: list[Event] = []
    async with asyncio.timeout(20):
        while not (seen and is_end(seen[-1])):
            try:
                seen.append(json.loads(await socket.recv()))
            except ConnectionClosed:
                break
    return seen


def usage(dialect: Dialect, message: Event) -> Any:
    """The usage in the last message of a reply."""
    found: Any = message
    for name in dialect.usage_at:
        found = found.get(name)
    return found


@every_dialect
@pytest.mark.parametrize("way", ["query", "path"])
@pytest.mark.parametrize("kind", ["null", "empty", "zero", "absurd", "strange"])
async def test_usage(provider: Cluster, name: str, way: str, kind: str) -> None:
    """Every dialect has each in its own place; the log says what it is worth."""
    dialect, tag = DIALECTS[name], f"{name}-{way}-{kind}"
    asked = {"usage": kind} if way == "query" else {}
    if way == "path":
        prefixed = f"/sim-usage-{kind}{dialect.path}"
        dialect = Dialect(
            prefixed, dialect.ask, dialect.is_end, dialect.usage_at, dialect.setup, dialect.query
        )
    messages, _ = await talk(provider, dialect, tag=tag, **asked)
    (line,) = logged(provider, tag)
    assert line["usage"] == usage(dialect, messages[-1])
    if kind in ("absurd", "strange"):
        assert line["charge"] is None
    else:
        assert line["charge"]["total_tokens"] == 0


@every_dialect
async def test_an_ordinary_reply_is_charged(provider: Cluster, name: str) -> None:
    """The log of each dialect holds what it sent and who sent it."""
    messages, _ = await talk(provider, DIALECTS[name], tag=f"plain-{name}")
    (line,) = logged(provider, f"plain-{name}")
    assert line["usage"] == usage(DIALECTS[name], messages[-1])
    assert line["charge"]["output_tokens"] > 0
    assert line["provider"] == {"ga": "openai", "beta": "azure"}.get(name, name)


@of_openai
@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
async def test_status(provider: Cluster, name: str, status: str) -> None:
    """Every response ends so; it is billed for what was generated."""
    messages, _ = await talk(provider, DIALECTS[name], end=status, tag=f"{name}-{status}")
    if name in TYPES:
        assert all(TYPES[name].validate_python(m).type == m["type"] for m in messages)
    response = messages[-1]["response"]
    assert response["status"] == status
    (line,) = logged(provider, f"{name}-{status}")
    assert line["status"] == status
    assert 0 < line["charge"]["output_tokens"] < 40
    if name == "ga":
        expected = {
            "cancelled": {"type": "cancelled", "reason": "turn_detected"},
            "incomplete": {"type": "incomplete", "reason": "content_filter"},
        }.get(status)
        details = response["status_details"]
        assert details == expected or details["error"]["code"] == "server_error"


@of_openai
async def test_a_response_done_twice(provider: Cluster, name: str) -> None:
    """The same message again; one line in the log."""
    dialect = DIALECTS[name]
    asked = {**dialect.query, "model": "sim-duplicate", "tag": f"{name}-twice"}
    path = f"/sim-duplicate{dialect.path}"
    async with session(provider, path, BEARER, **asked) as socket:
        await send(socket, *dialect.ask)
        first = (await until_end(socket, dialect.is_end))[-1]
        assert json.loads(await socket.recv()) == first
    assert len(logged(provider, f"{name}-twice")) == 1


@every_dialect
async def test_fragments_and_odd_spelling(provider: Cluster, name: str) -> None:
    """The same messages in many frames and in another spelling; binary stays binary."""
    dialect = DIALECTS[name]
    asked = {**dialect.query, "fragment": "5", "spelling": "odd", "tag": f"{name}-odd"}
    async with session(provider, dialect.path, BEARER, **asked) as socket:
        await send(socket, *dialect.setup, *dialect.ask)
        frames = 0
        while True:
            fragments = [fragment async for fragment in socket.recv_streaming()]
            frames = max(frames, len(fragments))
            whole = (b"" if isinstance(fragments[0], bytes) else "").join(fragments)  # type: ignore[arg-type]
            assert isinstance(whole, bytes) == (name == "gemini")
            message = json.loads(whole)
            if dialect.is_end(message):
                socket.transport.abort()  # frames that wait to be read would hold up a close
                break
    assert frames == 6  # the last one is empty
    assert (b"usage" if isinstance(whole, bytes) else "usage") not in whole  # type: ignore[operator]
    (line,) = await asyncio.to_thread(eventually, lambda: logged(provider, f"{name}-odd"))
    assert line["usage"] == usage(dialect, message)


@every_dialect
async def test_a_quoted_usage_is_no_usage(provider: Cluster, name: str) -> None:
    """Transcripts, texts and arguments quote a whole response.done; it is not in the log."""
    messages, _ = await talk(provider, DIALECTS[name], quote="done", tag=f"{name}-quote")
    assert any("resp_quoted" in json.dumps(message) for message in messages)
    (line,) = logged(provider, f"{name}-quote")
    assert line["response_id"] != "resp_quoted"
    if name == "ga":
        update = {"type": "session.update", "session": {"type": "realtime", "tools": [WEATHER]}}
        called, _ = await talk(
            provider, DIALECTS[name], update, write("weather?"), CREATE, quote="done"
        )
        assert "resp_quoted" in called[-1]["response"]["output"][0]["arguments"]


@every_dialect
@pytest.mark.parametrize("code", [1000, 1006, 1011, 4321])
async def test_a_close_in_the_middle(provider: Cluster, name: str, code: int) -> None:
    """With any code; what was generated is abandoned and not in the log."""
    messages, closed = await talk(
        provider, DIALECTS[name], tag=f"{name}-{code}", close=str(code),
        close_after_ms="200", pace="1", reply_ms="9000",
    )  # fmt: skip
    assert closed == code
    assert len(messages) > 2
    assert logged(provider, f"{name}-{code}") == []
    text = (provider.folder / "abandoned.jsonl").read_text
    await asyncio.to_thread(eventually, lambda: f"tag={name}-{code}" in text())


@every_dialect
async def test_a_stall_in_the_middle(provider: Cluster, name: str) -> None:
    """The reply begins and nothing follows, while the connection answers pings."""
    dialect = DIALECTS[name]
    async with session(provider, dialect.path, BEARER, **dialect.query, stall="reply") as socket:
        await send(socket, *dialect.setup, *dialect.ask)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await until_end(socket, dialect.is_end)
        await asyncio.wait_for(await socket.ping(), 5)


async def test_a_provider_that_does_not_read(provider: Cluster) -> None:
    """Not even pings are answered once its buffers are full."""
    async with session(provider, "/v1/realtime", stall="read") as socket:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await send(socket, {"type": "fly", "padding": "x" * 100_000})
        socket.transport.abort()


@of_openai
async def test_an_expired_session(provider: Cluster, name: str) -> None:
    """An error event with session_expired, then 1001."""
    dialect = DIALECTS[name]
    messages, code = await talk(
        provider, dialect, expire_ms="200", done="never", tag=f"{name}-expired"
    )
    assert messages[-1]["error"]["code"] == "session_expired"
    assert code == 1001


@every_dialect
@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 503])
async def test_a_refused_upgrade(provider: Cluster, name: str, status: int) -> None:
    """With the status that was asked for, by path where a query cannot be set."""
    dialect = DIALECTS[name]
    with pytest.raises(InvalidStatus) as caught:
        async with session(
            provider, f"/sim-refuse-{status}{dialect.path}", BEARER, **dialect.query
        ):
            pass
    assert caught.value.response.status_code == status


@of_openai
async def test_the_server_names_the_model(provider: Cluster, name: str) -> None:
    """It may be another than the URL's, and cannot be changed."""
    dialect = DIALECTS[name]
    asked = {**dialect.query, "served": "gpt-realtime-2025-08-28", "tag": f"{name}-served"}
    async with session(provider, dialect.path, BEARER, **asked) as socket:
        greeting = json.loads(await socket.recv())
        await send(
            socket,
            {"type": "session.update", "session": {"type": "realtime", "model": "cheap"}},
            CREATE,
        )
        messages = await until_end(socket, dialect.is_end)
    updated = next(m for m in messages if m["type"] == "session.updated")
    for message in (greeting, updated):
        assert message["session"]["model"] == "gpt-realtime-2025-08-28"
    assert logged(provider, f"{name}-served")[0]["model"] == "gpt-realtime-2025-08-28"


# Messages and bytes of a spoken reply of two seconds, as recorded.
TOTALS = [("ga", 34, 137_000), ("beta", 32, 136_000), ("gemini", 15, 131_000)]


@pytest.mark.parametrize(("name", "count", "size"), TOTALS)
async def test_a_reply_is_as_much_as_a_real_one(
    provider: Cluster, name: str, count: int, size: int
) -> None:
    """Number and size of its messages, within 25 and 15 %; what the user says is not in it."""
    dialect = DIALECTS[name]
    async with session(provider, dialect.path, BEARER, **dialect.query) as socket:
        await send(socket, *dialect.setup)
        await socket.recv()
        await send(socket, *dialect.ask)
        sizes: list[int] = []
        while True:
            data = await socket.recv()
            sizes.append(len(data))
            if dialect.is_end(json.loads(data)):
                break
    assert len(sizes) == pytest.approx(count, rel=0.25)
    assert sum(sizes) == pytest.approx(size, rel=0.15)
