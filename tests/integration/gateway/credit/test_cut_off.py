"""Who is cut off, and when, where a session is not one answer after another.

accountd and the gateway are the real ones; the provider says what the test needs.
"""

import asyncio
import contextlib
import itertools
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from shared.announcements import decode_balance
from shared.wire import PRODUCER_BYTES
from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import Event
from tests.support.tuned import SHORT_CREDIT_WAIT, SHORT_CREDIT_WAIT_S, SOON_AWAY

USAGE = {"input_tokens": 60, "output_tokens": 40, "total_tokens": 100}
HEARD_S = 20.0


@asynccontextmanager
async def session(cluster: Cluster, target: str, *, tokens: int) -> AsyncIterator[ClientConnection]:
    """A session of a new account that has so many tokens."""
    key = await asyncio.to_thread(cluster.create_account, "acct", tokens=tokens)
    async with connect(f"ws://{cluster.address}{target}rs_key={key}") as socket:
        yield socket


async def heard_to_the_end(socket: ClientConnection) -> tuple[list[Event], ConnectionClosed]:
    """Every event up to the close, and the close."""
    events: list[Event] = []
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(HEARD_S):
            while True:
                events.append(json.loads(await socket.recv()))
    return events, closed.value


def is_cut_off(events: list[Event], closed: ConnectionClosed) -> bool:
    """Whether the client was told that the credit is used up."""
    assert closed.rcvd is not None
    told = events[-1].get("error", {}).get("code")
    return (told, closed.rcvd.code, closed.rcvd.reason) == (
        "insufficient_quota", 1008, "insufficient_quota",
    )  # fmt: skip


def created(name: str) -> str:
    """A response begins."""
    return json.dumps({"type": "response.created", "response": {"id": name}})


def done(name: str) -> str:
    """A response ends."""
    return json.dumps({"type": "response.done", "response": {"id": name, "usage": USAGE}})


