"""The OpenAI family beyond OpenAI itself: Azure, Voice Live, xAI and GPT-Live, as clients meet it.

Gateway, accountd and simulator are the real ones; what is charged is what the simulator logged.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.limits import CLOSE_S, DRAIN_S
from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.simulator_client import Event, host, logged, say, send, until
from tests.support.speech import silence, tone

MODELS = """
    [models."acme-voice"]
    provider = "xai"
    model = "grok-voice-latest"
    [models."acme-plain"]
    provider = "openai"
    model = "gpt-realtime"
    [models."acme-azure"]
    provider = "azure"
    model = "dep-1"
    [accounts.picky]
    models = ["gpt-*"]
    [accounts.exact]
    models = ["gpt-realtime", "acme-plain"]
"""
TURN = silence(0.4) + tone(1.0) + silence(0.6)
START: Event = {"type": "session.start", "session": {"model": "gpt-live-1"}}


@pytest.fixture(scope="module")
def family() -> Iterator[Cluster]:
    """A cluster whose simulator stands in for every provider of the family."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.start_simulator()
        (cluster.folder / "models.toml").write_text(MODELS)
        cluster.start_gateway(
            GATEWAY_MODELS_FILE=str(cluster.folder / "models.toml"),
            AZURE_OPENAI_API_KEY="azure-key",
            AZURE_OPENAI_ENDPOINT=f"http://{host(cluster)}",
            XAI_API_KEY="xai-key",
            XAI_BASE_URL=f"http://{host(cluster)}/xai/v1",
        )
        yield cluster


async def key_of(cluster: Cluster, account: str) -> str:
    """A key of a new account."""
    return await asyncio.to_thread(cluster.create_account, account)


async def charged(cluster: Cluster, account: str, count: int = 1) -> list[Event]:
    """The account's rows, oldest first, once there are so many."""
    rows = await asyncio.to_thread(
        eventually, lambda: (r := cluster.usage_rows(account)) and len(r) >= count and r
    )
    assert isinstance(rows, list)
    return rows[::-1]


def agree(rows: list[Event], lines: list[Event]) -> None:
    """What was charged is what the simulator says that a correct meter charges."""
    for name in ("input_tokens", "output_tokens", "total_tokens", "billed_ms"):
        assert sum(row[name] for row in rows) == sum(line["charge"][name] for line in lines), name
    assert lines, "the test means to charge something"


async def plain(cluster: Cluster, target: str, key: str) -> ClientConnection:
    """A plain connection."""
    headers = {"api-key": key}
    return await connect(
        f"ws://{cluster.address}{target}", additional_headers=headers, max_size=None
    )


# --- where it goes --------------------------------------------------------------------------------


async def text_turn(connection: Any) -> None:
    """One response, whatever the names of its events."""
    await connection.response.create()
    async for event in connection:
        assert event.type != "error", event
        if event.type == "response.done":
            return


BY_AZURE_CLIENT = [
    # model that the client asks for -> (provider, dialect and model that the simulator saw)
    ("acme-voice", ("xai", "xai", "grok-voice-latest")),
    ("acme-plain", ("openai", "ga", "gpt-realtime")),
    ("acme-azure", ("azure", "beta", "dep-1")),
    ("dep-2", ("azure", "beta", "dep-2")),
]


@pytest.mark.parametrize(("model", "expected"), BY_AZURE_CLIENT)
async def test_the_azure_client_reaches_the_models_of_the_table(
    family: Cluster, model: str, expected: tuple[str, str, str]
) -> None:
    """Its deployment becomes what the other provider calls a model."""
    account = f"azure-{model}"
    client = AsyncAzureOpenAI(
        api_key=await key_of(family, account),
        azure_endpoint="http://unused.example",
        api_version="2025-04-01-preview",
        websocket_base_url=f"ws://{family.address}/openai",
    )
    query: Any = {"pace": "0", "tag": account}
    async with client.realtime.connect(model=model, extra_query=query) as connection:
        await text_turn(connection)
    rows = await charged(family, account, 2 if expected[0] == "xai" else 1)
    lines = logged(family, account)
    agree(rows, lines)
    assert {(x["provider"], x["dialect"], x["model"]) for x in lines} == {expected}
    assert {(row["provider"], row["model"]) for row in rows} == {(expected[0], expected[2])}
    (query,) = {x["query"] for x in lines}
    assert ("deployment=" in query, "model=" in query) == (
        expected[1] == "beta", expected[1] != "beta",
    )  # fmt: skip


