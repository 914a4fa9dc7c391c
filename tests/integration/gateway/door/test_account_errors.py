"""Errors about the gateway's account with a provider are for its operator, not for clients."""

import asyncio
import http
import json

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.accounts import key_of, rows
from tests.support.fake_provider import UNKEPT, scripted

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

    async with scripted(script, **UNKEPT) as cluster:
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
