"""Sessions of the simulated Gemini Live: URLs, keys, mistakes and endings; the official SDK."""

import asyncio
from typing import Any

import pytest
from google import genai
from google.genai import types
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import host, refused, send
from tests.support.simulator_client_gemini import (
    KEY,
    PATH,
    SETUP,
    TEXT,
    content,
    receive,
    session,
    turn,
)
from tests.support.speech import chunks, silence, tone

MISTAKES: list[tuple[list[Any], int]] = [
    ([content("too early")], 1007),
    ([{"setup": SETUP}, {"setup": SETUP}], 1007),
    ([{"setup": {}}], 1008),
    ([{"setup": {**SETUP, "model": "models/sim-usage-huge"}}], 1007),
    ([{"setup": {**SETUP, "sessionResumption": {"handle": "unknown"}}}], 1008),
    ([{"setup": 5}], 1007),
    ([{"setup": SETUP}, {"fly": {}}], 1007),
    ([{"setup": SETUP}, {"clientContent": {"turns": "x"}}], 1007),
    ([{"setup": SETUP}, {"realtimeInput": {"audio": {"data": "%%"}}}], 1007),
    ([{"setup": SETUP}, {"realtimeInput": {"audio": {"data": 5}}}], 1007),
    ([{"setup": SETUP}, {"toolResponse": {}}], 1007),
    ([{"setup": SETUP}, {"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=0"}}}], 1007),
    ([{"setup": {**SETUP, "tools": [{"functionDeclarations": 7}]}}], 1007),
    ([5], 1007),
]


@pytest.mark.parametrize(("messages", "code"), MISTAKES)
async def test_mistakes_close_the_session(
    provider: Cluster, messages: list[Any], code: int
) -> None:
    """There are no error messages: a reason in the close frame is all."""
    async with session(provider, {}) as socket:
        with pytest.raises(ConnectionClosed):
            await send(socket, *messages)
            while True:
                await receive(socket)
    assert socket.close_code == code
    assert socket.close_reason


CREDENTIALS = [
    ("", KEY), ("key=k", {}), ("access_token=auth_tokens/k", {}),
    ("", {"Authorization": "Token auth_tokens/k"}), ("", {"Authorization": "Bearer k"}),
]  # fmt: skip
PATHS = [
    PATH, f"/{PATH}", f"/t//acme/{PATH}", PATH.replace("v1beta", "v1"),
    PATH.replace("v1beta", "v1alpha") + "Constrained",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("query", "headers"), CREDENTIALS)
async def test_urls_and_credentials(
    provider: Cluster, path: str, query: str, headers: dict[str, str]
) -> None:
    """Every version, prefix and place of the key."""
    url = f"ws://{host(provider)}{path}?{query}"
    async with connect(url, additional_headers=headers) as socket:
        await send(socket, {"setup": TEXT})
        assert await socket.recv() == b'{\n  "setupComplete": {}\n}\n'


async def test_no_key_and_no_such_path(provider: Cluster) -> None:
    """401 and 404, before the upgrade."""
    for path, status in ((PATH, 401), (PATH.replace("v1beta", "v2"), 404)):
        assert await refused(provider, path) == status


async def test_go_away(provider: Cluster) -> None:
    """Announced, then done."""
    async with session(provider, go_away_ms="100") as socket:
        assert await receive(socket) == {"goAway": {"timeLeft": "0.5s"}}
        with pytest.raises(ConnectionClosed):
            await receive(socket)
    assert socket.close_code == 1001


async def test_resumption(provider: Cluster) -> None:
    """A handle after setup and after every turn; another session goes on with it."""
    resumable = {**TEXT, "session_resumption": {}}
    async with session(provider, resumable) as socket:
        assert (await receive(socket))["sessionResumptionUpdate"]["resumable"]
        await send(socket, content("x" * 400))
        await turn(socket)
        handle = (await receive(socket))["sessionResumptionUpdate"]["newHandle"]
    async with session(provider, {**TEXT, "sessionResumption": {"handle": handle}}) as socket:
        await receive(socket)
        await send(socket, content("more"))
        assert (await turn(socket))[-1]["usageMetadata"]["promptTokenCount"] > 100


async def test_no_resumption_while_the_former_connection_is_there(provider: Cluster) -> None:
    """Google closes the second one with 1011; once the first is closed it goes on."""
    resumable = {**TEXT, "session_resumption": {}}
    async with session(provider, resumable) as former:
        handle = (await receive(former))["sessionResumptionUpdate"]["newHandle"]
        resuming = {"setup": {**TEXT, "sessionResumption": {"handle": handle}}}
        async with session(provider, {}) as socket:
            await send(socket, resuming)
            with pytest.raises(ConnectionClosed):
                await receive(socket)
        assert socket.close_code == 1011
    async with session(provider, {}) as socket:
        await send(socket, resuming)
        assert "setupComplete" in await receive(socket)


async def test_endings(provider: Cluster) -> None:
    """A failed turn closes with 1011 and is abandoned; a rejected one says so."""
    async with session(provider, {**SETUP, "model": "models/sim-end-failed"}) as socket:
        await send(socket, content("hello"))
        with pytest.raises(ConnectionClosed):
            await turn(socket)
    assert socket.close_code == 1011
    path = provider.folder / "abandoned.jsonl"
    await asyncio.to_thread(eventually, path.exists)
    async with session(provider, {**SETUP, "model": "models/sim-end-incomplete"}) as socket:
        await send(socket, content("hello"))
        messages = await turn(socket)
    assert messages[-1]["serverContent"]["turnCompleteReason"] == "RESPONSE_REJECTED"


async def test_the_official_sdk_talks_to_it(provider: Cluster) -> None:
    """google-genai over plain ws: a spoken turn, text, a tool call, and faults by model."""
    client = genai.Client(api_key="k")
    url = f"ws://{host(provider)}/sim-pace-0"
    # Plain ws is for tests only: with a key, the SDK forces wss.
    client._api_client._websocket_base_url = lambda *_: url
    client._api_client._websocket_ssl_ctx = {}
    config: Any = {
        "response_modalities": ["AUDIO"], "output_audio_transcription": {},
        "tools": [{"function_declarations": [{"name": "weather"}]}],
        "realtime_input_config": {"automatic_activity_detection": {"silence_duration_ms": 300}},
    }  # fmt: skip
    async with client.aio.live.connect(model="gemini-3.1-flash-live", config=config) as live:
        for piece in chunks(silence(0.4) + tone(1.0) + silence(0.6), 40):
            await live.send_realtime_input(
                audio=types.Blob(data=piece, mime_type="audio/pcm;rate=24000")
            )
        spoken = [message async for message in live.receive()]
        assert tone(1.0) in b"".join(message.data or b"" for message in spoken)
        assert spoken[-1].usage_metadata.total_token_count > 0
        turns: Any = {"role": "user", "parts": [{"text": "the weather?"}]}
        await live.send_client_content(turns=turns, turn_complete=True)
        async for message in live.receive():
            if message.tool_call:
                (found,) = message.tool_call.function_calls
                answer = types.FunctionResponse(id=found.id, name=found.name, response={"a": 1})
                await live.send_tool_response(function_responses=[answer])
        assert message.usage_metadata.tool_use_prompt_token_count > 0
    async with client.aio.live.connect(model="sim-close-1011", config=config) as live:
        await live.send_client_content(turns=turns, turn_complete=True)
        with pytest.raises(genai.errors.APIError, match="as asked for"):
            async for _ in live.receive():
                pass
