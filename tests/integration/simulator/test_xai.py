"""xAI has no published types: the simulator is held to recorded fields, order and sizes."""

import base64

from tests.support.harness import Cluster
from tests.support.simulator_client import (
    CREATE,
    Event,
    answered,
    logged,
    order,
    refused,
    send,
    session,
    spoken,
    until,
)
from tests.support.speech import silence, tone

PATH = "/xai/v1/realtime"
TURN = silence(0.4) + tone(3.0) + silence(0.6)
# The fields of each event that a recording shows; those of the others are OpenAI's.
FIELDS = {
    "conversation.created": {"type", "event_id", "conversation"},
    "ping": {"type", "event_id", "timestamp"},
    "conversation.item.input_audio_transcription.updated": {
        "type", "event_id", "item_id", "content_index", "transcript",
    },
    "conversation.item.input_audio_transcription.completed": {
        "type", "event_id", "item_id", "content_index", "transcript",
    },
    "response.done": {
        "type", "event_id", "response", "response_id", "usage", "previous_item_id",
    },
}  # fmt: skip
USAGE = {
    "input_tokens", "input_token_details", "output_tokens", "output_token_details",
    "total_tokens", "output_audio_seconds", "billable_audio_seconds",
}  # fmt: skip


async def test_a_spoken_turn(provider: Cluster) -> None:
    """The recorded order and fields; transcripts come before the speech is over."""
    async with session(provider, PATH, model="grok-voice-latest", tag="turn") as socket:
        events = await spoken(socket, TURN, "response.done")
    transcription = "conversation.item.input_audio_transcription"
    assert order(
        events, "response.output_audio.delta", "response.output_audio_transcript.delta"
    ) == [
        "session.created",
        "conversation.created",
        "ping",
        "input_audio_buffer.speech_started",
        "conversation.item.added",
        f"{transcription}.updated",
        f"{transcription}.completed",
        f"{transcription}.updated",
        f"{transcription}.completed",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_audio.done",
        "response.output_item.done",
        "response.done",
    ]
    for event in events:
        assert set(event) == FIELDS.get(event["type"], set(event)), event["type"]
        assert "obfuscation" not in event


async def test_usage_is_at_the_top_level(provider: Cluster) -> None:
    """response.usage is {} in response.created and response.done; the log has the real one."""
    events = await answered(provider, PATH, tag="usage")
    done = events[-1]
    created = next(e for e in events if e["type"] == "response.created")
    assert created["response"]["usage"] == done["response"]["usage"] == {}
    assert done["response"]["status_details"] == "unimplemented"
    usage = done["usage"]
    assert set(usage) == USAGE
    assert set(usage["input_token_details"]) == {"text_tokens", "audio_tokens", "grok_tokens"}
    assert usage["output_audio_seconds"] == 2.0
    assert type(usage["billable_audio_seconds"]) is int
    (line,) = logged(provider, "usage")
    assert (line["provider"], line["usage"]) == ("xai", usage)
    assert line["charge"]["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_a_usage_that_is_missing_is_missing_at_the_top(provider: Cluster) -> None:
    """Faults reach the place where this provider keeps its usage."""
    for kind, expected in (("null", None), ("empty", {})):
        assert (await answered(provider, PATH, usage=kind))[-1]["usage"] == expected
    assert "usage" not in (await answered(provider, PATH, model="sim-usage-missing"))[-1]


async def test_deltas_are_bigger_and_the_first_is_small(provider: Cluster) -> None:
    """350 to 570 ms each, the first below 100."""
    events = await answered(provider, PATH, reply_ms="5000")
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    lengths_ms = [len(base64.b64decode(delta)) / 48 for delta in deltas]
    assert lengths_ms[0] < 100
    assert all(350 <= length <= 570 for length in lengths_ms[1:-1])
    assert sum(lengths_ms) == 5000


async def test_binary_audio_both_ways(provider: Cluster) -> None:
    """Raw frames in place of appends and deltas, when the session asks for them."""
    binary: Event = {"transport": "binary"}
    update = {"type": "session.update", "session": {"audio": {"input": binary, "output": binary}}}
    async with session(provider, PATH) as socket:
        await send(socket, update)
        await until(socket, "session.updated")
        for at in range(0, len(TURN), 4800):
            await socket.send(TURN[at : at + 4800])
        events = await until(socket, "response.done")
    heard = b"".join(event for event in events if isinstance(event, bytes))
    assert tone(3.0) in heard
    assert "response.output_audio.delta" not in order(events)


async def test_binary_frames_that_nobody_asked_for_are_no_audio(provider: Cluster) -> None:
    """Without the setting they are read as events, and are none."""
    async with session(provider, PATH) as socket:
        await socket.send(b"\x00\x01\x02")
        assert (await until(socket, "error"))[-1]["error"]["code"] == "invalid_json"


async def test_a_conversation_goes_on_in_another_session(provider: Cluster) -> None:
    """Its items are replayed as conversation.item.added, and are part of the next input."""
    update = {"type": "session.update", "session": {"resumption": {"enabled": True}}}
    async with session(provider, PATH) as socket:
        await send(socket, update, CREATE)
        events = await until(socket, "response.done")
    first = next(e for e in events if e["type"] == "conversation.created")["conversation"]["id"]
    async with session(provider, PATH, conversation_id=first) as socket:
        events = await until(socket, "ping")
        assert order(events) == [
            "session.created", "conversation.created", "conversation.item.added", "ping",
        ]  # fmt: skip
        assert events[1]["conversation"]["id"] == first
        await send(socket, CREATE)
        usage = (await until(socket, "response.done"))[-1]["usage"]
    assert usage["input_token_details"]["audio_tokens"] > 0


async def test_it_refuses_before_the_upgrade(provider: Cluster) -> None:
    """No key is 401."""
    assert await refused(provider, PATH) == 401