@pytest.mark.parametrize("model", ["acme-azure", "acme-voice"])
async def test_the_plain_client_reaches_the_models_of_the_table(
    family: Cluster, model: str
) -> None:
    """The same way back: Azure's GA address calls a deployment a model."""
    account = f"plain-{model}"
    client = AsyncOpenAI(
        api_key=await key_of(family, account), base_url=f"http://{family.address}/v1"
    )
    query: Any = {"pace": "0", "tag": account}
    async with client.realtime.connect(model=model, extra_query=query) as connection:
        await text_turn(connection)
    lines = logged(family, account)
    agree(await charged(family, account, 2 if model == "acme-voice" else 1), lines)
    seen = {(x["provider"], x["dialect"], x["model"]) for x in lines}
    assert seen == {("azure", "ga", "dep-1") if model == "acme-azure" else
                    ("xai", "xai", "grok-voice-latest")}  # fmt: skip


async def test_voice_live_speaks_the_old_names(family: Cluster) -> None:
    """A spoken turn on Azure Voice Live's own path; its transcripts are part of its price."""
    key = await key_of(family, "voice")
    target = "/voice-live/realtime?api-version=2025-10-01&model=gpt-4o&pace=0&tag=voice"
    flat = {"modalities": ["text", "audio"], "input_audio_transcription": {"model": "azure-speech"}}
    async with await plain(family, target, key) as socket:
        await send(socket, {"type": "session.update", "session": flat}, *say(TURN))
        events = await until(socket, "response.done")
    assert {"conversation.item.created", "response.audio.delta"} <= {x["type"] for x in events}
    rows, lines = await charged(family, "voice"), logged(family, "voice")
    agree(rows, [line for line in lines if line["kind"] == "response"])
    assert [(row["provider"], row["model"], row["kind"]) for row in rows] == [
        ("azure", "gpt-4o", "response")
    ]
    assert len(lines) == 2, "it was transcribed"
    (query,) = {x["query"] for x in lines}
    assert "api-version=2025-10-01&model=gpt-4o" in query


async def test_a_path_may_name_the_session(family: Cluster) -> None:
    """For clients that can set neither a query nor a header; another name beside it is refused."""
    key = await key_of(family, "named")
    client = AsyncOpenAI(api_key=key, base_url=f"http://{family.address}/t/acme/s/call-17/v1")
    query: Any = {"pace": "0"}
    async with client.realtime.connect(model="gpt-realtime", extra_query=query) as connection:
        await text_turn(connection)
    (row,) = await charged(family, "named")
    assert row["session_id"] == "call-17"
    with pytest.raises(InvalidStatus) as refused:
        await plain(family, "/s/call-17/v1/realtime?model=m&rs_sessid=call-18", key)
    assert refused.value.response.status_code == 400
    body = json.loads(refused.value.response.body or b"")
    assert body["error"]["code"] == "session_conflict"


# --- how it ends ----------------------------------------------------------------------------------


