"""A session that is taken back at an odd moment: while its provider is dialled, or before there is
one.
"""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.two_providers import CROSSED, GEMINI, Providers, send, until

KEY_REVOKED = (1008, "invalid_api_key")


async def revoke(cluster: Cluster, account: str) -> None:
    """Revoke the only key of an account."""
    keys = await asyncio.to_thread(cluster.ask, "key.list", account_id=account)
    key_hash = keys["keys"][0]["key_hash"]
    await asyncio.to_thread(cluster.accountctl, "key", "revoke", key_hash)


async def closed(socket: ClientConnection) -> tuple[list[Any], tuple[int, str]]:
    """What is heard up to the close, and the close."""
    events = []
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(20):
            while True:
                events.append(json.loads(await socket.recv()))
    assert caught.value.rcvd is not None
    return events, (caught.value.rcvd.code, caught.value.rcvd.reason)


async def test_a_session_that_has_lost_its_provider_ends() -> None:
    """Another connection is being dialled, again and again, and is so no more."""
    providers = Providers()
    lost = asyncio.Event()

    async def serve(socket: ServerConnection) -> None:
        if not lost.is_set():
            serving = asyncio.create_task(providers.serve(socket))
            await lost.wait()
            serving.cancel()
            socket.transport.abort()

    async with scripted(serve, answer=providers.answer) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}") as socket:
            await until(socket, "session.created")
            providers.away.add("openai")
            lost.set()
            await asyncio.to_thread(eventually, lambda: providers.dials["openai"] >= 3)
            await revoke(cluster, "a")
            events, close = await closed(socket)
        assert events[-1]["error"]["code"] == "invalid_api_key"
        assert close == KEY_REVOKED


async def test_a_first_dial_is_given_up() -> None:
    """The provider has not answered the handshake yet."""
    dialled, never = asyncio.Event(), asyncio.Event()

    async def answer(_socket: ServerConnection, _request: Any) -> None:
        dialled.set()
        await never.wait()

    async with scripted(Providers().serve, answer=answer) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}") as socket:
            await dialled.wait()
            await revoke(cluster, "a")
            events, close = await closed(socket)
        assert events[-1]["error"]["code"] == "invalid_api_key"
        assert close == KEY_REVOKED
        never.set()


async def test_a_client_that_has_not_named_its_model_is_closed_when_it_does() -> None:
    """It was let in before its key was revoked, and no provider hears of it."""
    providers = Providers()
    async with scripted(
        providers.serve, answer=providers.answer, GATEWAY_MODELS_FILE=CROSSED
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"ws://{cluster.address}{GEMINI}?rs_key={key}") as socket:
            await revoke(cluster, "a")
            await send(socket, {"setup": {"model": "models/safe"}})
            events, close = await closed(socket)
        assert (events, close) == ([], KEY_REVOKED)
        assert not any(providers.told.values())


async def test_two_accounts_with_one_name_are_told_apart() -> None:
    """Clients name their sessions: a name is no account's alone."""
    providers = Providers()
    async with scripted(providers.serve) as cluster:
        keys = [await asyncio.to_thread(cluster.create_account, name) for name in ("a", "b")]
        url = f"{cluster.url}?model=gpt-realtime&rs_sessid=same&rs_key="
        async with connect(url + keys[0]) as one, connect(url + keys[1]) as other:
            await until(one, "session.created")
            await until(other, "session.created")
            await asyncio.to_thread(cluster.accountctl, "sessions", "end", "same", "--account", "a")
            _, close = await closed(one)
            await (await other.ping())
            await asyncio.to_thread(cluster.accountctl, "sessions", "end", "same")
            await closed(other)
        assert close == (1008, "session_ended")
