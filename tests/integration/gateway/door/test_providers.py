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

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually

Event = dict[str, Any]
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODELS = """
    [models."acme-voice"]
    provider = "xai"
    model = "grok-voice-latest"
    [accounts.picky]
    models = ["gpt-*", "gemini-good"]
"""


async def key_of(cluster: Cluster, account: str = "acct") -> str:
    """A key of a new account."""
    return await asyncio.to_thread(cluster.create_account, account)


async def rows(cluster: Cluster, account: str = "acct", count: int = 1) -> list[Event]:
    """The account's rows, once there are so many."""
    return await asyncio.to_thread(
        eventually, lambda: (r := cluster.usage_rows(account)) and len(r) >= count and r
    )


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

    async with scripted(script) as cluster:
        key = await key_of(cluster)
        for code, reason in CLOSES:
            async with connect(f"ws://{cluster.address}{path}&key={key}") as socket:
                assert await socket.recv() == farewell
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (code, reason)


ACCOUNT_ERRORS = "rts_gateway_provider_account_errors_total"
OURS = [
    # what the provider sends, and its close; what the client hears of the close
    ('{"type":"error","error":{"type":"invalid_request_error","code":"invalid_api_key",'
     '"message":"Incorrect API key provided: sk-abcd****wxyz"}}',
     (3000, "invalid_request_error.invalid_api_key")),
    ('{"type":"response.done","response":{"id":"resp_1","status":"failed","usage":'
     '{"total_tokens":9,"input_tokens":9,"output_tokens":0},"status_details":{"type":"failed",'
     '"error":{"type":"insufficient_quota","code":"insufficient_quota"}}}}',
     (1011, "You exceeded your current quota, please check your plan and billing details.")),
]  # fmt: skip


@pytest.mark.parametrize(("event", "close"), OURS)
async def test_errors_about_our_account_are_the_operators(
    event: str, close: tuple[int, str]
) -> None:
    """The client hears of a provider that fails and may come back; usage is charged as always."""

    async def script(provider: ServerConnection) -> None:
        await provider.send(event)
        await provider.close(*close)

    async with scripted(script) as cluster:
        key = await key_of(cluster)
        async with connect(f"ws://{cluster.address}/v1/realtime?model=m&key={key}") as socket:
            heard = json.loads(await socket.recv())
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        daemon = cluster.gateways[0]
        failed = heard.get("error") or heard["response"]["status_details"]["error"]
        assert failed["code"] == "provider_unavailable"
        assert "sk-" not in json.dumps(heard)
        assert (socket.close_code, socket.close_reason) == (1013, "provider_unavailable")
        log = daemon.log.read_text()
        assert log.count("provider refuses our account") == 2
        assert "sk-" not in log


REFUSED = [
    # the status of the upgrade, what the client hears, and whether the account is refused by it
    (401, (1008, "provider_refused"), True),
    (402, (1013, "provider_unavailable"), True),
    (403, (1008, "provider_refused"), True),
    (404, (1008, "model_not_found"), False),
    (429, (1013, "provider_unavailable"), True),
    (503, (1013, "provider_unavailable"), False),
]


async def test_an_upgrade_that_refuses_our_account_is_counted_by_provider() -> None:
    """An alarm that only counts what comes after the upgrade misses a bill that was not paid."""

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(http.HTTPStatus(int(request.path[-3:])), "")

    async def script(_provider: ServerConnection) -> None:
        raise AssertionError("nothing is upgraded")

    async with scripted(script, answer=answer, GATEWAY_OPS_LISTEN="127.0.0.1:0") as cluster:
        key = await key_of(cluster)
        daemon = cluster.gateways[0]
        counted, before = f'{ACCOUNT_ERRORS}{{provider="xai"}}', 0.0
        for status, told, is_about_account in REFUSED:
            path = f"/xai/v1/realtime?rs_key={key}&model=grok-{status}"
            async with connect(f"ws://{cluster.address}{path}") as socket:
                code = json.loads(await socket.recv())["error"]["code"]
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert (socket.close_code, code) == told, status
            found = (await asyncio.to_thread(daemon.metrics)).get(counted, 0.0)
            assert found - before == is_about_account, status
            before = found
        lines = [line for line in daemon.complaints() if "provider unavailable" in line]
        assert len(lines) == len(REFUSED)
        assert all("provider=xai" in line for line in lines)
        assert "billing" in next(line for line in lines if "402" in line)


