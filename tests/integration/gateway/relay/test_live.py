"""GPT-Live's other sockets with the official SDK: who attaches, who forks, whose a session is."""

import asyncio
import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from clients.surroundings import every_provider
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.harness import Cluster, eventually

SECOND = base64.b64encode(bytes(48_000)).decode()  # of silence
MODEL = "gpt-live-1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Every provider, as fast as can be, and a second gateway."""
    with every_provider(pace=0) as running:
        running.start_gateway()
        yield running


async def client_of(cluster: Cluster, account: str, *, gateway: int = 0) -> AsyncOpenAI:
    """The SDK for a new account."""
    key = await asyncio.to_thread(cluster.create_account, account)
    return at(cluster, key, gateway=gateway)


def at(cluster: Cluster, key: str, *, gateway: int = 0) -> AsyncOpenAI:
    """The SDK, with a gateway."""
    address = cluster.gateways[gateway].field("listen")
    return AsyncOpenAI(api_key=key, base_url=f"http://{address}/v1", max_retries=0)


async def until(connection: Any, kind: str) -> Any:
    """The next event of a type."""
    while (event := await connection.recv()).type != kind:
        assert event.type != "error", event
    return event


async def begun(connection: Any, **session: Any) -> str:
    """Start a session; its id."""
    await connection.send({"type": "session.start", "session": session})
    return str((await until(connection, "session.started")).session.id)


async def speak(connection: Any, seconds: int) -> None:
    """So much silence, which costs like anything else."""
    for _ in range(seconds):
        await connection.send({"type": "session.input_audio.append", "audio": SECOND})


async def end(connection: Any) -> None:
    """Close the session, and hear what it cost."""
    await connection.send({"type": "session.close"})
    await until(connection, "session.closed")


def seconds_of(cluster: Cluster, session_id: str) -> int:
    """The milliseconds that the provider says a session had."""
    return sum(
        usage["charge"]["billed_ms"]
        for usage in cluster.usage_sent()
        if usage["session"] == session_id
    )


async def is_charged(cluster: Cluster, account: str, *session_ids: str) -> None:
    """An account is charged what was sent in these sessions, and nothing else."""
    told = sum([await asyncio.to_thread(seconds_of, cluster, name) for name in session_ids])
    assert told

    def charged() -> bool:
        rows = cluster.usage_rows(account)
        assert {(row["kind"], row["model"]) for row in rows} <= {("duration", MODEL)}
        return sum(row["billed_ms"] for row in rows) == told

    await asyncio.to_thread(eventually, charged)


async def test_who_attaches_hears_and_pays_nothing(cluster: Cluster) -> None:
    """It gets the events of the whole session, leaves, and the session goes on."""
    client = await client_of(cluster, "attached")
    async with client.live.connect() as connection:
        session_id = await begun(connection, model=MODEL)
        await speak(connection, 2)
        await until(connection, "session.usage.updated")
        for gateway in (0, 1):
            other = at(cluster, client.api_key, gateway=gateway)
            async with other.live.sideband.connect(
                session_id=session_id, graceful_close=False
            ) as sideband:
                await until(sideband, "session.updated")
                await speak(connection, 1)
                heard = await until(sideband, "session.usage.updated")
                assert heard.usage.seconds > 2
        await speak(connection, 1)
        await end(connection)
    await is_charged(cluster, "attached", session_id)
    assert len({row["session_id"] for row in cluster.usage_rows("attached")}) == 1


async def test_a_fork_is_a_session_of_its_own(cluster: Cluster) -> None:
    """It names no model, has its parent's, and is charged its own seconds."""
    client = await client_of(cluster, "forked")
    async with client.live.connect() as connection:
        session_id = await begun(connection, model=MODEL)
        await speak(connection, 3)
        await end(connection)
    # The other gateway asks accountd whose session that is: wait until accountd has the report.
    own = cluster.gateways[0]
    await asyncio.to_thread(eventually, lambda: not own.metrics()["rts_gateway_handles_waiting"])
    async with at(cluster, client.api_key, gateway=1).live.forks.connect(
        session_id=session_id
    ) as fork:
        forked_id = await begun(fork)
        assert forked_id != session_id
        await speak(fork, 2)
        await end(fork)
    await is_charged(cluster, "forked", session_id, forked_id)


@pytest.mark.parametrize("verb", ["attach", "fork"])
async def test_a_session_belongs_to_its_account(cluster: Cluster, verb: str) -> None:
    """Somebody else finds none; nor is there one that nobody was given here."""
    client = await client_of(cluster, f"owner-{verb}")
    stranger = await client_of(cluster, f"stranger-{verb}", gateway=1)
    async with client.live.connect() as connection:
        session_id = await begun(connection, model=MODEL)
        for who, name in ((stranger, session_id), (client, "sess_unknown")):
            live = who.live
            connecting = (
                live.sideband.connect(session_id=name)
                if verb == "attach"
                else live.forks.connect(session_id=name)
            )
            with pytest.raises(InvalidStatus) as refused:
                async with connecting:
                    pass
            assert refused.value.response.status_code == 404
        await end(connection)


async def test_a_url_names_the_model(cluster: Cluster) -> None:
    """``/v1/live?model=``: the first message need not."""
    client = await client_of(cluster, "by-url")
    headers = {"Authorization": f"Bearer {client.api_key}"}
    url = f"ws://{cluster.address}/v1/live?model={MODEL}"  # the SDK has no method for it
    async with connect(url, additional_headers=headers) as socket:
        connection = Raw(socket)
        session_id = await begun(connection)
        await speak(connection, 1)
        await end(connection)
    await is_charged(cluster, "by-url", session_id)


class Raw:
    """A plain socket, as the SDK's connections are used here."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, event: Any) -> None:
        """Send an event."""
        await self._socket.send(json.dumps(event))

    async def recv(self) -> Any:
        """The next event, with attributes."""
        return json.loads(await self._socket.recv(), object_hook=lambda x: SimpleNamespace(**x))


async def test_the_books_are_right(cluster: Cluster) -> None:
    """After all of that."""
    assert (await asyncio.to_thread(cluster.audit))["ok"]
