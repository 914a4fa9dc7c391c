"""A session is counted from its admission to the end of its client, and nothing else is.

accountd is a stand-in that counts: what it holds is what the gateway let it hold.
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.requests import Reply
from tests.support.calls import CALLS, OFFER
from tests.support.fake_accountd import FakeAccountd, fake_accountd
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.http_client import Answer, ask
from tests.support.named_sessions import providers
from tests.support.private_files import write_private

KEY = f"rslive_v1_{'0' * 48}"
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODELS = """
    [models."gemini-elsewhere"]
    provider = "openai"
    model = "gpt-realtime"
    [accounts."acct"]
    models = ["gpt-realtime*", "gemini-*", "sim-*"]
"""


@dataclass
class World:
    """A gateway, and an accountd that counts."""

    cluster: Cluster
    accountd: FakeAccountd

    def url(self, query: str = "model=gpt-realtime", path: str = "/v1/realtime") -> str:
        """Where a client connects."""
        return f"ws://{self.cluster.address}{path}?rs_key={KEY}&{query}"

    async def holds(self, count: int) -> None:
        """Wait until accountd counts so many sessions."""
        await asyncio.to_thread(eventually, lambda: len(self.accountd.leases) == count)


@contextmanager
def new_world() -> Iterator[World]:
    """It has all providers, ephemeral keys and a client's choice of models."""
    with cluster_folder() as cluster, fake_accountd(cluster.env) as accountd:
        accountd.is_leased = True
        cluster.start_simulator("--pace", "0")
        write_private(cluster.folder / "ephemeral.secret", "s" * 64)
        (cluster.folder / "models.toml").write_text(MODELS)
        settings = providers(cluster)
        cluster.start_gateway(
            **settings,
            GATEWAY_MODELS_FILE=str(cluster.folder / "models.toml"),
            GATEWAY_OPS_LISTEN="127.0.0.1:0",
        )
        yield World(cluster, accountd)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One that all tests share whose gateway goes on."""
    with new_world() as found:
        yield found


@pytest.fixture
def ending() -> Iterator[World]:
    """One of which the gateway stops."""
    with new_world() as found:
        yield found


async def created(socket: ClientConnection) -> None:
    """Wait until the provider has begun."""
    assert json.loads(await socket.recv())["type"] == "session.created"


async def of_a_session(world: World) -> None:
    """It is counted while it lives, and not longer."""
    async with connect(world.url()) as socket:
        await created(socket)
        await world.holds(1)


async def of_a_model_that_is_refused(world: World) -> None:
    """The models file does not allow it."""
    with pytest.raises(InvalidStatus):
        await connect(world.url("model=other"))


async def of_a_handle_that_is_refused(world: World) -> None:
    """Nobody says whose it is."""
    with pytest.raises(InvalidStatus):
        await connect(world.url("model=grok-voice&conversation_id=conv_1", "/xai/v1/realtime"))


async def of_a_client_that_leaves_while_accountd_is_asked(world: World) -> None:
    """accountd counts it before it can know that."""
    world.accountd.holds = "authorize"
    task = asyncio.create_task(connect(world.url(), open_timeout=None).__aenter__())
    await asyncio.to_thread(eventually, lambda: world.accountd.held)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    world.accountd.holds = ""
    world.accountd.held.clear()


async def of_a_provider_that_refuses(world: World) -> None:
    """The client was let in."""
    async with connect(world.url("model=sim-refuse-403")) as socket:
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()


async def of_a_first_message_that_is_none(world: World) -> None:
    """The client was let in before its provider was known."""
    async with connect(world.url(path=GEMINI, query="")) as socket:
        await world.holds(1)
        await socket.send("{}")
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def of_a_client_that_never_says_what_it_wants(world: World) -> None:
    """It leaves."""
    async with connect(world.url(path=GEMINI, query="")):
        await world.holds(1)


async def of_a_plain_question(world: World) -> None:
    """Why a session would be refused."""
    answer = await asyncio.to_thread(
        ask, world.cluster.address, "GET", "/v1/realtime?model=gpt-realtime", key=KEY
    )
    assert answer.status == 426


async def of_a_call(world: World) -> None:
    """Until its caller leaves; its client's sideband is no further session."""
    made = await asyncio.to_thread(offer, world, "sim-caller-1,pace-1,reply_ms-1000")
    assert made.status == 201, made.body
    await world.holds(1)
    call_id = made.headers["Location"].rpartition("/")[2]
    async with connect(world.url(f"call_id={call_id}")) as sideband:
        await sideband.recv()
        assert len(world.accountd.leases) == 1


