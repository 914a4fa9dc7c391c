"""A response that several sockets receive is charged once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import UNKEPT, beside
from tests.support.harness import SETTLE_S, Cluster, Daemon, eventually
from tests.support.simulator_client import Event, send

CALL = "/v1/realtime?call_id=rtc_C1"
XAI = "/xai/v1/realtime?model=grok-voice-latest"
RESUMED = f"{XAI}&conversation_id=conv_1"
TOKENS = 40
USAGE = {"input_tokens": 30, "output_tokens": 10, "total_tokens": TOKENS}
RESUMABLE = {"type": "session.updated", "session": {"resumption": {"enabled": True}}}


class Call:
    """A provider on which all sockets hear the same; what a client sends is not looked at."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.address = ""

    async def serve(self, socket: ServerConnection) -> None:
        """One connection."""
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        self.sockets.append(socket)
        created = {"type": "session.created", "session": {"model": "gpt-realtime"}}
        await socket.send(json.dumps(created))
        if "xai" in socket.request.path:
            name = query.get("conversation_id", ["conv_1"])[0]
            await socket.send(json.dumps({"type": "conversation.created",
                                          "conversation": {"id": name}}))  # fmt: skip
            await socket.send(json.dumps(RESUMABLE))
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass

    async def tell(self, *events: Event, to: ServerConnection | None = None) -> None:
        """Send events to all sockets, or to one."""
        for socket in self.sockets if to is None else [to]:
            for event in events:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send(json.dumps(event))

    async def say(self, name: str, to: ServerConnection | None = None) -> None:
        """A response from its beginning to its end."""
        await self.tell(created(name), done(name), to=to)


def created(name: str) -> Event:
    """A response begins."""
    return {"type": "response.created", "response": {"id": name}}


def done(name: str) -> Event:
    """It ends."""
    return {"type": "response.done", "response": {"id": name, "usage": USAGE}}


@asynccontextmanager
async def served(**settings: str) -> AsyncIterator[tuple[Call, Cluster]]:
    """The call, and a gateway in front of it."""
    call = Call()
    async with serve(call.serve, "127.0.0.1", 0, compression=None) as server:
        call.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with beside(call.address, **settings) as cluster:
            yield call, cluster


async def listen(
    cluster: Cluster, key: str, path: str = CALL, gateway: Daemon | None = None
) -> ClientConnection:
    """A socket that has received the first event of the session."""
    address = (gateway or cluster.gateways[0]).field("listen")
    socket = await connect(f"ws://{address}{path}&rs_key={key}")
    await until(socket, "session.updated" if "xai" in path else "session.created")
    return socket


async def until(socket: ClientConnection, kind: str) -> Event:
    """The next event of this type."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            event: Event = json.loads(await socket.recv())
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event


async def new_key(cluster: Cluster, tokens: int = 1_000) -> str:
    """Of an account."""
    return await asyncio.to_thread(cluster.create_account, "acct", tokens=tokens)


async def charged(cluster: Cluster, count: int, *, repeated: int) -> list[Event]:
    """The rows that were charged, once all messages about the ``count`` responses have come."""

    def settled() -> bool:
        audit = cluster.audit()
        rows = [row for row in cluster.usage_rows("acct") if row["credits"]]
        return bool(audit["ok"] and audit["repeated"] == repeated and len(rows) == count)

    await asyncio.to_thread(eventually, settled)
    rows = await asyncio.to_thread(cluster.usage_rows, "acct")
    account = await asyncio.to_thread(cluster.accountctl, "account", "show", "acct")
    assert account["token_remaining"] == 1_000 - count * TOKENS
    return [row for row in rows if row["credits"]]


async def test_a_call_is_charged_once_that_two_gateways_hear() -> None:
    """Each hears it on a sideband of its own; clients' sidebands are sent on what they heard."""
    async with served() as (call, cluster):
        other = await asyncio.to_thread(cluster.start_gateway, OPENAI_BASE_URL=f"{call.address}/v1")
        key = await new_key(cluster)
        sockets = [await listen(cluster, key), await listen(cluster, key),
                   await listen(cluster, key, gateway=other)]  # fmt: skip
        for number in range(3):
            await call.say(f"resp_{number}")
        for socket in sockets:
            for number in range(3):
                assert (await until(socket, "response.done"))["response"]["id"] == f"resp_{number}"
        rows = await charged(cluster, 3, repeated=3)
        assert sorted(row["response_ids"] for row in rows) == [[f"resp_{n}"] for n in range(3)]
        for socket in sockets:
            await socket.close()