async def test_a_client_that_leaves_before_its_transcript_is_charged_for_it(
    family: Cluster,
) -> None:
    """The provider is asked to stop, and waited for until it has said what it heard."""
    key = await key_of(family, "hasty")
    heard = {"transcription": {"model": "whisper-1"}, "turn_detection": None}
    update = {"type": "realtime", "audio": {"input": heard}}
    socket = await plain(family, "/v1/realtime?model=gpt-realtime&pace=0&tag=hasty", key)
    await send(socket, {"type": "session.update", "session": update}, *say(tone(1.0)))
    await until(socket, "session.updated")
    await send(socket, {"type": "input_audio_buffer.commit"})
    await socket.ping()  # everything is written
    socket.transport.abort()
    rows = await charged(family, "hasty")
    agree(rows, logged(family, "hasty"))
    assert [(row["kind"], row["model"]) for row in rows] == [("transcription", "whisper-1")]


async def test_a_transcript_after_the_response_is_waited_for_and_no_longer() -> None:
    """It comes late, in a session that does not know how to cancel."""
    usage = {"type": "duration", "seconds": 3}
    closed = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        session = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        await provider.send(json.dumps({"type": "session.created", "session": session}))
        async for text in provider:
            event = json.loads(text)
            if event["type"] == "input_audio_buffer.commit":
                committed = {"type": "input_audio_buffer.committed", "item_id": "item_1"}
                await provider.send(json.dumps(committed))
            elif event["type"] == "response.cancel":
                error = {"code": "invalid_value", "event_id": event["event_id"]}
                await provider.send(json.dumps({"type": "error", "error": error}))
                await asyncio.sleep(0.7)
                completed = {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "event_id": "event_1", "item_id": "item_1", "usage": usage,
                }  # fmt: skip
                await provider.send(json.dumps(completed))
        closed.set()

    async with scripted(script) as cluster:
        key = await key_of(cluster, "acct")
        async with await plain(cluster, "/v1/realtime?model=gpt-realtime", key) as socket:
            await send(socket, {"type": "input_audio_buffer.commit"})
            await until(socket, "input_audio_buffer.committed")
        began = asyncio.get_running_loop().time()
        await asyncio.wait_for(closed.wait(), 10)
        assert asyncio.get_running_loop().time() - began < CLOSE_S, "it waits for no deadline"
        (row,) = await charged(cluster, "acct")
    assert (row["kind"], row["billed_ms"], row["total_tokens"]) == ("transcription", 3000, 0)


async def test_a_client_that_leaves_its_live_session_open_is_charged_its_seconds(
    family: Cluster,
) -> None:
    """The session is closed as its protocol says, and its last report recorded."""
    key = await key_of(family, "live")
    socket = await plain(family, "/v1/live/sessions?tag=live&pace=0", key)
    second = base64.b64encode(tone(1.0)).decode()
    await send(socket, START, {"type": "session.input_audio.append", "audio": second})
    await until(socket, "session.usage.updated")  # the provider is connected
    socket.transport.abort()
    rows = await charged(family, "live")
    agree(rows, logged(family, "live"))
    assert {(row["kind"], row["model"]) for row in rows} == {("duration", "gpt-live-1")}


async def test_a_live_session_that_starts_late_is_closed_with_its_seconds() -> None:
    """The client is gone between its session.start and the provider's answer to it."""
    asked, closed = asyncio.Event(), asyncio.Event()
    got: list[str] = []

    async def script(provider: ServerConnection) -> None:
        async for text in provider:
            event = json.loads(text)
            got.append(event["type"])
            if event["type"] == "session.start":
                asked.set()
                await asyncio.sleep(0.5)
                session = {"id": "live_1", "model": "gpt-live-1"}
                await provider.send(json.dumps({"type": "session.started", "session": session}))
            elif event["type"] == "session.close":
                usage = {"seconds": 2.5}
                await provider.send(json.dumps({"type": "session.closed", "usage": usage}))
                await provider.close()
        closed.set()

    async with scripted(script) as cluster:
        key = await key_of(cluster, "acct")
        socket = await plain(cluster, "/v1/live/sessions", key)
        await send(socket, START)
        await asked.wait()
        socket.transport.abort()
        await asyncio.wait_for(closed.wait(), DRAIN_S)
        (row,) = await charged(cluster, "acct")
    assert got == ["session.start", "session.close"]
    assert (row["kind"], row["billed_ms"], row["model"]) == ("duration", 2500, "gpt-live-1")


