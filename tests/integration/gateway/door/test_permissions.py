"""A key that may use some providers and models gets no other, at the door and later."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.calls import CALLS, OFFER
from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.http_client import Answer, ask
from tests.support.private_files import write_private
from tests.support.two_providers import GEMINI, MODELS, OPS, Providers, send, until, until_key

OFTEN = {"gateway.door.provider_reports.REPORT_S": 0.1}
DRAINED = 'rts_gateway_provider_drained{provider="openai"}'


@asynccontextmanager
async def serving(providers: Providers) -> AsyncIterator[Cluster]:
    """A gateway whose providers both serve the model ``safe``."""
    async with scripted(
        providers.serve, answer=providers.answer, tuned=OFTEN,
        GATEWAY_MODELS_FILE=MODELS, GATEWAY_OPS_LISTEN=OPS,
    ) as cluster:  # fmt: skip
        yield cluster


async def held(cluster: Cluster, account: str, *limits: str) -> str:
    """The key of a new account with limits."""
    key = await asyncio.to_thread(cluster.create_account, account)
    if limits:
        await asyncio.to_thread(cluster.accountctl, "account", "limit", account, *limits)
    return key


async def refused(cluster: Cluster, key: str, target: str) -> tuple[int, str]:
    """The status and the code with which a session is refused."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://{cluster.address}{target}&rs_key={key}")
    error = json.loads(caught.value.response.body or b"")["error"]
    return caught.value.response.status_code, error["code"]


async def closed(cluster: Cluster, key: str, model: str) -> tuple[int, str]:
    """The close after a first message of Gemini's that names a model."""
    async with connect(f"ws://{cluster.address}{GEMINI}?rs_key={key}") as socket:
        await send(socket, {"setup": {"model": f"models/{model}"}})
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def test_a_session_is_led_to_a_provider_that_its_key_may_use() -> None:
    """Where the model is at one; nobody else is dialled, however it is asked for."""
    providers = Providers()
    async with serving(providers) as cluster:
        key = await held(cluster, "a", "--providers", "xai")
        async with connect(f"{cluster.url}?model=safe&rs_key={key}") as socket:
            await until(socket, "session.created")
        async with connect(f"ws://{cluster.address}{GEMINI}?rs_key={key}") as socket:
            await send(socket, {"setup": {"model": "models/gemini-safe"}})
            await until_key(socket, "setupComplete")
        for target in (
            "/v1/realtime?model=safe&provider=openai",
            "/v1/realtime?model=gpt-realtime",
            "/openai/v1/realtime?model=gpt-realtime",
        ):
            assert await refused(cluster, key, target) == (403, "provider_not_allowed"), target
        code, reason = await closed(cluster, key, "gemini-live")
        assert code == 1008
        assert reason.startswith("this key may not use the provider 'gemini'")
        assert providers.dials == {"xai": 2}


async def test_so_many_clients_wait_to_name_their_model_also_at_once() -> None:
    """The others get 503, whether it was their model's table or their key that has them wait. One
    that has named its model makes room.
    """
    heard: list[str | bytes] = []

    async def gemini(provider: ServerConnection) -> None:
        heard.append(await provider.recv())
        await provider.send('{"setupComplete": {}}')
        await provider.wait_closed()

    async with scripted(gemini, tuned={"gateway.limits.UNDECIDED_MAX": 2}) as cluster:
        key = await held(cluster, "a", "--models", "gemini-live")
        url = f"ws://{cluster.address}{GEMINI}?rs_key={key}"
        made = await asyncio.gather(*(connect(url) for _ in range(8)), return_exceptions=True)
        waiting = [each for each in made if isinstance(each, ClientConnection)]
        statuses = [each.response.status_code for each in made if isinstance(each, InvalidStatus)]
        assert (len(waiting), statuses) == (2, [503] * 6)
        await send(waiting[0], {"setup": {"model": "models/gemini-live"}})
        await until_key(waiting[0], "setupComplete")
        async with connect(url):
            assert len(heard) == 1
        for each in waiting:
            await each.close()


