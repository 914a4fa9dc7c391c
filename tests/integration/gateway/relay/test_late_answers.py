"""Providers that answer a cancel late, never, or with what they were sent."""

import asyncio
import contextlib
import json

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gateway.limits import CLOSE_S, DRAIN_S
from tests.support.fake_provider import scripted
from tests.support.harness import eventually
from tests.support.openai_events import audio, client, created, done, rows
from tests.support.tuned import NO_LATE_ANSWERS, ONE_LATE_DRAIN, SHORT_DRAIN, SHORT_DRAIN_S


async def speak_and_never_finish(provider: ServerConnection) -> None:
    """A provider that begins a response and never reports what it cost."""
    await provider.send(created())
    await provider.send(audio(2.0))
    async for _ in provider:
        pass


async def test_usage_that_never_comes_is_estimated_and_not_charged() -> None:
    """After its drain the session records what it relayed, marked, and takes nothing for it."""
    async with scripted(speak_and_never_finish, tuned=NO_LATE_ANSWERS) as cluster:
        socket_ = await client(cluster)
        await socket_.recv()
        await socket_.recv()
        socket_.transport.abort()
        (row,) = await rows(cluster, 1, seconds=30)
        shown = await asyncio.to_thread(cluster.accountctl, "account", "show", "acct")
        audit = await asyncio.to_thread(cluster.audit)
    assert row["kind"] == "estimate"
    assert row["response_ids"] == ["resp_1"]
    assert row["output_audio_tokens"] == 40, "assistant audio is a token per 50 ms"
    assert (row["topup_deducted"], row["token_deducted"]) == (0, 0)
    assert shown["token_remaining"] == 10**9
    assert audit["ok"]


async def test_a_late_answer_to_the_cancel_is_heard() -> None:
    """What was really used is charged, however slow the provider is, and no estimate."""

    async def script(provider: ServerConnection) -> None:
        await provider.send(created())
        async for message in provider:
            if json.loads(message)["type"] == "response.cancel":
                await asyncio.sleep(SHORT_DRAIN_S + 2)  # as slow as that
                await provider.send(done())

    async with scripted(script, tuned=SHORT_DRAIN) as cluster:
        socket_ = await client(cluster)
        await socket_.recv()
        socket_.transport.abort()
        (row,) = await rows(cluster, 1, seconds=30)
        assert cluster.gateways[0].complaints() == []
    assert (row["kind"], row["total_tokens"]) == ("response", 15)


async def test_the_oldest_of_too_many_late_drains_ends_first() -> None:
    """It is estimated; the younger one is heard to its end."""
    names = iter(["resp_1", "resp_2"])
    may_answer = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        name = next(names)
        await provider.send(created(name))
        await provider.send(audio(2.0))
        await may_answer.wait()
        with contextlib.suppress(ConnectionClosed):
            await provider.send(done(name))
            await provider.wait_closed()

    async with scripted(script, tuned=ONE_LATE_DRAIN) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        for _ in range(2):
            socket_ = await connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}")
            await socket_.recv()
            socket_.transport.abort()
        await rows(cluster, 1)
        may_answer.set()
        found = await rows(cluster, 2)
    assert {(row["kind"], *row["response_ids"]) for row in found} == {
        ("estimate", "resp_1"), ("response", "resp_2"),
    }  # fmt: skip


async def test_a_gateway_that_stops_does_not_wait_for_late_answers() -> None:
    """A drain that is late already ends at once, with an estimate."""
    async with scripted(speak_and_never_finish, tuned=SHORT_DRAIN) as cluster:
        socket_ = await client(cluster)
        await socket_.recv()
        socket_.transport.abort()
        gateway = cluster.gateways[0]
        await asyncio.to_thread(eventually, lambda: "client left" in gateway.log.read_text())
        began = asyncio.get_running_loop().time()
        assert await asyncio.to_thread(gateway.stop) == 0
        assert asyncio.get_running_loop().time() - began < SHORT_DRAIN_S + CLOSE_S
        (row,) = await rows(cluster, 1)
    assert row["kind"] == "estimate"


async def test_an_upstream_that_echoes_is_let_go_at_once() -> None:
    """Our cancel comes back: nothing will ever answer it, and nothing is waited for."""

    async def script(provider: ServerConnection) -> None:
        async for message in provider:
            await provider.send(message)

    async with scripted(script) as cluster:
        async with await client(cluster) as socket_:
            await socket_.send('{"type":"response.create"}')
            assert await socket_.recv() == '{"type":"response.create"}'
        log = cluster.gateways[0].log
        await asyncio.to_thread(
            eventually, lambda: "session ended" in log.read_text(), seconds=DRAIN_S / 2
        )
        assert cluster.gateways[0].complaints() == []
