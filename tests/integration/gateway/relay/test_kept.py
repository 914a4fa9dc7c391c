"""Sessions of one protocol whose provider's connection is gone: how they go on."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from tests.support.fake_provider import scripted
from tests.support.openai_events import USAGE, audio, client, created, done, rows
from tests.support.tuned import SHORT_SESSIONS

Event = dict[str, Any]
CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
UPDATE = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}
HELLO = {
    "type": "conversation.item.create",
    "item": {
        "id": "hello", "type": "message", "role": "user",
        "content": [{"type": "input_text", "text": "hello"}],
    },
}  # fmt: skip
ASK = {"type": "response.create"}


class Provider:
    """A provider that answers as OpenAI does, and notes what it is told at each connection."""

    def __init__(self) -> None:
        self.told: list[list[Event]] = []
        self.third = asyncio.Event()  # the third connection has been told something
        self.responses = 0

    async def converse(self, provider: ServerConnection) -> None:
        """Answer until the connection ends. ``drop`` cuts it, ``drop_asked`` at the next question,
        ``drop_speaking`` in the middle of the next answer, ``drop_begun`` at its beginning.
        """
        events: list[Event] = []
        self.told.append(events)
        number, armed = len(self.told), ""
        await say(provider, {**CREATED, "session": {"id": f"sess_{number}", "model": "m"}})
        async for text in provider:
            event = json.loads(text)
            kind = event["type"]
            if kind.startswith("drop"):
                if kind == "drop":
                    break
                armed = kind
                continue
            events.append(event)
            if number == 3:
                self.third.set()
            await acknowledge(provider, event, number)
            if kind == "response.create":
                if armed != "drop_asked":
                    self.responses += 1
                    await self.answer(provider, f"resp_{self.responses}", armed)
                if armed:
                    break
        provider.transport.abort()

    async def answer(self, provider: ServerConnection, name: str, armed: str) -> None:
        """One spoken answer, or the beginning of one."""
        await provider.send(created(name))
        if armed == "drop_begun":
            return
        item: Event = {"id": f"item_{name}", "type": "message", "role": "assistant"}
        place = {"response_id": name, "output_index": 0}
        part = {**place, "item_id": item["id"], "content_index": 0}
        await say(provider, {"type": "response.output_item.added", **place, "item": item})
        await say(provider, {"type": "conversation.item.added", "item": item})
        shown = {"type": "audio", "transcript": ""}
        await say(provider, {"type": "response.content_part.added", **part, "part": shown})
        words = {"type": "response.output_audio_transcript.delta", **part, "delta": "Good day"}
        await say(provider, words)
        await provider.send(audio(0.1))
        if armed == "drop_speaking":
            return
        content = [{"type": "output_audio", "transcript": "Good day"}]
        final = {**item, "status": "completed", "content": content}
        await say(provider, {"type": "conversation.item.done", "item": final})
        await say(provider, {"type": "response.output_item.done", **place, "item": final})
        await provider.send(done(name))


async def acknowledge(provider: ServerConnection, event: Any, number: int) -> None:
    """What a provider answers at once."""
    if event["type"] == "session.update":
        session = {**event["session"], "id": f"sess_{number}", "model": "m"}
        await say(provider, {"type": "session.updated", "session": session})
    elif event["type"] == "conversation.item.create":
        item = {**event["item"], "status": "completed"}
        for step in ("added", "done"):
            await say(provider, {"type": f"conversation.item.{step}", "item": item})


async def say(socket: ServerConnection | ClientConnection, *events: Event) -> None:
    """Send events."""
    for event in events:
        await socket.send(json.dumps(event, separators=(",", ":")))


async def until(socket: ClientConnection, kind: str) -> list[Event]:
    """The events up to one of a kind."""
    heard: list[Event] = []
    async with asyncio.timeout(20):
        while not heard or heard[-1]["type"] != kind:
            heard.append(json.loads(await socket.recv()))
    return heard


def kinds(events: list[Event]) -> list[object]:
    """Their types."""
    return [event["type"] for event in events]


def texts(events: list[Event]) -> list[object]:
    """What a provider was told of the conversation."""
    items = [event["item"] for event in events if event["type"] == "conversation.item.create"]
    return [item["content"][0]["text"] for item in items]


async def test_between_two_turns_nobody_notices() -> None:
    """The next provider's connection knows the configuration and the conversation; the client hears
    nothing of it, and the names that it knows stay.
    """
    provider = Provider()
    async with scripted(provider.converse) as cluster, await client(cluster) as socket:
        await say(socket, UPDATE, HELLO, ASK)
        first = await until(socket, "response.done")
        await say(socket, {"type": "drop"})
        await say(socket, {**UPDATE, "session": {"type": "realtime", "instructions": "Go on."}})
        (updated,) = await until(socket, "session.updated")
        await say(socket, ASK)
        second = await until(socket, "response.done")
        await say(socket, {"type": "conversation.item.truncate", "item_id": "item_resp_1",
                           "content_index": 0, "audio_end_ms": 40})  # fmt: skip
        (truncated,) = await until(socket, "conversation.item.truncated")
        await socket.close()
        charged = await rows(cluster, 2)
    assert kinds(first)[0] == "session.created"
    assert updated["session"] == {
        "type": "realtime", "instructions": "Go on.", "id": "sess_1", "model": "m",
    }  # fmt: skip
    assert kinds(second)[0] == "response.created"
    assert "session.created" not in kinds(second)
    assert truncated["audio_end_ms"] == 40
    update, *_ = provider.told[1]
    assert update["session"] == {"type": "realtime", "instructions": "Be brief."}
    assert texts(provider.told[1]) == ["hello", "Good day"]
    assert "conversation.item.truncate" not in kinds(provider.told[1])
    assert sum(row["total_tokens"] for row in charged) == 2 * USAGE["total_tokens"]


async def test_what_was_not_answered_is_asked_again() -> None:
    """The question, and a response that began and was not heard; each is answered once."""
    provider = Provider()
    async with scripted(provider.converse) as cluster, await client(cluster) as socket:
        await say(socket, {"type": "drop_asked"}, HELLO, ASK)
        await until(socket, "response.done")
        await say(socket, {"type": "drop_begun"}, ASK)
        cut = (await until(socket, "response.done"))[-1]
        answered = await until(socket, "response.done")
        await socket.close()
        await rows(cluster, 2)
    assert cut["response"]["status"] == "cancelled"
    assert answered[-1]["response"]["id"] == "resp_3"
    assert [texts(told) for told in provider.told] == [
        ["hello"], ["hello"], ["hello", "Good day"],
    ]  # fmt: skip
    assert [kinds(told).count("response.create") for told in provider.told] == [1, 2, 1]


async def test_an_answer_that_was_heard_in_part_is_closed_and_not_repeated() -> None:
    """With every event that a client waits for; its words are part of the conversation."""
    provider = Provider()
    async with scripted(provider.converse) as cluster, await client(cluster) as socket:
        await say(socket, HELLO, {"type": "drop_speaking"}, ASK)
        heard = await until(socket, "response.done")
        await say(socket, ASK)
        await until(socket, "response.done")
        await socket.close()
        charged = await rows(cluster, 2)
    assert kinds(heard)[-6:] == [
        "response.output_audio.done", "response.output_audio_transcript.done",
        "response.content_part.done", "conversation.item.done", "response.output_item.done",
        "response.done",
    ]  # fmt: skip
    response = heard[-1]["response"]
    assert response["status"] == "cancelled"
    assert response["output"][0]["content"][0]["transcript"] == "Good day"
    assert texts(provider.told[1]) == ["hello", "Good day"]
    assert kinds(provider.told[1]).count("response.create") == 1
    assert sorted(row["kind"] for row in charged) == ["estimate", "response"]


async def test_a_session_outlasts_those_of_its_provider() -> None:
    """It moves between two turns before it is as old as its provider allows."""
    provider = Provider()
    async with (
        scripted(provider.converse, tuned=SHORT_SESSIONS) as cluster,
        await client(cluster) as socket,
    ):
        await say(socket, HELLO, ASK)
        await until(socket, "response.done")
        async with asyncio.timeout(30):
            await provider.third.wait()
        await say(socket, ASK)
        await until(socket, "response.done")
    assert texts(provider.told[2]) == ["hello", "Good day"]
