"""The simulator is held to the official SDK's own types, and to the provider's order and sizes."""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.harness import Cluster, cluster_folder
from tests.support.simulator_client import Event, say, send, text_until_done, write
from tests.support.simulator_client import session as connected
from tests.support.speech import silence, tone

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)

TEXT = {"type": "realtime", "output_modalities": ["text"]}
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}


@pytest.fixture(scope="module")
def provider() -> Iterator[Cluster]:
    """A simulator on its own."""
    with cluster_folder() as cluster:
        simulator = cluster.start_simulator()
        yield cluster
        assert simulator.complaints() == []


def session(provider: Cluster, **query: str) -> AbstractAsyncContextManager[ClientConnection]:
    """A plain connection to the simulator."""
    return connected(provider, "/v1/realtime", **{"model": "gpt-realtime", **query})


async def until(socket: ClientConnection, *types: str) -> list[Event]:
    """All events up to one of the types; each one is valid by the SDK's own types."""
    seen = []
    async with asyncio.timeout(20):
        while True:
            event = json.loads(await socket.recv())
            check(event)
            seen.append(event)
            if event["type"] in types:
                return seen


def check(event: Event) -> None:
    """Validate one event, and that its type is one that the SDK knows."""
    parsed = SERVER_EVENT.validate_python(event)
    assert parsed.type == event["type"]
    assert event["event_id"].startswith("event_")


def update(settings: Event) -> Event:
    """A session.update."""
    return {"type": "session.update", "session": settings}


def types(events: list[Event]) -> list[str]:
    """The types in order, repeated deltas once."""
    found: list[str] = []
    for event in events:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


def heard(events: list[Event]) -> bytes:
    """The audio of all deltas."""
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta) for delta in deltas)


