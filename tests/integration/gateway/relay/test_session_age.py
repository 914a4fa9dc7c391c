"""Sessions that have lasted as long as they may."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import UNKEPT, scripted
from tests.support.harness import cluster_folder
from tests.support.tuned import SHORT_SESSIONS

CREATED = json.dumps({"type": "response.created", "response": {"id": "resp_1"}})
DONE = json.dumps({"type": "response.done", "response": {"id": "resp_1", "usage": {}}})


async def test_a_session_is_announced_to_end_and_never_in_the_middle_of_a_response() -> None:
    """Clients that asked for events are warned; the streaming response arrives whole, then 1001."""
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

    async with scripted(script, tuned=SHORT_SESSIONS, **UNKEPT) as cluster:
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


async def test_the_operator_says_how_long_sessions_with_a_model_last() -> None:
    """The others last as long as before."""
    short = '[[lifetimes]]\nprovider = "openai"\nmodel = "gpt-short*"\nminutes = 20\n'

    async def script(provider: ServerConnection) -> None:
        await provider.wait_closed()

    async with scripted(
        script, tuned=SHORT_SESSIONS, GATEWAY_MODELS_FILE=short, **UNKEPT
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "short")
        url = f"{cluster.url}?rs_key={key}&model="
        async with connect(f"{url}gpt-realtime") as long, connect(f"{url}gpt-short-1") as ending:
            await asyncio.wait_for(ending.wait_closed(), 10)
            assert (ending.close_code, ending.close_reason) == (1001, "session is too old")
            assert long.close_code is None
            await asyncio.wait_for(long.wait_closed(), 10)
            assert (long.close_code, long.close_reason) == (1001, "session is too old")


async def test_a_wrong_lifetime_ends_the_start() -> None:
    """With what was found, and what was expected."""
    with cluster_folder() as cluster:
        path = cluster.folder / "models.toml"
        path.write_text('[[lifetimes]]\nprovider = "openai"\nminutes = 9999\n')
        done = cluster.run("rts-gateway", "serve", GATEWAY_MODELS_FILE=str(path))
    assert done.returncode == 78
    assert f"GATEWAY_MODELS_FILE: found '{path}', lifetimes, entry 1: minutes" in done.stderr
    assert "found 9999, expected an integer from 1 to 1440" in done.stderr
