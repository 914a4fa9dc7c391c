"""Sessions that have lasted as long as they may."""

import asyncio
import json
from pathlib import Path

import pytest
from fake_provider import scripted
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

GATEWAY = Path(__file__).parent.parent / "short_lived_gateway.py"
CREATED = json.dumps({"type": "response.created", "response": {"id": "resp_1"}})
DONE = json.dumps({"type": "response.done", "response": {"id": "resp_1", "usage": {}}})


async def test_a_session_is_announced_to_end_and_never_in_the_middle_of_a_response() -> None:
    """Only who asked hears of it; the response that is being said arrives whole, then 1001."""
    may_end = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        await provider.send(CREATED)
        await may_end.wait()
        await provider.send(DONE)
        await provider.wait_closed()

    async def is_told(query: str) -> list[str]:
        types = []
        async with connect(f"{url}&{query}") as socket:
            with pytest.raises(ConnectionClosed):
                while True:
                    types.append(json.loads(await socket.recv())["type"])
            assert (socket.close_code, socket.close_reason) == (1001, "session is too old")
        return types

    async with scripted(script, gateway=GATEWAY) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "old")
        url = f"{cluster.url}?model=gpt-realtime&rs_key={key}"
        asked = asyncio.create_task(is_told("rs_events=1"))
        plain = asyncio.create_task(is_told("x=1"))
        done, _ = await asyncio.wait({asked, plain}, timeout=5)
        assert not done, "in the middle of a response"
        may_end.set()
        heard = await asked
        assert await plain == ["response.created", "response.done"]
    assert [name for name in heard if name != "rts.credit"] == [
        "response.created", "rts.session_ending", "response.done",
    ]  # fmt: skip
