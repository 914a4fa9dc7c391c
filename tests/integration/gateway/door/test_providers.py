"""Each provider is addressed as it wants to be, and its endings reach the client as they are."""

import asyncio
import http
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from tests.support.accounts import key_of, rows
from tests.support.fake_provider import UNKEPT, scripted
from tests.support.harness import Cluster

Event = dict[str, Any]
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODELS = """
    [models."acme-voice"]
    provider = "xai"
    model = "grok-voice-latest"
    [accounts.picky]
    models = ["gpt-*", "gemini-good"]
"""


ADDRESSES = [
    ("/v1/realtime?model=gpt-realtime", "/v1/realtime?model=gpt-realtime",
     ("Authorization", "Bearer sk-the-provider-key")),
    ("/t/acme//openai/v1/realtime?model=d", "/openai/v1/realtime?model=d",
     ("api-key", "azure-key")),
    ("/openai/realtime?api-version=v&deployment=d", "/openai/realtime?api-version=v&deployment=d",
     ("api-key", "azure-key")),
    ("/v1/realtime?model=grok-voice-latest&conversation_id=c",
     "/xai/v1/realtime?model=grok-voice-latest&conversation_id=c",
     ("Authorization", "Bearer xai-key")),
    ("/xai/v1/realtime", "/xai/v1/realtime", ("Authorization", "Bearer xai-key")),
    ("/voice-live/realtime?agent-name=helper&project-name=shop",
     "/voice-live/realtime?agent-name=helper&project-name=shop", ("api-key", "azure-key")),
    ("/voice-agent/realtime", "/voice-agent/realtime", ("api-key", "azure-key")),
    ("/agents/helper/endpoint/protocols/voice/live/sessions",
     "/agents/helper/endpoint/protocols/voice/live/sessions", ("api-key", "azure-key")),
    ("/v1/realtime?model=acme-voice", "/xai/v1/realtime?model=grok-voice-latest",
     ("Authorization", "Bearer xai-key")),
    ("/v1/live/sessions", "/v1/live/sessions", ("Authorization", "Bearer sk-the-provider-key")),
    (f"//{GEMINI}?key=KEY", GEMINI, ("x-goog-api-key", "gemini-key")),
    (f"{GEMINI}Constrained?access_token=auth_tokens/KEY", GEMINI,
     ("x-goog-api-key", "gemini-key")),
]  # fmt: skip


async def test_each_provider_is_addressed_as_it_wants_to_be() -> None:
    """Path, query and the right key under the right name; nothing of the client's key.

    No proxy of the environment is asked.
    """
    seen: list[tuple[str, dict[str, str]]] = []

    async def script(provider: ServerConnection) -> None:
        assert provider.request is not None
        seen.append((provider.request.path, dict(provider.request.headers.raw_items())))
        await provider.send("hello")
        await provider.wait_closed()

    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    async with scripted(script, GATEWAY_MODELS_FILE=MODELS, **nowhere) as cluster:
        key = await key_of(cluster)
        for asked, _, _ in ADDRESSES:
            url = f"ws://{cluster.address}{asked.replace('KEY', key)}"
            headers = {"x-goog-api-key": key, "OpenAI-Beta": "realtime=v1", "api-key": key}
            async with connect(url, additional_headers=headers) as socket:
                assert await socket.recv() == "hello"
    for (asked, path, (name, value)), (found, headers) in zip(ADDRESSES, seen, strict=True):
        assert found == path, asked
        assert headers[name] == value, asked
        assert key not in json.dumps([found, headers])
        assert "OpenAI-Beta" not in headers


def gemini(message: Event) -> bytes:
    """A message as Gemini writes it: pretty-printed in a binary frame."""
    return (json.dumps(message, indent=2) + "\n").encode()


async def test_gemini_turns_are_summed_and_frames_stay_binary() -> None:
    """The setup's model is billed, each turn by its own snapshot, and bytes arrive as they were."""
    sent: list[bytes] = []

    async def script(provider: ServerConnection) -> None:
        setup = json.loads(await provider.recv())
        assert setup["setup"]["model"] == "models/gemini-live"
        usages: list[Event] = [
            {"promptTokenCount": 100, "responseTokenCount": 20, "totalTokenCount": 120},
            {"promptTokenCount": 140, "candidatesTokenCount": 30, "thoughtsTokenCount": 5},
        ]
        sent.append(gemini({"setupComplete": {}}))
        await provider.send(sent[-1])
        for usage in usages:
            await provider.recv()
            for content in ({"modelTurn": {"parts": []}}, {"generationComplete": True}):
                sent.append(gemini({"serverContent": content}))
                await provider.send(sent[-1])
            done = {"serverContent": {"turnComplete": True}, "usageMetadata": usage}
            sent.append(gemini(done))
            await provider.send(sent[-1])
        await provider.wait_closed()

    async with scripted(script) as cluster:
        key = await key_of(cluster)
        async with connect(f"ws://{cluster.address}{GEMINI}?key={key}") as socket:
            await socket.send(json.dumps({"setup": {"model": "models/gemini-live"}}))
            got = [await socket.recv()]
            for _ in range(2):
                await socket.send('{"realtimeInput": {}}')
                got += [await socket.recv() for _ in range(3)]
        (row,) = await rows(cluster)
    assert got == sent
    assert (row["provider"], row["model"], row["responses"]) == ("gemini", "gemini-live", 2)
    assert (row["input_tokens"], row["output_tokens"], row["total_tokens"]) == (240, 55, 295)
    assert row["output_thought_tokens"] == 5