async def of_a_call_that_is_refused(world: World) -> None:
    """By the gateway, and by the provider."""
    for model, status in (("other", 403), ("sim-bogus-1", 400)):
        made = await asyncio.to_thread(offer, world, model)
        assert made.status == status, made.body


def offer(world: World, model: str) -> Answer:
    """Make a call."""
    return ask(
        world.cluster.address, "POST", f"{CALLS}?model={model}", key=KEY, body=OFFER,
        headers={"Content-Type": "application/sdp"},
    )  # fmt: skip


WAYS: list[Callable[[World], Awaitable[None]]] = [
    of_a_session,
    of_a_model_that_is_refused,
    of_a_handle_that_is_refused,
    of_a_client_that_leaves_while_accountd_is_asked,
    of_a_provider_that_refuses,
    of_a_first_message_that_is_none,
    of_a_client_that_never_says_what_it_wants,
    of_a_plain_question,
    of_a_call,
    of_a_call_that_is_refused,
]


async def test_whatever_becomes_of_it_a_session_is_given_back(world: World) -> None:
    """One after the other; nothing of any stays behind."""
    for way in WAYS:
        print(way.__name__)
        await way(world)
        await world.holds(0)
    await asyncio.to_thread(
        eventually, lambda: world.cluster.gateways[0].metrics()["rts_gateway_leases"] == 0
    )


async def test_a_session_that_drains_counts_no_more(world: World) -> None:
    """Its provider is heard to the end of the response, and another client may come meanwhile."""
    async with connect(world.url("model=sim-cancel-ignore,pace-1,reply_ms-20000")) as socket:
        await created(socket)
        await world.holds(1)
        await socket.send(json.dumps({"type": "response.create"}))
        while json.loads(await socket.recv())["type"] != "response.output_audio.delta":
            pass
        socket.transport.abort()
    await world.holds(0)
    assert world.cluster.gateways[0].metrics()["rts_gateway_sessions"] == 1  # it drains


DENIALS = [
    Reply(error=("too_many_sessions", "found 4 sessions, expected 4"), retry_after_s=5),
    Reply(error=("too_many_new_sessions", "found 60 in a minute"), retry_after_s=17),
    Reply(error=("spending_limit_reached", "found 100 credits spent"), retry_after_s=None),
]


async def test_a_session_too_many_is_refused_at_the_door(world: World) -> None:
    """With the time after which to come again, where that helps; minting counts nothing."""
    for denial in DENIALS:
        world.accountd.denial = denial
        assert denial.error is not None
        for path in ("/v1/realtime?model=gpt-realtime", f"{GEMINI}?"):
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"ws://{world.cluster.address}{path}&rs_key={KEY}")
            response = caught.value.response
            error = json.loads(response.body or b"")["error"]
            assert (response.status_code, error["type"]) == (429, "rate_limit_error")
            assert error["code"] == denial.error[0]
            assert error["message"].startswith(denial.error[1])
            expected = None if denial.retry_after_s is None else str(denial.retry_after_s)
            assert response.headers.get("Retry-After") == expected
        refused = await asyncio.to_thread(offer, world, "gpt-realtime")
        assert (refused.status, refused.error) == (429, denial.error[0])
    world.accountd.denial = None
    minted = await asyncio.to_thread(
        ask, world.cluster.address, "POST", "/v1/realtime/client_secrets", key=KEY, body="{}"
    )
    assert minted.status == 200
    assert not world.accountd.leases


async def test_an_accountd_that_starts_anew_is_told_what_lives(ending: World) -> None:
    """Sessions that began while it was away, too; and nothing when the gateway has stopped."""
    async with connect(ending.url()) as first:
        await created(first)
        await ending.holds(1)
        ending.accountd.end()
        ending.accountd.leases.clear()
        ending.accountd.leasing.clear()
        async with connect(ending.url()) as second:  # by what accountd said of the key before
            await created(second)
            ending.accountd.begin()
            await ending.holds(2)
        await ending.holds(1)
        ending.cluster.gateways[0].process.send_signal(signal.SIGTERM)
        await first.wait_closed()
    assert await asyncio.to_thread(ending.cluster.gateways[0].stop) == 0
    await ending.holds(0)
