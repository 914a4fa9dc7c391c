"""The official openai-python client, unmodified, through gateway, accountd and simulator."""

import base64
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import connect as plain

from tests.support.harness import Cluster, eventually
from tests.support.speech import chunks, silence, tone

MANUAL: Any = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {"input": {"turn_detection": None}},
}


def connect(cluster: Cluster, key: str, **query: str) -> Any:
    """The SDK's own connection; only base URL and key are ours."""
    client = AsyncOpenAI(api_key=key, base_url=f"http://{cluster.address}/v1")
    return client.realtime.connect(model="gpt-realtime", extra_query={"pace": "0", **query})


async def until(connection: AsyncRealtimeConnection, *types: str) -> list[Any]:
    """All events up to one of the given types."""
    events = []
    async for event in connection:
        events.append(event)
        assert event.type != "error", event
        if event.type in types:
            return events
    raise AssertionError(f"the connection ended before {types}")


async def say(connection: AsyncRealtimeConnection, pcm: bytes) -> None:
    """Send audio in 20 ms pieces."""
    for piece in chunks(pcm):
        await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())


async def spoken_turn(connection: AsyncRealtimeConnection, pcm: bytes) -> tuple[bytes, Any]:
    """Speak, commit, and listen: the audio heard and the response."""
    await say(connection, pcm)
    await connection.input_audio_buffer.commit()
    await connection.response.create()
    events = await until(connection, "response.done")
    deltas = [e.delta for e in events if e.type == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta) for delta in deltas), events[-1].response


async def test_seven_spoken_turns_are_charged_in_two_rows(cluster: Cluster) -> None:
    """Audio comes back byte for byte, 7 responses make rows of 5 and 2, top-up pays first."""
    key = cluster.create_account("seven", tokens=100_000, topup=150)
    heard, responses = b"", []
    async with connect(cluster, key, rs_sessid="sess-seven", tag="seven") as connection:
        created = (await until(connection, "session.created"))[-1]
        await connection.session.update(session=MANUAL)
        await until(connection, "session.updated")
        for turn in range(7):
            spoken = tone(0.5, hertz=200 + 50 * turn)
            audio, response = await spoken_turn(connection, spoken)
            assert audio == spoken
            heard += audio
            responses.append(response)

    provider_log = cluster.folder / "audio" / f"{created.session.id}.pcm"
    assert heard == provider_log.read_bytes()
    rows = eventually(lambda: (r := cluster.usage_rows("seven")) and len(r) >= 2 and r)
    assert sorted(row["responses"] for row in rows) == [2, 5]
    assert {row["session_id"] for row in rows} == {"sess-seven"}
    assert {row["model"] for row in rows} == {"gpt-realtime"}

    sent = [x for x in cluster.usage_sent() if "tag=seven" in x["query"]]
    assert [x["response_id"] for x in sent] == [r.id for r in responses]
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert sum(row[name] for row in rows) == sum(x["usage"][name] for x in sent), name
    audio_in = sum(x["usage"]["input_token_details"]["audio_tokens"] for x in sent)
    assert sum(row["input_audio_tokens"] for row in rows) == audio_in > 0

    total = sum(row["total_tokens"] for row in rows)
    account = cluster.accountctl("account", "show", "seven")
    assert total > 150, "the test means to use up the top-up"
    assert account["topup_remaining"] == 0
    assert account["token_remaining"] == 100_150 - total
    assert sum(row["topup_deducted"] for row in rows) == 150
    assert sum(row["token_deducted"] for row in rows) == total - 150
    assert cluster.audit()["ok"]


async def test_twenty_responses_make_four_rows(cluster: Cluster) -> None:
    """Usage travels in batches of five."""
    key = cluster.create_account("twenty")
    async with connect(cluster, key) as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        for _ in range(20):
            await text_turn(connection)
    rows = eventually(lambda: (r := cluster.usage_rows("twenty")) and len(r) >= 4 and r)
    assert [row["responses"] for row in rows] == [5, 5, 5, 5]


async def test_server_vad_starts_the_response(cluster: Cluster) -> None:
    """Speech and silence alone make a turn, as with a real microphone."""
    key = cluster.create_account("vad")
    async with connect(cluster, key) as connection:
        await until(connection, "session.created")
        await say(connection, silence(0.2) + tone(1.0) + silence(1.0))
        events = await until(connection, "response.done")
    types = [event.type for event in events]
    assert types.index("input_audio_buffer.speech_started") < types.index("response.created")
    (row,) = eventually(lambda: cluster.usage_rows("vad"))
    assert row["total_tokens"] == events[-1].response.usage.total_tokens


async def test_a_cancelled_response_is_charged(cluster: Cluster) -> None:
    """What was generated before the cancel is billed by the provider, so it is charged."""
    key = cluster.create_account("cancel")
    async with connect(cluster, key, pace="2.5", reply_ms="60000") as connection:
        await connection.session.update(session=MANUAL)
        await connection.response.create()
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        response = (await until(connection, "response.done"))[-1].response
    assert response.status == "cancelled"
    (row,) = eventually(lambda: cluster.usage_rows("cancel"))
    assert row["total_tokens"] == response.usage.total_tokens > 0


async def text_turn(connection: AsyncRealtimeConnection) -> Any:
    """One question and its answer in text."""
    content: Any = [{"type": "input_text", "text": "How are you?"}]
    await connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": content}
    )
    await connection.response.create()
    return (await until(connection, "response.done"))[-1].response


@pytest.mark.parametrize("where", ["subprotocol", "rs_key", "header"])
async def test_the_original_url_and_other_key_places_work(cluster: Cluster, where: str) -> None:
    """The original system's URL, a browser's subprotocols and a plain header let a client in."""
    key = cluster.create_account(f"place-{where}")
    url = f"ws://{cluster.address}"
    arguments: dict[str, Any] = {
        "subprotocol": {
            "uri": f"{url}/v1/realtime?model=gpt-realtime",
            "subprotocols": ["realtime", f"openai-insecure-api-key.{key}"],
        },
        "rs_key": {"uri": f"{url}/?rs_key={key}&rs_sessid=orig&rs_api=OPENAI"},
        "header": {
            "uri": f"{url}//t/acme/v1/realtime?model=gpt-realtime",
            "additional_headers": {"api-key": key, "OpenAI-Beta": "realtime=v1"},
        },
    }[where]
    async with plain(**arguments) as socket:
        assert '"type":"session.created"' in str(await socket.recv())
        assert socket.subprotocol == ("realtime" if where == "subprotocol" else None)
