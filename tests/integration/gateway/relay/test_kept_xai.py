"""Sessions at xAI whose connection is gone: xAI goes on with the conversation that it has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.chaos.provider_cuts import CutNetwork
from tests.support import simulator_client_gemini as gemini
from tests.support.fake_provider import beside, scripted
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import CREATE, Event, host, send, simulator, until, write

PATH = "/xai/v1/realtime?model=grok-voice-latest&recall=all&held=story&pace=0"
ENABLE = {"type": "session.update", "session": {"resumption": {"enabled": True}}}
# What a client hears once at most.
ONCE = ("session.created", "conversation.created")


@dataclass
class World:
    """xAI, a network that can be cut, a gateway, and an account."""

    provider: Cluster
    network: CutNetwork
    cluster: Cluster
    key: str

    async def cut(self) -> None:
        """The connection to xAI is gone."""
        self.network.cut()

    @asynccontextmanager
    async def client(self, path: str = PATH) -> AsyncIterator[ClientConnection]:
        """A client of the gateway."""
        url = f"ws://{self.cluster.address}{path}&rs_key={self.key}"
        async with connect(url, max_size=None) as socket:
            yield socket

    def answered(self) -> list[Event]:
        """The usages that xAI has sent, each with the query of its connection."""
        return self.provider.usage_sent()

    async def charged(self) -> None:
        """The books hold what xAI has sent, each once. What is new of a total that began on another
        connection is known by the length of the messages, to a hundredth.
        """
        sent = [line["charge"] for line in self.answered()]
        tokens = sum(charge["total_tokens"] for charge in sent)
        audio_ms = sum(charge["billed_ms"] for charge in sent)

        def is_charged() -> bool:
            rows = self.cluster.usage_rows("acct")
            reported = [row for row in rows if row["kind"] in ("response", "duration")]
            billed_ms = sum(row["billed_ms"] for row in reported)
            is_close = abs(billed_ms - audio_ms) <= audio_ms / 100
            return is_close and sum(row["total_tokens"] for row in reported) == tokens

        await asyncio.to_thread(eventually, is_charged)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Processes of their own for xAI, the gateway and accountd."""
    context = simulator()
    provider = await asyncio.to_thread(context.__enter__)
    try:
        name, _, port = host(provider).rpartition(":")
        network = CutNetwork(name, int(port))
        async with await asyncio.start_server(network.carry, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with beside(address) as cluster:
                key = await asyncio.to_thread(cluster.create_account, "acct")
                yield World(provider, network, cluster, key)
                network.cut()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def conversation_of(events: list[Any]) -> str:
    """The id that xAI gave it."""
    return str(next(x for x in events if x["type"] == "conversation.created")["conversation"]["id"])


def said(events: list[Any]) -> str:
    """The words of the answer."""
    kind = "response.output_audio_transcript.delta"
    return "".join(event["delta"] for event in events if event["type"] == kind)


def named(line: Event) -> list[str]:
    """The conversation that a connection named."""
    return parse_qs(line["query"]).get("conversation_id", [])


async def test_between_two_turns_xai_goes_on_by_itself() -> None:
    """The next connection names the conversation, nothing is told twice, the client hears nothing
    of what is replayed, and each second of audio is charged once.
    """
    async with world() as there, there.client() as socket:
        await send(socket, ENABLE, write("Hello"), CREATE)
        first = await until(socket, "response.done")
        await there.cut()
        await send(socket, write("And now?"), CREATE)
        second = await until(socket, "response.done")
        assert said(second) == "Recalled | user Hello | model | user And now?"
        assert not {event["type"] for event in second} & set(ONCE)
        added = [x["item"] for x in second if x["type"] == "conversation.item.added"]
        assert [item["role"] for item in added] == ["user", "assistant"]
        lines = there.answered()
        assert [named(line) for line in lines] == [[], [conversation_of(first)]]
        await there.charged()


async def test_in_the_middle_of_an_answer() -> None:
    """What was heard of it stays, and it is not told to xAI, which has it."""
    async with world() as there, there.client() as socket:
        await send(socket, ENABLE, write("A story, please"), CREATE)
        first = await until(socket, "response.output_audio.delta")
        await there.cut()
        closing = await until(socket, "response.done")
        assert closing[-1]["response"]["status"] == "cancelled"
        await send(socket, write("And now?"), CREATE)
        second = await until(socket, "response.done")
        assert said(second) == "Recalled | user A story, please | model | user And now?"
        assert named(there.answered()[-1]) == [conversation_of(first)]


async def test_a_conversation_that_is_not_known_any_more_is_told() -> None:
    """xAI has lost it: its new connection is another conversation, and is told all of it."""
    async with world() as there, there.client() as socket:
        await send(socket, ENABLE, write("Hello"), CREATE)
        first = await until(socket, "response.done")
        forgetting = {"type": "session.update", "session": {"resumption": {"enabled": False}}}
        url = f"ws://{host(there.provider)}{PATH}&conversation_id={conversation_of(first)}"
        async with connect(url, additional_headers={"Authorization": "Bearer sk-any"}) as other:
            await send(other, forgetting)
            await until(other, "session.updated")
        await there.cut()
        await send(socket, write("And now?"), CREATE)
        second = await until(socket, "response.done")
        assert said(second) == "Recalled | user Hello | model | user And now?"
        assert not {event["type"] for event in second} & set(ONCE)
        await there.charged()


async def test_a_conversation_that_the_client_named_outlasts_its_connection() -> None:
    """What xAI replayed to the client is in the record; the next connection names it again."""
    async with world() as there:
        async with there.client() as socket:
            await send(socket, ENABLE, write("Hello"), CREATE)
            name = conversation_of(await until(socket, "response.done"))
        async with there.client(f"{PATH}&conversation_id={name}") as socket:
            greeting = await until(socket, "ping")
            added = [x["item"] for x in greeting if x["type"] == "conversation.item.added"]
            assert [item["role"] for item in added] == ["user", "assistant"]
            for number, question in enumerate(("And now?", "And then?"), 1):
                await there.cut()
                await send(socket, write(question), CREATE)
                events = await until(socket, "response.done")
                assert not {event["type"] for event in events} & set(ONCE)
                assert said(events).count("| user") == number + 1
            assert said(events).startswith("Recalled | user Hello | model | user And now?")
        assert named(there.answered()[1]) == [name]


async def test_a_gemini_client_at_xai() -> None:
    """The gateway asks xAI to keep the conversation; the client sees a pause."""
    path = f"{gemini.PATH}?provider=xai"
    setup = {"model": "models/sim-recall,pace-0", "outputAudioTranscription": {}}
    async with world() as there, there.client(path) as socket:
        await send(socket, {"setup": setup}, gemini.content("Hello"))
        await spoken(socket)
        await there.cut()
        await send(socket, gemini.content("And now?"))
        assert await spoken(socket) == "Recalled | user Hello | model | user And now?"
        assert [len(named(line)) for line in there.answered()] == [0, 1]


async def spoken(socket: ClientConnection) -> str:
    """What a Gemini client reads of an answer."""
    words = ""
    async with asyncio.timeout(20):
        while True:
            content = json.loads(await socket.recv()).get("serverContent", {})
            words += content.get("outputTranscription", {}).get("text", "")
            if content.get("turnComplete"):
                return words


class Refusing:
    """xAI where it does not take a connection that names a conversation."""

    def __init__(self) -> None:
        self.told: list[list[Event]] = []
        self.paths: list[str] = []

    async def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        """404 for it."""
        self.paths.append(request.path)
        if "conversation_id" in parse_qs(urlsplit(request.path).query):
            return connection.respond(HTTPStatus.NOT_FOUND, "no such conversation\n")
        return None

    async def converse(self, socket: ServerConnection) -> None:
        """Confirm what is told; ``drop`` cuts the connection."""
        events: list[Event] = []
        self.told.append(events)
        name = f"conv_{len(self.told)}"
        await say(socket, {"type": "session.created", "session": {"id": "s", "model": "grok"}})
        await say(socket, {"type": "conversation.created", "conversation": {"id": name}})
        async for text in socket:
            event = json.loads(text)
            events.append(event)
            if event["type"] == "session.update":
                await say(socket, {"type": "session.updated", "session": event["session"]})
            elif event["type"] == "conversation.item.create":
                await say(socket, {"type": "conversation.item.added", "item": event["item"]})
            elif event["type"] == "drop":
                break
        socket.transport.abort()


async def say(socket: ServerConnection, event: Event) -> None:
    """Send an event."""
    await socket.send(json.dumps(event, separators=(",", ":")))


async def test_a_refused_name_costs_nothing() -> None:
    """The same provider is dialled at once without it, and told the conversation."""
    xai = Refusing()
    hello = write("Hello")
    hello["item"]["id"] = "hello"
    async with scripted(xai.converse, answer=xai.refuse) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        url = f"ws://{cluster.address}/xai/v1/realtime?model=grok-voice-latest&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, ENABLE, hello)
            await until(socket, "conversation.item.added")
            await send(socket, {"type": "drop"}, write("And now?"))
            heard = await until(socket, "conversation.item.added")
            assert [x["type"] for x in heard] == ["conversation.item.added"]
            assert heard[0]["item"]["content"][0]["text"] == "And now?"
    assert ["conversation_id=conv_1" in path for path in xai.paths] == [False, True, False]
    texts = [
        x["item"]["content"][0]["text"]
        for x in xai.told[1]
        if x["type"] == "conversation.item.create"
    ]
    assert texts == ["Hello", "And now?"]


class Fragile:
    """xAI whose connections end while it replays a conversation of four items: the first before
    that, the second in the middle.
    """

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.named = 0  # connections that named the conversation

    async def converse(self, socket: ServerConnection) -> None:
        """More is replayed each time."""
        assert socket.request is not None
        is_named = "conversation_id=conv_1" in socket.request.path
        self.named += is_named
        await say(socket, {"type": "session.created", "session": {"id": "s", "model": "grok"}})
        if is_named and self.named == 1:
            return
        await say(socket, {"type": "conversation.created", "conversation": {"id": "conv_1"}})
        for number in range(2 * self.named - 2 if is_named else 0):
            role, kind = ("assistant", "output_text") if number % 2 else ("user", "input_text")
            content = [{"type": kind, "text": f"words {number}"}]
            item = {"id": f"item_{number}", "type": "message", "role": role, "content": content}
            await say(socket, {"type": "conversation.item.added", "item": item})
        if self.named == 2:
            return
        async for text in socket:
            event = json.loads(text)
            self.told.append(event)
            if event["type"] == "session.update":
                await say(socket, {"type": "session.updated", "session": event["session"]})


async def test_a_named_conversation_is_replayed_to_its_end_however_often_it_is_cut() -> None:
    """The client hears of it once, and of each item once; nothing of it is deleted."""
    xai = Fragile()
    async with scripted(xai.converse) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        url = f"ws://{cluster.address}/xai/v1/realtime?model=grok-voice-latest&rs_key={key}"
        async with connect(url) as socket:
            await until(socket, "conversation.created")
        async with connect(f"{url}&conversation_id=conv_1") as socket:
            heard = await until(socket, "conversation.item.added")
            while heard[-1]["item"]["id"] != "item_3":
                heard += await until(socket, "conversation.item.added")
            await send(socket, {"type": "session.update", "session": {"instructions": "Be kind."}})
            heard += await until(socket, "session.updated")
    assert xai.named == 3
    kinds = ["session.created", "conversation.created", *["conversation.item.added"] * 4]
    assert [event["type"] for event in heard] == [*kinds, "session.updated"]
    assert "conversation.item.delete" not in {event["type"] for event in xai.told}