async def test_a_live_session_that_was_never_asked_for_ends_at_once() -> None:
    """Nothing is owed for a connection without a start."""
    closed = asyncio.Event()
    got: list[str | bytes] = []

    async def script(provider: ServerConnection) -> None:
        await provider.send("{}")
        got.extend([message async for message in provider])
        closed.set()

    async with scripted(script) as cluster:
        key = await key_of(cluster, "acct")
        async with await plain(cluster, "/v1/live/sessions", key) as socket:
            await socket.recv()
        await asyncio.wait_for(closed.wait(), CLOSE_S)
    assert got == []


NAMED_LATER: list[tuple[str, str, str | None]] = [
    # account, what the client's session.update names -> what the provider gets
    ("exact", "gpt-realtime", "gpt-realtime"),
    ("exact", "gpt-realtime-2025-08-28", "gpt-realtime-2025-08-28"),  # the server's own name for it
    ("exact", "acme-plain", "gpt-realtime"),
    ("exact", "gpt-realtime-2025-01-01", None),
    ("exact", "gpt-realtime-mini", None),
    ("free", "gpt-realtime-mini", "gpt-realtime-mini"),
]


async def test_a_model_that_is_named_later_is_checked_too() -> None:
    """A session.update with a model that the account may not use does not reach the provider."""
    got: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        session = {"model": "gpt-realtime-2025-08-28"}
        await provider.send(json.dumps({"type": "session.created", "session": session}))
        async for text in provider:
            event = json.loads(text)
            got.append(event)
            if event["type"] == "session.update":
                await provider.send('{"type":"session.updated"}')
            elif event["type"] == "response.cancel":
                error = {"code": "response_cancel_not_active"}
                await provider.send(json.dumps({"type": "error", "error": error}))

    async with scripted(script, GATEWAY_MODELS_FILE=MODELS) as cluster:
        keys = {account: await key_of(cluster, account) for account in ("exact", "free")}
        for account, model, expected in NAMED_LATER:
            got.clear()
            update = {"type": "session.update", "session": {"type": "realtime", "model": model}}
            target = "/v1/realtime?model=gpt-realtime"
            async with await plain(cluster, target, keys[account]) as socket:
                await until(socket, "session.created")
                await send(socket, {"type": "session.update", "session": {}})
                await until(socket, "session.updated")
                await send(socket, update)
                if expected is None:
                    (event,) = await until(socket, "error")
                    error = event["error"]
                    assert (error["type"], error["code"]) == (
                        "invalid_request_error", "model_not_allowed",
                    )  # fmt: skip
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()
                    assert (socket.close_code, socket.close_reason) == (1008, "model_not_allowed")
                else:
                    await until(socket, "session.updated")
            named = [x["session"].get("model") for x in got if x["type"] == "session.update"]
            assert named == [None] + [expected] * (expected is not None), model


async def test_a_live_model_that_an_account_may_not_use(family: Cluster) -> None:
    """Its first message names it: the provider does not get it, the client is told."""
    key = await key_of(family, "picky")
    async with await plain(family, "/v1/live/sessions?tag=picky&pace=0", key) as socket:
        await send(socket, {"type": "session.start", "session": {"model": "live-1"}})
        (event,) = await until(socket, "error")
        assert event["error"]["code"] == "model_not_allowed"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1008, "model_not_allowed")
    async with await plain(family, "/v1/live/sessions?tag=picky&pace=0", key) as socket:
        await send(socket, START)
        started = (await until(socket, "session.started"))[-1]
        assert started["session"]["model"] == "gpt-live-1"
        await send(socket, {"type": "session.close"})
        await until(socket, "session.closed")