async def test_responses_that_overlap_do_not_keep_a_session_alive() -> None:
    """Responses in progress when the credit ends are finished; later ones are not waited for."""

    async def script(provider: ServerConnection) -> None:
        await provider.send(created("resp_0"))
        for n in itertools.count():  # outside the conversation, responses may overlap
            await provider.send(created(f"resp_{n + 1}"))
            await provider.send(done(f"resp_{n}"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await provider.recv()  # it is asked to stop
                    return

    async with (
        scripted(script) as cluster,
        session(cluster, "/v1/realtime?model=gpt-realtime&", tokens=1) as socket,
    ):
        events, closed = await heard_to_the_end(socket)
    assert is_cut_off(events, closed)
    ended = [e["response"]["id"] for e in events if e["type"] == "response.done"]
    assert ended[:2] == ["resp_0", "resp_1"]


async def test_a_live_session_ends_with_its_credit() -> None:
    """A translation is one long answer: there is no end of a response to wait for."""
    closes: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        assert json.loads(await provider.recv())["type"] == "session.start"
        model = {"id": "live_1", "model": "gpt-live-1"}
        await provider.send(json.dumps({"type": "session.started", "session": model}))
        response = {"id": "resp_1", "model": "gpt-5", "usage": USAGE}
        inner = {"type": "response.completed", "response": response}
        await provider.send(json.dumps({"type": "response.event", "event": inner}))
        async for message in provider:
            event = json.loads(message)
            if event["type"] == "session.close":
                closes.append(event)
                await provider.send(json.dumps({"type": "session.closed", "usage": {"seconds": 1}}))
                await provider.close()

    async with (
        scripted(script) as cluster,
        session(cluster, "/v1/live/sessions?", tokens=1) as socket,
    ):
        await socket.send(json.dumps({"type": "session.start", "session": {"model": "gpt-live-1"}}))
        events, closed = await heard_to_the_end(socket)
        rows = await asyncio.to_thread(
            eventually, lambda: len(r := cluster.usage_rows("acct")) == 2 and r
        )
    assert is_cut_off(events, closed)
    assert len(closes) == 1
    assert isinstance(rows, list)
    assert {(row["kind"], row["total_tokens"], row["billed_ms"]) for row in rows} == {
        ("response", 100, 0), ("duration", 0, 1000),
    }  # fmt: skip


async def test_a_gateway_that_knows_of_an_empty_account_dials_nobody() -> None:
    """accountd cannot say so any more: the key is let in by the cache, and the client is told."""
    connections = 0

    async def script(provider: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await provider.send(created("resp_1"))
        await provider.recv()
        await provider.send(done("resp_1"))
        await provider.recv()  # it is asked to stop

    async with (
        scripted(script, tuned=SOON_AWAY) as cluster,
        session(cluster, "/v1/realtime?model=gpt-realtime&", tokens=1) as socket,
    ):
        await socket.recv()
        assert cluster.accountd is not None
        cluster.accountd.stop(signal.SIGKILL)
        await socket.send("{}")
        assert is_cut_off(*await heard_to_the_end(socket))
        assert socket.request is not None
        async with connect(f"ws://{cluster.address}{socket.request.path}") as again:
            assert is_cut_off(*await heard_to_the_end(again))
        await asyncio.to_thread(cluster.start_accountd)
    assert connections == 1


def gateways_of_account(cluster: Cluster) -> int:
    """Between how many gateways accountd divides the balance: those that listen for it."""
    # A request for balances names a producer at least; nobody has this one.
    (frames,) = cluster.ask("balances", accounts=["acct"], producers=[bytes(PRODUCER_BYTES)])[
        "balances"
    ]
    return decode_balance(frames).gateways


@contextlib.asynccontextmanager
async def two_gateways_without_accountd(
    cluster: Cluster, socket: ClientConnection, *, provider_port: int
) -> AsyncIterator[None]:
    """The account talks through a second gateway too, then accountd is killed: the session of
    ``socket`` has an allotment and no way to a new one.
    """
    provider = f"http://127.0.0.1:{provider_port}/v1"
    other = await asyncio.to_thread(cluster.start_gateway, OPENAI_BASE_URL=provider)
    assert socket.request is not None
    async with connect(f"ws://{other.field('listen')}{socket.request.path}") as second:
        await second.recv()
        await asyncio.to_thread(eventually, lambda: gateways_of_account(cluster) == 2)
        # Announced in the turn of accountd's loop that noted it, so before a later answer.
        assert gateways_of_account(cluster) == 2
        assert cluster.accountd is not None
        cluster.accountd.stop(signal.SIGKILL)
        await socket.send("{}")
        yield


async def test_a_response_is_delivered_whole_while_its_session_is_held() -> None:
    """The provider began it with what it had heard; accountd is away for as long."""
    ports: list[int] = []

    async def script(provider: ServerConnection) -> None:
        ports.append(provider.local_address[1])
        await provider.send(created("resp_1"))
        await provider.recv()
        await provider.send(done("resp_1"))
        await provider.send(created("resp_2"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHORT_CREDIT_WAIT_S + 2.0):
                await provider.wait_closed()
                return  # nobody is there to be told
        await provider.send(done("resp_2"))
        await provider.wait_closed()

    async with (
        scripted(script, tuned=SHORT_CREDIT_WAIT) as cluster,
        session(cluster, "/v1/realtime?model=gpt-realtime&", tokens=150) as socket,
    ):
        await socket.recv()
        async with two_gateways_without_accountd(cluster, socket, provider_port=ports[0]):
            events, closed = await heard_to_the_end(socket)
        await asyncio.to_thread(cluster.start_accountd)
    assert [e["response"]["id"] for e in events if e["type"] == "response.done"] == [
        "resp_1", "resp_2",
    ]  # fmt: skip
    assert is_cut_off(events, closed)


async def test_pings_are_answered_while_a_session_is_held_for_credit() -> None:
    """What its client sends meanwhile is forwarded in order once accountd has answered."""
    ports: list[int] = []
    heard: list[str | bytes] = []
    is_held = asyncio.Event()
    words = [json.dumps({"type": "x", "n": n}) for n in range(3)]

    async def script(provider: ServerConnection) -> None:
        ports.append(provider.local_address[1])
        await provider.send(created("resp_1"))
        await provider.recv()
        await provider.send(done("resp_1"))
        # With a deadline: a script that does not end would hide why the test has failed.
        await asyncio.wait_for(is_held.wait(), 2 * HEARD_S)
        await provider.send(created("resp_2"))  # while it is being said, the hold may last
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(await provider.recv())

    async with (
        scripted(script, GATEWAY_OPS_LISTEN="127.0.0.1:0") as cluster,
        session(cluster, "/v1/realtime?model=gpt-realtime&", tokens=150) as socket,
    ):
        await socket.recv()
        async with two_gateways_without_accountd(cluster, socket, provider_port=ports[0]):
            gateway = cluster.gateways[0]
            await asyncio.to_thread(
                eventually, lambda: gateway.metrics()["rts_gateway_held_accounts"] == 1
            )
            is_held.set()
            while json.loads(await socket.recv()) != json.loads(created("resp_2")):
                pass
            for text in words:
                await socket.send(text)
                await asyncio.wait_for(await socket.ping(), HEARD_S)
            assert heard == [], "the session is not held"
            await asyncio.to_thread(cluster.start_accountd)
            await asyncio.to_thread(eventually, lambda: len(heard) >= len(words))
    assert heard[: len(words)] == words


async def test_gemini_s_sdk_raises_what_its_users_know() -> None:
    """The turn is delivered whole, then APIError with 1008 and the reason; nothing else comes."""
    connections = 0

    async def script(provider: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await provider.recv()
        await provider.send(json.dumps({"setupComplete": {}}).encode())
        await provider.recv()
        said = {"modelTurn": {"role": "model", "parts": [{"text": "Well."}]}}
        usage = {"promptTokenCount": 30, "responseTokenCount": 12, "totalTokenCount": 42}
        for message in (
            {"serverContent": said},
            {"serverContent": {"generationComplete": True}},
            {"serverContent": {"turnComplete": True}, "usageMetadata": usage},
        ):
            await provider.send(json.dumps(message).encode())
        async for _ in provider:
            pass

    async with scripted(script) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=1)
        client = genai.Client(api_key=key)
        # Plain ws is for tests only: with a key, the SDK forces wss.
        client._api_client._websocket_base_url = lambda *_: f"ws://{cluster.address}"
        client._api_client._websocket_ssl_ctx = {}
        said: list[Any] = []
        with pytest.raises(genai.errors.APIError) as raised:
            async with (
                asyncio.timeout(HEARD_S),
                client.aio.live.connect(
                    model="gemini-live-2.5-flash-preview", config={"response_modalities": ["TEXT"]}
                ) as live,
            ):
                await live.send_client_content(turns={"parts": [{"text": "hello"}]})
                while True:
                    said += [message async for message in live.receive()]
        again = await asyncio.to_thread(
            eventually,
            lambda: cluster.accountctl("account", "show", "acct")["token_remaining"] == 1 - 42,
        )
    assert again
    assert raised.value.code == 1008
    assert "insufficient_quota" in str(raised.value)
    assert said[-1].server_content.turn_complete
    assert connections == 1