async def test_a_session_is_not_moved_to_a_provider_that_its_key_may_not_use() -> None:
    """Neither where its own is drained, nor where that is lost, nor at first where it fails."""
    providers = Providers()
    async with serving(providers) as cluster:
        key = await held(cluster, "a", "--providers", "openai")
        free = await held(cluster, "free")
        url = f"{cluster.url}?model=safe&rs_key="
        async with connect(url + key) as staying, connect(url + free) as moving:
            for socket in (staying, moving):
                await until(socket, "session.created")
                await send(socket, {"type": "response.create"})
                await until(socket, "response.done")
            await asyncio.to_thread(cluster.accountctl, "providers", "drain", "openai")
            await until_dialled(providers, "xai", 1)  # the one that may
            await send(staying, {"type": "response.create"})
            await until(staying, "response.done")
            assert providers.dials["openai"] == 2
        async with connect(url + key) as drained:  # it serves what no other may
            await until(drained, "session.created")
        providers.away.add("openai")
        async with connect(url + key) as failing:
            with pytest.raises(ConnectionClosed):
                await until(failing, "session.created")
        assert providers.dials["xai"] == 1


async def until_dialled(providers: Providers, name: str, times: int) -> None:
    """Wait until a provider was dialled so often."""
    await asyncio.to_thread(eventually, lambda: providers.dials[name] == times)


async def test_a_key_has_the_models_of_its_limits_alone(tmp_path: Any) -> None:
    """In the URL, in a first message, with an ephemeral key, and of a call."""
    providers = Providers()
    secret = tmp_path / "ephemeral.secret"
    write_private(secret, "s" * 64)
    async with scripted(
        providers.serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS,
        GATEWAY_EPHEMERAL_SECRET_FILE=str(secret),
    ) as cluster:  # fmt: skip
        key = await held(
            cluster, "a", "--models", "safe,gemini-safe", "--providers", "openai,gemini"
        )
        other = "/v1/realtime?model=gpt-realtime"
        assert await refused(cluster, key, other) == (403, "model_not_allowed")
        assert await closed(cluster, key, "gemini-live") == (
            1008, "this key may not use the model 'gemini-live'",
        )  # fmt: skip
        minted = await mint(cluster, key, {})
        ephemeral = minted.json["value"]
        assert await refused(cluster, ephemeral, other) == (403, "model_not_allowed")
        async with connect(f"{cluster.url}?model=safe&rs_key={ephemeral}") as socket:
            await until(socket, "session.created")
            await send(socket, {"type": "session.update", "session": {"model": "gpt-realtime"}})
            event = await until(socket, "error")
            assert event["error"]["code"] == "model_not_allowed"
        bound = await mint(cluster, key, {"model": "gpt-realtime"})
        assert (bound.status, bound.error) == (403, "model_not_allowed")
        for model, code in (("gpt-realtime", "model_not_allowed"), ("safe", "")):
            made = await call(cluster, key, model)
            assert (made.error if code else "") == code, made.body
        await asyncio.to_thread(cluster.accountctl, "account", "limit", "a", "--providers", "xai")
        made = await call(cluster, key, "safe")  # xAI takes no calls
        assert (made.status, made.error) == (403, "provider_not_allowed")


async def mint(cluster: Cluster, key: str, session: dict[str, Any]) -> Answer:
    """Ask for an ephemeral key."""
    body = json.dumps({"session": {"type": "realtime", **session}} if session else {})
    path = "/v1/realtime/client_secrets"
    return await asyncio.to_thread(ask, cluster.address, "POST", path, key=key, body=body)


async def call(cluster: Cluster, key: str, model: str) -> Answer:
    """Make a call."""
    return await asyncio.to_thread(
        ask, cluster.address, "POST", f"{CALLS}?model={model}", key=key, body=OFFER,
        headers={"Content-Type": "application/sdp"},
    )  # fmt: skip