BAD_EVENTS = [
    {"type": "response.finished", "event_id": "event_1"},
    {"type": "response.done", "event_id": "event_1"},
    {"type": "response.output_audio.delta", "event_id": "event_1", "delta": "AA=="},
    {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": [{"name": "soup"}]},
]


@pytest.mark.parametrize("event", BAD_EVENTS)
def test_the_check_can_fail(event: Event) -> None:
    """Unknown types, missing fields and values outside the SDK's literals are noticed."""
    with pytest.raises((ValidationError, AssertionError)):
        check(event)


async def test_a_spoken_turn_with_server_vad(provider: Cluster) -> None:
    """The order of events is the recorded one, and the reply is the caller's own speech."""
    spoken = tone(1.0)
    async with session(provider) as socket:
        await send(socket, *say(silence(0.4) + spoken + silence(0.6)))
        events = await until(socket, "rate_limits.updated")
    order = types(events)
    for name in ("response.output_audio.delta", "response.output_audio_transcript.delta"):
        first = order.index(name)
        order = [x for i, x in enumerate(order) if x != name or i == first]
    assert order == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert spoken in heard(events)
    started = next(e for e in events if e["type"].endswith("speech_started"))
    assert 300 <= started["audio_start_ms"] <= 500


async def test_a_manual_turn_plays_back_byte_for_byte(provider: Cluster) -> None:
    """With turn detection off, commit and response.create make the turn."""
    async with session(provider) as socket:
        await send(socket, update(MANUAL), *say(tone(0.7)))
        await send(socket, {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
        events = await until(socket, "response.done")
    assert heard(events) == tone(0.7)
    assert not any("speech" in event["type"] for event in events)


SIZES = [
    ("session.created", 1_247),
    ("input_audio_buffer.committed", 145),
    ("response.created", 413),
    ("response.output_item.added", 253),
    ("response.content_part.added", 236),
    ("response.output_audio.done", 195),
    ("response.output_audio_transcript.delta", 251),
    ("response.output_audio.delta", 16_207),
    ("rate_limits.updated", 165),
    ("response.done", 960),
]


async def test_events_have_the_recorded_sizes(provider: Cluster) -> None:
    """The bytes on the wire are those of the real provider, within 15 %."""
    sizes: dict[str, int] = {}
    async with session(provider, reply_ms="3000") as socket:
        await send(socket, update(MANUAL), *say(tone(1.0)))
        await send(socket, {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
        while "rate_limits.updated" not in sizes:
            message = str(await socket.recv())
            sizes.setdefault(json.loads(message)["type"], len(message))
    wrong = {n: (sizes[n], s) for n, s in SIZES if not 0.85 * s <= sizes[n] <= 1.15 * s}
    assert wrong == {}


async def test_text_turns_and_growing_input(provider: Cluster) -> None:
    """Each response is billed for the whole conversation so far; cached input is a subset."""
    async with session(provider) as socket:
        await send(socket, update(TEXT))
        usages = []
        for _ in range(8):
            await send(socket, write("Tell me more about it, please. " * 3))
            await send(socket, {"type": "response.create"})
            usages.append((await until(socket, "response.done"))[-1]["response"]["usage"])
    inputs = [usage["input_tokens"] for usage in usages]
    assert inputs == sorted(set(inputs))
    for usage in usages:
        into, out = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == into["text_tokens"] + into["audio_tokens"]
        assert usage["output_tokens"] == out["text_tokens"] + out["audio_tokens"]
        assert into["cached_tokens"] <= usage["input_tokens"]
    assert usages[-1]["input_token_details"]["cached_tokens"] > 0


async def test_a_tool_call_and_its_answer(provider: Cluster) -> None:
    """A tool that the user names is called; its output makes the next response."""
    async with session(provider) as socket:
        await send(socket, update({**TEXT, "tools": [TOOL]}), write("What is the weather?"))
        await send(socket, {"type": "response.create"})
        events = await until(socket, "response.done")
        (call,) = events[-1]["response"]["output"]
        assert (call["type"], call["name"]) == ("function_call", "weather")
        deltas = [e["delta"] for e in events if e["type"].endswith("arguments.delta")]
        assert "".join(deltas) == call["arguments"]
        assert len(deltas) == 12
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "{}"}
        await send(socket, {"type": "conversation.item.create", "item": output})
        await send(socket, {"type": "response.create"})
        answer = (await until(socket, "response.done"))[-1]["response"]
    assert answer["output"][0]["type"] == "message"


async def test_cancel_and_barge_in_are_billed(provider: Cluster) -> None:
    """A response that is cut reports what was generated, and why it was cut."""
    async with session(provider, pace="2", reply_ms="60000") as socket:
        await send(socket, {"type": "response.create"})
        await until(socket, "response.output_audio.delta")
        await send(socket, {"type": "response.cancel"})
        cancelled = (await until(socket, "response.done"))[-1]["response"]
        await send(socket, {"type": "response.create"})
        await until(socket, "response.output_audio.delta")
        await send(socket, *say(tone(0.2)))
        events = await until(socket, "response.done")
    cut = events[-1]["response"]
    for response, reason in ((cancelled, "client_cancelled"), (cut, "turn_detected")):
        assert response["status"] == "cancelled"
        assert response["status_details"]["reason"] == reason
        assert 0 < response["usage"]["output_token_details"]["audio_tokens"] < 1200
    assert "input_audio_buffer.speech_started" in types(events)


async def test_a_token_limit_makes_it_incomplete(provider: Cluster) -> None:
    """max_output_tokens ends a response early."""
    async with session(provider, reply_ms="8000") as socket:
        await send(socket, {"type": "response.create", "response": {"max_output_tokens": 20}})
        response = (await until(socket, "response.done"))[-1]["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"]["reason"] == "max_output_tokens"


@pytest.mark.parametrize(
    ("model", "kind"), [("whisper-1", "duration"), ("gpt-4o-transcribe", "tokens")]
)
async def test_input_transcription_has_its_own_usage(
    provider: Cluster, model: str, kind: str
) -> None:
    """Both variants of transcription usage, logged as their own kind."""
    heard_by = {"input": {"turn_detection": None, "transcription": {"model": model}}}
    async with session(provider, tag=model) as socket:
        await send(socket, update({"type": "realtime", "audio": heard_by}), *say(tone(2.0)))
        await send(socket, {"type": "input_audio_buffer.commit"})
        name = "conversation.item.input_audio_transcription.completed"
        completed = (await until(socket, name))[-1]
    assert completed["usage"]["type"] == kind
    (logged,) = [x for x in provider.usage_sent() if f"tag={model}" in x["query"]]
    assert (logged["kind"], logged["usage"]) == ("transcription", completed["usage"])


ERRORS = [
    ({"type": "fly"}, "invalid_value"),
    ({"type": "response.cancel"}, "response_cancel_not_active"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
    ({"type": "input_audio_buffer.append", "audio": "%%"}, "invalid_value"),
    ({"type": "session.update"}, "missing_required_parameter"),
    ({"type": "input_audio_buffer.append", "audio": 5}, "invalid_value"),
    ({"type": "session.update", "session": None}, "invalid_value"),
    ({"type": "session.update", "session": {"output_modalities": 5}}, "invalid_value"),
    ({"type": "session.update", "session": {"tools": 7}}, "invalid_value"),
    ({"type": "session.update", "session": {"audio": {"input": None}}}, "invalid_value"),
    (
        {
            "type": "session.update",
            "session": {"audio": {"input": {"turn_detection": {"silence_duration_ms": "a"}}}},
        },
        "invalid_value",
    ),
    ({"type": "conversation.item.create"}, "missing_required_parameter"),
    ({"type": "conversation.item.create", "item": {}}, "missing_required_parameter"),
    (
        {"type": "conversation.item.create", "item": {"type": "message", "content": [5]}},
        "invalid_value",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "message", "id": ["a"]}},
        "invalid_value",
    ),
    ({"type": "response.create", "response": {"tools": 7}}, "invalid_value"),
    ({"type": "conversation.item.retrieve", "item_id": ["x"]}, "invalid_value"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id"),
]


async def test_mistakes_are_answered_and_survived(provider: Cluster) -> None:
    """Each mistake has the provider's code, names the client's event, and the session goes on."""
    async with session(provider) as socket:
        await until(socket, "session.created")
        for number, (event, code) in enumerate(ERRORS):
            await send(socket, {**event, "event_id": f"mine-{number}"})
            (answer,) = await until(socket, "error")
            assert answer["error"]["code"] == code
            assert answer["error"]["event_id"] == f"mine-{number}"
        await socket.send("not json")
        assert (await until(socket, "error"))[-1]["error"]["code"] == "invalid_json"
        await send(socket, update(TEXT))
        await until(socket, "session.updated")


async def test_refusals_are_the_providers_own(provider: Cluster) -> None:
    """No key closes with 3000, the beta header with 4000: after an error event."""
    assert provider.simulator is not None
    url = f"ws://{provider.simulator.field('listen')}/v1/realtime?model=m"
    beta = {"Authorization": "Bearer k", "OpenAI-Beta": "realtime=v1"}
    for headers, code, close in (
        ({}, "invalid_api_key", 3000),
        (beta, "beta_api_shape_disabled", 4000),
    ):
        async with connect(url, additional_headers=headers) as socket:
            assert json.loads(await socket.recv())["error"]["code"] == code
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        assert socket.close_code == close


async def test_the_log_is_what_was_sent(provider: Cluster) -> None:
    """300 sessions at once: every usage that a client received is in the log, and nothing else."""

    async def one(number: int) -> tuple[str, Event]:
        async with session(provider, tag="many", n=str(number)) as socket:
            await send(socket, update(TEXT), {"type": "response.create"})
            response = (await until(socket, "response.done"))[-1]["response"]
        return response["id"], response["usage"]

    received = dict(await asyncio.gather(*(one(n) for n in range(300))))
    logged = {
        x["response_id"]: x["usage"] for x in provider.usage_sent() if "tag=many" in x["query"]
    }
    assert logged == received
    assert len(logged) == 300


async def test_the_official_sdk_talks_to_it(provider: Cluster) -> None:
    """openai-python against the simulator itself, with nothing of ours between."""
    assert provider.simulator is not None
    client = AsyncOpenAI(
        api_key="sk-any", base_url=f"http://{provider.simulator.field('listen')}/v1"
    )
    async with client.realtime.connect(model="gpt-realtime", extra_query={"pace": "0"}) as it:
        await it.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await it.response.create()
        assert await text_until_done(it, "response.output_text.delta")
