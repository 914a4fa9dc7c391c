"""The provider is lost before it has said anything: the next one is asked, and the client waits."""

import asyncio
import json

from websockets.asyncio.server import ServerConnection

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.translated import (
    SAID,
    UPDATE,
    Event,
    accept,
    answer,
    gemini_client,
    openai_client,
    send,
    until,
)

RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "in_progress"}
SPOKEN = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}


def reported(cluster: Cluster) -> int:
    """The tokens that were charged, without what is estimated of the lost connection."""
    rows = cluster.usage_rows("a")
    return sum(row["total_tokens"] for row in rows if row["kind"] == "response")


async def test_gemini_is_asked_again_for_what_an_openai_client_asked() -> None:
    """The response stays open, and is answered; its only usage is that of the second provider."""
    asked: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        await accept(provider)
        content = json.loads(await provider.recv())["clientContent"]
        asked.append(content)
        if len(asked) == 1:
            provider.transport.abort()
            return
        await answer(provider, "here I am")
        await provider.wait_closed()

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE, SAID, {"type": "response.create"})
        heard = await until(socket, "response.done")
        await socket.close()
        charged = await asyncio.to_thread(eventually, lambda: reported(cluster))
    kinds = [event["type"] for event in heard]
    assert kinds.count("response.created") == kinds.count("response.done") == 1
    assert heard[-1]["response"]["status"] == "completed"
    assert asked == [asked[0]] * 2
    assert asked[0]["turnComplete"]
    assert charged == 12


async def test_openai_is_asked_again_for_what_a_gemini_client_asked() -> None:
    """The turn stays open, and ends once."""
    asked: list[list[str]] = []

    async def script(provider: ServerConnection) -> None:
        kinds: list[str] = []
        asked.append(kinds)
        async for text in provider:
            event = json.loads(text)
            kinds.append(event["type"])
            if event["type"] == "session.update":
                await send(provider, {"type": "session.updated", "session": event["session"]})
            elif event["type"] == "response.create":
                await send(provider, {"type": "response.created", "response": RESPONSE})
                if len(asked) == 1:
                    provider.transport.abort()
                    return
                done = {**RESPONSE, "status": "completed", "output": [], "usage": SPOKEN}
                await send(provider, {"type": "response.done", "response": done})

    question = {"turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turnComplete": True}
    async with scripted(script) as cluster, await gemini_client(cluster) as socket:
        await send(socket, {"setup": {"model": "models/m"}})
        assert "setupComplete" in json.loads(await socket.recv())
        await send(socket, {"clientContent": question})
        async with asyncio.timeout(20):
            turn = json.loads(await socket.recv())
        await socket.close()
        charged = await asyncio.to_thread(eventually, lambda: reported(cluster))
    assert turn["serverContent"]["turnComplete"]
    assert "interrupted" not in turn["serverContent"]
    told = ["session.update", "conversation.item.create", "response.create"]
    assert [kinds[:3] for kinds in asked] == [told, told]
    assert charged == 12
