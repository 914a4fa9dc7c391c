"""Sessions of an account that take turns, where the provider says what the test needs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import UNKEPT, scripted
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client_gemini import PATH as GEMINI
from tests.support.tuned import SHORT_FLOOR, SHORT_FLOOR_WAIT

HEARD_S = 20.0
USAGE = {"input_tokens": 60, "output_tokens": 40, "total_tokens": 100}
GEMINI_USAGE = {"promptTokenCount": 60, "responseTokenCount": 40, "totalTokenCount": 100}
ASK = json.dumps({"type": "response.create"})
GEMINI_SETUP = json.dumps({"setup": {"model": "models/gemini-live-2.5-flash-preview"}})
TURN = {"role": "user", "parts": [{"text": "Go."}]}
GEMINI_ASK = json.dumps({"clientContent": {"turns": [TURN], "turnComplete": True}})


class Provider:
    """Answers nothing before it is told to; ``asked`` are the questions that it has."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.waiting = self.most = self.configured = self.said = 0
        self.sockets: list[ServerConnection] = []

    async def serve(self, socket: ServerConnection) -> None:
        """One connection, of either protocol."""
        self.sockets.append(socket)
        async for message in socket:
            event = json.loads(message)
            if "setup" in event:
                self.configured += 1
                await socket.send(json.dumps({"setupComplete": {}}).encode())
            elif event.get("type") == "session.update":
                self.configured += 1
                await say(socket, {"type": "session.updated", "session": {"type": "realtime"}})
            elif event.get("type") == "session.input_audio_buffer.append":
                self.said += 1
            elif "clientContent" in event or event.get("type") == "response.create":
                self.waiting += 1
                self.most = max(self.most, self.waiting)
                self.asked.put_nowait(socket)

    async def catch_up(self, *clients: ClientConnection) -> None:
        """Hear all that the gateway forwards of what the clients have said."""
        for _ in range(2):  # what comes with a pong is read in a moment
            for socket in (*clients, *self.sockets):
                await (await socket.ping())

    async def answer_next(self) -> None:
        """Answer the next question whole."""
        socket = await self.asked.get()
        self.waiting -= 1
        assert socket.request is not None
        if "BidiGenerateContent" in socket.request.path:
            said = {"modelTurn": {"role": "model", "parts": [{"text": "Well."}]}}
            await socket.send(json.dumps({"serverContent": said}).encode())
            end = {"serverContent": {"turnComplete": True}, "usageMetadata": GEMINI_USAGE}
            await socket.send(json.dumps(end).encode())
        else:
            await answer(socket, "resp_1")


async def say(socket: ServerConnection, event: dict[str, Any]) -> None:
    """Send an event."""
    await socket.send(json.dumps(event))


async def answer(socket: ServerConnection, name: str) -> None:
    """A whole answer."""
    await say(socket, {"type": "response.created", "response": {"id": name}})
    response = {"id": name, "status": "completed", "usage": USAGE}
    await say(socket, {"type": "response.done", "response": response})


@asynccontextmanager
async def client(cluster: Cluster, key: str, target: str) -> AsyncIterator[ClientConnection]:
    """A client's socket."""
    async with (
        asyncio.timeout(HEARD_S),
        connect(f"ws://{cluster.address}{target}rs_key={key}") as socket,
    ):
        yield socket


async def heard(socket: ClientConnection, part: str) -> None:
    """Read up to a message with ``part`` in it."""
    while True:
        message = await socket.recv()
        if part in (message if isinstance(message, str) else message.decode()):
            return


async def test_clients_of_every_kind_take_turns() -> None:
    """Of OpenAI, of Gemini, and of one at the other: all are configured at once, and one is asked
    at a time.
    """
    provider = Provider()
    openai, translated = "/v1/realtime?model=gpt-realtime&", "/v1/realtime?provider=gemini&"
    async with scripted(provider.serve, **UNKEPT) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=1_999)
        async with (
            client(cluster, key, openai) as one,
            client(cluster, key, f"{GEMINI}?") as two,
            client(cluster, key, translated) as three,
        ):
            update = {"type": "session.update", "session": {"type": "realtime"}}
            for socket in (one, three):
                await socket.send(json.dumps(update))
            await two.send(GEMINI_SETUP)
            for socket, part in ((one, "session.updated"), (two, "setupComplete")):
                await heard(socket, part)
            await heard(three, "session.updated")
            for socket, question in ((one, ASK), (two, GEMINI_ASK), (three, ASK)):
                await socket.send(question)
            await provider.catch_up(one, two, three)
            for _ in range(3):
                await provider.answer_next()
            await heard(one, "response.done")
            await heard(two, "turnComplete")
            await heard(three, "response.done")
    assert (provider.configured, provider.most) == (3, 1)