AFTERWARDS = [
    # what else is said after the error, the provider's close, and what the client hears of it
    ([], (1008, ""), (1013, "provider_unavailable")),
    ([], (1000, ""), (1013, "provider_unavailable")),
    (["{}"], (1008, ""), (1013, "provider_unavailable")),
    (["{}"], (4003, "gone"), (1013, "provider_unavailable")),
    (["{}"], (1000, "bye"), (1000, "bye")),
    (["{}"], (1001, "Your session hit the maximum duration."),
     (1001, "Your session hit the maximum duration.")),
]  # fmt: skip


async def test_a_close_after_an_error_about_our_account_passes() -> None:
    """It says nothing itself, and as it is no SDK would dial again when our bill is paid."""
    closes = iter(AFTERWARDS)

    async def script(provider: ServerConnection) -> None:
        more, close, _ = next(closes)
        await provider.send(OURS[0][0])
        for message in more:
            await provider.send(message)
        await provider.close(*close)

    async with scripted(script) as cluster:
        key = await key_of(cluster)
        for _, close, told in AFTERWARDS:
            async with connect(f"ws://{cluster.address}/v1/realtime?model=m&key={key}") as socket:
                with pytest.raises(ConnectionClosed):
                    while True:
                        await socket.recv()
            assert (socket.close_code, socket.close_reason) == told, close


DELEGATED = [
    # what GPT-Live hands on of other models; where the error stands in it
    ('{"type":"response.event","event_id":"e1","event":{"type":"response.failed","response":{"id":'
     '"resp_1","status":"failed","model":"gpt-5.6","error":{"code":"insufficient_quota","message":'
     '"You exceeded your quota in organization org-AbCdEf12345; key sk-proj-ab****wxyz"},"usage":'
     '{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}}', ("event", "response", "error")),
    ('{"type":"decision.event","event_id":"e2","event":{"type":"decision.failed","error":{"code":'
     '"invalid_api_key","message":"Incorrect API key provided: sk-proj-ab****wxyz"}}}',
     ("event", "error")),
]  # fmt: skip


async def test_errors_of_models_that_gpt_live_asks_are_the_operators() -> None:
    """Whole or in fragments: the client hears that its delegation failed, and pays what it used."""

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        for text, _ in DELEGATED:
            await provider.send(text)
            await provider.send([text[:60], text[60:]])
        await provider.send('{"type":"session.closed","event_id":"e3","usage":{"seconds":0}}')
        await provider.close()

    async with scripted(script, GATEWAY_OPS_LISTEN="127.0.0.1:0") as cluster:
        key = await key_of(cluster)
        async with connect(f"ws://{cluster.address}/v1/live/sessions?rs_key={key}") as socket:
            await socket.send('{"type":"session.start","session":{"model":"gpt-live-1"}}')
            heard = [str(message) async for message in socket]
        assert len(heard) == 5
        for number, text in enumerate(heard[:4]):
            error = told = json.loads(text)
            for name in DELEGATED[number // 2][1]:
                error = error[name]
            assert error["code"] == "provider_unavailable"
            assert told["event_id"] in ("e1", "e2")
            assert all(word not in text for word in ("sk-", "org-", "quota", "api_key"))
        (row,) = await rows(cluster)
        assert (row["model"], row["total_tokens"]) == ("gpt-5.6", 7)
        daemon = cluster.gateways[0]
        metrics = await asyncio.to_thread(daemon.metrics)
        assert metrics[f'{ACCOUNT_ERRORS}{{provider="openai"}}'] == 4
        assert daemon.log.read_text().count("provider refuses our account") == 4


async def test_an_error_about_our_account_is_held_until_it_is_whole() -> None:
    """Fragments of our key stand in fragments of the message; other fragments pass as they come."""
    event, _ = OURS[0]
    other = '{"type":"response.output_audio.delta","delta":"' + "A" * 300 + '"}'

    async def script(provider: ServerConnection) -> None:
        await provider.send([event[:30], event[30:120], event[120:]])
        late = json.loads(event)
        late["type"] = late.pop("type")  # behind the error
        text = json.dumps(late)
        await provider.send([text[:100], text[100:]])
        await provider.send([other[:200], other[200:]])
        await provider.send(["{}", " "])
        await provider.wait_closed()

    async with scripted(script) as cluster:
        key = await key_of(cluster)
        async with connect(f"ws://{cluster.address}/v1/realtime?model=m&key={key}") as socket:
            for _ in range(2):
                pieces = [piece async for piece in socket.recv_streaming()]
                error = json.loads("".join(map(str, pieces)))["error"]
                assert error["code"] == "provider_unavailable"
            pieces = [piece async for piece in socket.recv_streaming()]
            assert pieces[:2] == [other[:200], other[200:]]
            assert await socket.recv() == "{} "


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

    async with scripted(script) as cluster:
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
