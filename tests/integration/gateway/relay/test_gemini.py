"""A Gemini client that leaves is charged what it asked for; its provider is not kept waiting."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from gateway.limits import ANSWER_S
from tests.support.fake_provider import beside, scripted
from tests.support.harness import SETTLE_S, Cluster, Daemon, eventually
from tests.support.simulator_client import Event, logged, send, simulator
from tests.support.simulator_client_gemini import SETUP, content, heard, speech
from tests.support.speech import silence, tone
from tests.support.tuned import LONG_DRAIN, NO_LATE_ANSWERS, Constants

GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
INTERRUPTION = {"clientContent": {"turnComplete": False}}
USAGE = {"promptTokenCount": 30, "responseTokenCount": 12, "totalTokenCount": 42}
SPOKEN = {"serverContent": {"modelTurn": {"parts": [{"text": "Well"}]}}}


@asynccontextmanager
async def joined(cluster: Cluster, **query: str) -> AsyncIterator[ClientConnection]:
    """A session of a new account that has been set up."""
    key = await asyncio.to_thread(cluster.create_account, "acct")
    pairs = "".join(f"&{name}={value}" for name, value in query.items())
    url = f"ws://{cluster.address}{GEMINI}?key={key}{pairs}"
    async with connect(url, max_size=None) as socket:
        await send(socket, {"setup": SETUP})
        assert "setupComplete" in json.loads(await socket.recv())
        yield socket


async def row(cluster: Cluster) -> Event:
    """The account's one row."""
    (found,) = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("acct"))
    assert isinstance(found, dict)
    return found


# --- with the simulated Gemini --------------------------------------------------------------------

LEAVING: list[tuple[str, list[Event], bool]] = [
    ("before the first word of a written turn", [content("hello")], False),
    ("before the first word of a text", [{"realtimeInput": {"text": "hello"}}], False),
    ("right after speaking", speech(tone(8.0) + silence(0.6)), False),
    ("in the middle of an answer", [content("hello")], True),
]


@pytest.mark.parametrize("usage_at", ["turn", "standalone_after"])
@pytest.mark.parametrize(("when", "messages", "is_heard"), LEAVING, ids=[x[0] for x in LEAVING])
async def test_a_client_that_leaves_is_charged_what_the_provider_reports(
    when: str, messages: list[Event], is_heard: bool, usage_at: str
) -> None:
    """The answer, which would last eight seconds, is interrupted, and its usage is awaited."""
    context = simulator()
    provider = await asyncio.to_thread(context.__enter__)
    try:
        assert provider.simulator is not None
        async with beside(f"http://{provider.simulator.field('listen')}") as cluster:
            parameters = {"pace": "1", "reply_ms": "8000", "usage_at": usage_at, "tag": "left"}
            async with joined(cluster, **parameters) as socket:
                await send(socket, *messages)
                while is_heard and not heard([json.loads(await socket.recv())]):
                    pass
                socket.transport.abort()
            charged = await row(cluster)
            (line,) = logged(provider, "left")
            ended = await asyncio.to_thread(eventually, lambda: session_ended(cluster.gateways[0]))
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    assert charged["kind"] == "response", when
    assert line["status"] == "cancelled"
    assert {name: charged[name] for name in line["charge"]} == line["charge"]
    assert "estimates=0" in ended


def session_ended(gateway: Daemon) -> str:
    """The line that the session's end left in the log."""
    lines = gateway.log.read_text().splitlines()
    return next((x for x in lines if "session ended" in x), "")


# --- with a provider that does what the test says -------------------------------------------------


def message(**fields: object) -> bytes:
    """A message as Gemini writes it."""
    return json.dumps(fields, indent=2).encode() + b"\n"


OVER = message(serverContent={"turnComplete": True})


async def test_usage_that_follows_the_end_of_a_turn_is_awaited() -> None:
    """The provider answers the interruption at once, and reports half a second later; it is then
    not kept for as long as one that never reports.
    """
    gone = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        await provider.send(message(setupComplete={}))
        async for text in provider:
            if json.loads(text) == INTERRUPTION:
                await provider.send(message(serverContent={"interrupted": True}))
                await provider.send(OVER)
                await asyncio.sleep(0.5)
                await provider.send(message(usageMetadata=USAGE))
        gone.set()

    async with scripted(script, tuned=LONG_DRAIN) as cluster:
        async with joined(cluster) as socket:
            await send(socket, content("hello"))
            socket.transport.abort()
        assert (await row(cluster))["total_tokens"] == 42
        async with asyncio.timeout(SETTLE_S):
            await gone.wait()


async def test_an_answer_that_begins_when_its_client_is_gone_is_interrupted_too() -> None:
    """Speech is only found to be over later; then the answer begins, and is cut short."""
    interruptions = 0

    async def script(provider: ServerConnection) -> None:
        nonlocal interruptions
        await provider.recv()
        await provider.send(message(setupComplete={}))
        async for text in provider:
            if json.loads(text) != INTERRUPTION:
                continue
            interruptions += 1
            if interruptions == 1:
                await asyncio.sleep(1)
                await provider.send(message(**SPOKEN))
            else:
                await provider.send(message(serverContent={"turnComplete": True},
                                            usageMetadata=USAGE))  # fmt: skip

    async with scripted(script, tuned=LONG_DRAIN) as cluster:
        async with joined(cluster) as socket:
            await send(socket, *speech(tone(0.1)))
            socket.transport.abort()
        assert (await row(cluster))["total_tokens"] == 42
    assert interruptions == 2


IDLE: list[tuple[str, list[Event], Constants | None, float]] = [
    ("nothing was said", [], LONG_DRAIN, 0),
    ("a muted microphone", speech(silence(0.5)), LONG_DRAIN, 0),
    ("a noise, which is not answered", speech(tone(0.1)), None, ANSWER_S),
]


@pytest.mark.parametrize(("what", "messages", "tuned", "low"), IDLE, ids=[x[0] for x in IDLE])
async def test_an_idle_session_does_not_keep_its_provider(
    what: str, messages: list[Event], tuned: Constants | None, low: float
) -> None:
    """Its provider's connection is closed at once, or, after a sound, within seconds."""
    gone = asyncio.get_running_loop().create_future()

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        await provider.send(message(setupComplete={}))
        async for _ in provider:
            pass
        gone.set_result(asyncio.get_running_loop().time())

    async with scripted(script, tuned=tuned) as cluster:
        async with joined(cluster) as socket:
            await send(socket, *messages)
            left_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(SETTLE_S):
            assert await gone - left_at >= low, what
        await asyncio.to_thread(eventually, lambda: session_ended(cluster.gateways[0]))
        assert cluster.gateways[0].complaints() == []
        assert await asyncio.to_thread(cluster.usage_rows, "acct") == []


async def test_what_is_never_reported_is_estimated() -> None:
    """After its time the turn that was asked for is a row of its own, which costs nothing."""

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        await provider.send(message(setupComplete={}))
        async for _ in provider:
            pass

    async with scripted(script, tuned=NO_LATE_ANSWERS) as cluster:
        async with joined(cluster) as socket:
            await send(socket, content("hello"))
            socket.transport.abort()
        found = await row(cluster)
    assert found["kind"] == "estimate"
    assert found["response_ids"][0].startswith("turn_1 ")
    assert (found["topup_deducted"], found["token_deducted"]) == (0, 0)