async def test_who_waits_for_too_long_may_come_again() -> None:
    """It hears that the credit is too low for so many, and 1013; the other one is still asked."""
    provider = Provider()
    async with scripted(provider.serve, tuned=SHORT_FLOOR_WAIT) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=1)
        target = "/v1/realtime?model=gpt-realtime&"
        async with client(cluster, key, target) as first, client(cluster, key, target) as second:
            await first.send(ASK)
            asked = await provider.asked.get()
            await second.send(ASK)
            events: list[dict[str, Any]] = []
            try:
                while True:
                    events.append(json.loads(await second.recv()))
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                assert closed.rcvd.code == 1013
            assert events[-1]["error"]["code"] == "credit_too_low"
            await answer(asked, "resp_1")
            await heard(first, "response.done")
    assert provider.most == 1


async def test_a_translation_is_not_chopped() -> None:
    """It has no turns that end: it keeps the floor while its client speaks, and who comes after it
    hears that the credit is too low for both.
    """
    provider = Provider()
    translations = "/v1/realtime/translations?model=gpt-realtime-translate&"
    said = json.dumps({"type": "session.input_audio_buffer.append", "audio": "AAAA"})
    async with scripted(provider.serve, tuned=SHORT_FLOOR) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=1_999)
        async with client(cluster, key, translations) as first:
            await first.send(said)
            await provider.catch_up(first)
            async with client(cluster, key, "/v1/realtime?model=gpt-realtime&") as second:
                await second.send(ASK)
                with pytest.raises(ConnectionClosed):
                    while "credit_too_low" not in await second.recv():
                        pass
                    await second.recv()
                await first.send(said)
                await provider.catch_up(first)
    assert (provider.said, provider.asked.qsize()) == (2, 0)


async def test_who_leaves_while_he_waits_makes_room() -> None:
    """His close is answered at once, and his question never asked."""
    provider = Provider()
    async with scripted(provider.serve) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=1_999)
        target = "/v1/realtime?model=gpt-realtime&"
        async with (
            client(cluster, key, target) as first,
            client(cluster, key, target) as second,
            client(cluster, key, target) as third,
        ):
            await first.send(ASK)
            asked = await provider.asked.get()
            await second.send(ASK)
            await provider.catch_up(second)
            await third.send(ASK)
            await second.close()
            assert second.close_code == 1000, "its close was not answered"
            await answer(asked, "resp_1")
            await answer(await provider.asked.get(), "resp_2")
            await heard(third, "resp_2")
    assert (provider.asked.qsize(), provider.waiting) == (0, 2)


async def test_what_was_asked_before_the_credit_ended_is_delivered_whole() -> None:
    """Also where the provider begins it after that; what the client says then is not forwarded."""
    provider = Provider()
    async with scripted(provider.serve) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct", tokens=500)
        async with client(cluster, key, "/v1/realtime?model=gpt-realtime&") as socket:
            await socket.send(ASK)
            asked = await provider.asked.get()
            await asyncio.to_thread(
                cluster.ask, "account.adjust", account_id="acct", tokens=-500, reason="a test"
            )
            log = cluster.gateways[0].log
            await asyncio.to_thread(eventually, lambda: "exhausted" in log.read_text())
            await socket.send(ASK)
            await provider.catch_up(socket)
            await answer(asked, "resp_1")
            await heard(socket, '"resp_1"')
            await heard(socket, '"completed"')
            await heard(socket, "insufficient_quota")
        rows = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("acct"))
    assert [row["response_ids"] for row in rows] == [["resp_1"]]
    assert provider.asked.empty()