async def both(cluster: Cluster, key: str) -> list[ClientConnection]:
    """Two sockets that hear the same conversation."""
    return [await listen(cluster, key, XAI), await listen(cluster, key, RESUMED)]


async def test_a_response_that_is_told_again_after_a_reconnect_is_charged_once() -> None:
    """The former session knows it, the new one does not."""
    async with served() as (call, cluster):
        key = await new_key(cluster)
        for path in (XAI, RESUMED):
            socket = await listen(cluster, key, path)
            await call.say("resp_1", to=call.sockets[-1])
            await until(socket, "response.done")
            await socket.close()
        await charged(cluster, 1, repeated=1)


async def test_a_socket_that_breaks_estimates_what_another_one_hears() -> None:
    """The estimate is let off as ever, and the response is charged by what was reported."""
    async with served(**UNKEPT) as (call, cluster):
        broken, whole = await both(cluster, await new_key(cluster))
        await call.tell(created("resp_1"))
        for socket in (broken, whole):
            await until(socket, "response.created")
        call.sockets[0].transport.abort()
        async with asyncio.timeout(SETTLE_S):
            await broken.wait_closed()
        await call.tell(done("resp_1"), to=call.sockets[1])
        await until(whole, "response.done")
        await charged(cluster, 1, repeated=0)
        await whole.close()


async def test_an_estimate_of_what_another_socket_has_heard_is_none() -> None:
    """It is a repetition, not a second row."""
    async with served() as (call, cluster):
        broken, whole = await both(cluster, await new_key(cluster))
        await call.tell(created("resp_1"))
        for socket in (broken, whole):
            await until(socket, "response.created")
        await call.tell(done("resp_1"), to=call.sockets[1])
        await until(whole, "response.done")
        await charged(cluster, 1, repeated=0)
        call.sockets[0].transport.abort()
        await charged(cluster, 1, repeated=1)
        assert len(await asyncio.to_thread(cluster.usage_rows, "acct")) == 1
        await whole.close()


async def test_a_conversation_is_charged_once_while_its_former_socket_drains() -> None:
    """xAI's can be resumed where the session says so: both sockets hear the end of a response."""
    async with served() as (call, cluster):
        key = await new_key(cluster)
        former = await listen(cluster, key, XAI)
        await call.tell(created("resp_1"))
        await until(former, "response.created")
        former.transport.abort()
        socket = await listen(cluster, key, RESUMED)
        await call.tell(done("resp_1"))
        await until(socket, "response.done")
        rows = await charged(cluster, 1, repeated=1)
        assert rows[0]["total_tokens"] == TOKENS
        await socket.close()


async def test_what_two_sockets_hear_is_taken_off_the_credit_once() -> None:
    """Neither is cut off for what the account was not charged."""
    async with served() as (call, cluster):
        sockets = await both(cluster, await new_key(cluster, tokens=2 * TOKENS + 1))
        for number in range(2):
            await call.say(f"resp_{number}")
            for socket in sockets:
                await until(socket, "response.done")
        await call.tell({"type": "rate_limits.updated"})
        for socket in sockets:
            await until(socket, "rate_limits.updated")
        log = cluster.gateways[0].log.read_text()
        assert "credit used up" not in log
        for socket in sockets:
            await send(socket, {"type": "response.cancel"})
            await socket.close()


async def test_what_no_other_socket_can_hear_is_sent_in_batches() -> None:
    """An ordinary session marks nothing: five responses are one row."""
    async with served() as (call, cluster):
        key = await new_key(cluster)
        socket = await connect(
            f"ws://{cluster.address}/openai/v1/realtime?model=gpt-realtime&rs_key={key}"
        )
        call.sockets.clear()
        await until(socket, "session.created")
        for number in range(5):
            await call.say(f"resp_{number}")
        (row,) = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("acct"))
        assert row["responses"] == 5
        await socket.close()