# What names another model than the account's, or none that could be held against its list.
UNNAMED = (
    "/v1/realtime?model=grok-voice&",
    "/v1/realtime?model=acme-voice&",
    "/v1/realtime?call_id=rtc_1&",
    "/xai/v1/realtime?",
    "/voice-live/realtime?api-version=2026-06-01-preview&agent-name=helper&project-name=shop&",
    "/voice-agent/realtime?",
    "/agents/helper/endpoint/protocols/voice/live/sessions?",
)


async def test_a_model_that_an_account_may_not_use() -> None:
    """403 before the upgrade; for Gemini, whose model stands in its first message, close 1008."""
    got_setup = False

    async def script(provider: ServerConnection) -> None:
        nonlocal got_setup
        async for _ in provider:
            got_setup = True
            await provider.send(b"{}")

    async with scripted(script, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await key_of(cluster, "picky")
        for asked in UNNAMED:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{cluster.address}{asked}rs_key={key}")
            assert refused.value.response.status_code == 403
            body = json.loads(refused.value.response.body or b"")
            assert body["error"]["code"] == "model_not_allowed"
        url = f"ws://{cluster.address}{GEMINI}?key={key}"
        async with connect(url) as socket:
            await socket.send('{"setup": {"model": "models/gemini-bad"}}')
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (1008, "model_not_allowed")
        assert not got_setup
        async with connect(url) as socket:
            await socket.send('{"setup": {"model": "models/gemini-good"}}')
            assert await socket.recv() == b"{}"


CLOSES = [
    (1000, "bye"),
    (1001, "Your session hit the maximum duration of 60 minutes."),
    (1002, "its own view of the protocol"),
    (1007, "setup"),
    (1008, "model not found"),
    (1009, "too big for it"),
    (1011, "Deadline expired"),
    (4000, "beta_api_shape_disabled"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/realtime?model=m", f"{GEMINI}?x=1"])
async def test_errors_and_closes_of_the_provider_pass_through(path: str) -> None:
    """An event before the close, goAway too, and the close code and reason as they were."""
    farewell = '{"type":"error","error":{"code":"session_expired"}}'
    closes = iter(CLOSES)

    async def script(provider: ServerConnection) -> None:
        await provider.send(farewell)
        await provider.close(*next(closes))

    async with scripted(script, **UNKEPT) as cluster:
        key = await key_of(cluster)
        for code, reason in CLOSES:
            async with connect(f"ws://{cluster.address}{path}&key={key}") as socket:
                assert await socket.recv() == farewell
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (code, reason)


async def test_a_redirect_to_the_same_origin_is_followed_once() -> None:
    """Azure sends a client to another path; who sends it in circles is refused."""
    seen: list[str] = []

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        seen.append(request.path)
        if "circle" not in request.path and len(seen) > 1:
            return None
        response = connection.respond(http.HTTPStatus.FOUND, "")
        response.headers["Location"] = f"/moved{request.path}#here"
        return response

    async def script(provider: ServerConnection) -> None:
        await provider.send('{"type":"session.created","session":{}}')
        await provider.wait_closed()

    async with scripted(script, answer=answer) as cluster:
        await follow(cluster, seen)


async def follow(cluster: Cluster, seen: list[str]) -> None:
    """A session that was moved, and one that is moved again and again."""
    key = await key_of(cluster)
    where = f"ws://{cluster.address}/v1/realtime?key={key}&model="
    async with connect(where + "m") as socket:
        assert "session.created" in str(await socket.recv())
    assert [path.split("?")[0] for path in seen] == ["/v1/realtime", "/moved/v1/realtime"]
    async with connect(where + "circle") as socket:
        error = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert (error["error"]["code"], socket.close_code) == ("provider_refused", 1008)
    assert len(seen) == 4


LOSSES: list[tuple[str, Callable[[str], str], list[str]]] = [
    ("openai", lambda key: f"/v1/realtime?model=m&rs_key={key}", ["provider_connection_lost"]),
    ("gemini", lambda key: f"{GEMINI}?key={key}", []),
]


@pytest.mark.parametrize(("provider_name", "path", "codes"), LOSSES)
async def test_a_lost_provider_is_told_in_its_own_words(
    provider_name: str, path: Callable[[str], str], codes: list[str]
) -> None:
    """OpenAI's clients hear an error event; Gemini's SDK would stumble over one."""

    async def script(provider: ServerConnection) -> None:
        await provider.send("hello")
        await provider.recv()
        provider.transport.abort()

    async with scripted(script, **UNKEPT) as cluster:
        key = await key_of(cluster)
        async with connect(f"ws://{cluster.address}{path(key)}") as socket:
            assert await socket.recv() == "hello"
            await socket.send("{}")
            events = []
            with pytest.raises(ConnectionClosed):
                while True:
                    events.append(json.loads(await socket.recv()))
    assert [event["error"]["code"] for event in events] == codes, provider_name
    assert socket.close_code == 1011


async def test_fifteen_mebibytes_of_audio_are_one_message() -> None:
    """As many as an append may carry, in base64."""
    sizes: list[int] = []

    async def script(provider: ServerConnection) -> None:
        async for message in provider:
            sizes.append(len(message))
            await provider.send("heard")

    audio = "A" * (15 * 2**20 * 4 // 3)
    append = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
    async with scripted(script) as cluster:
        key = await key_of(cluster)
        where = f"ws://{cluster.address}/v1/realtime?model=m&key={key}"
        async with connect(where, compression=None) as socket:
            await socket.send(append)
            assert await asyncio.wait_for(socket.recv(), 60) == "heard"
    assert sizes[0] == len(append)
