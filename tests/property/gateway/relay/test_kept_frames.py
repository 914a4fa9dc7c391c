"""So long as a provider stays, a kept session is a spliced one: byte for byte, and charge for
charge, however its bytes arrive.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard
from gateway.metering.base import Meter
from gateway.metering.batching import BillingContext
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.usage_recorder import Recorder
from gateway.relay.kept_splice import KeptSplice
from gateway.relay.sinks import DownstreamForwarder, UpstreamForwarder
from gateway.translate.kept.keeper import Keeper
from gateway.translate.kept.keeping import Keeping
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from shared.usage import UsageBatch
from tests.support.noting_sender import Happened, NotingSender
from tests.support.written_bytes import WrittenBytes

USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
ITEM = {"id": "item_1", "type": "message", "role": "user", "content": []}
SPEECH = "response.output_audio.delta"
FROM_PROVIDER: tuple[dict[str, Any], ...] = (
    {"type": SPEECH, "delta": "AAAA" * 400},
    {"type": SPEECH, "delta": "AAAA" * 4_000},
    {"event_id": "e", "type": SPEECH, "delta": "AAAA"},
    {"type": "session.created", "session": {"id": "sess_1", "model": "m"}},
    {"type": "session.updated", "session": {"id": "sess_2"}},
    {"type": "conversation.created", "conversation": {"id": "conv_1"}},
    {"type": "conversation.item.added", "item": ITEM},
    {"type": "conversation.item.done", "item": ITEM},
    {"type": "conversation.item.truncated", "item_id": "item_1"},
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.output_text.delta", "response_id": "resp_1", "delta": "Grüße"},
    {"type": "response.done", "response": {"id": "resp_1", "usage": USAGE}},
    {"type": "error", "error": {"code": None, "event_id": None, "message": "odd"}},
    {"type": "error", "error": {"code": ["odd"], "event_id": {"odd": 1}}},
    {"type": "input_audio_buffer.committed", "item_id": ["odd"]},
    {"type": "ping", "timestamp": 1},
    {"type": 7},
)  # fmt: skip
FROM_CLIENT: tuple[dict[str, Any], ...] = (
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 400},
    {"event_id": "e", "audio": "AAAA" * 400, "type": "input_audio_buffer.append"},
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 4_000},
    {"type": "input_audio_buffer.commit"},
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Grüße"}},
    {"type": "conversation.item.create", "item": ITEM, "previous_item_id": "root"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0},
    {"type": "conversation.item.truncate", "item_id": {"odd": 1}},
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": ["odd"]},
    {"type": "odd"},
)
SPOKEN = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA" * 400}}
COUNTS = {"promptTokenCount": 3, "responseTokenCount": 2, "totalTokenCount": 5}
FROM_GEMINI: tuple[dict[str, Any], ...] = (
    {"serverContent": {"modelTurn": {"parts": [SPOKEN]}}},
    {"serverContent": {"modelTurn": {"parts": [SPOKEN, SPOKEN]}}},
    {"serverContent": {"modelTurn": {"parts": [{"text": "Grüße", "thought": True}]}}},
    {"server_content": {"model_turn": {"parts": [{"text": "Grüße"}, 7]}}},
    {"serverContent": {"outputTranscription": {"text": "Grüße"}}},
    {"serverContent": {"inputTranscription": {"text": ["odd"]}, "interrupted": True}},
    {"serverContent": {"generationComplete": True}},
    {"serverContent": {"turnComplete": True}, "usageMetadata": COUNTS},
    {"serverContent": {"turnComplete": True, "interactionStatus": "IN_PROGRESS"}},
    {"serverContent": ["odd"]},
    {"usageMetadata": COUNTS},
    {"setupComplete": {}},
    {"toolCall": {"functionCalls": [{"id": "c1", "name": "f", "args": {}}, {"id": ["odd"]}]}},
    {"toolCallCancellation": {"ids": ["c1", {"odd": 1}]}},
    {"sessionResumptionUpdate": {"newHandle": "h1", "resumable": True}},
    {"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}},
)
HEARD = {"mimeType": "audio/pcm;rate=16000", "data": "AAAA" * 400}
OUTPUT = {"id": "c1", "name": "f", "response": {"a": 1}}
FROM_GEMINI_CLIENT: tuple[dict[str, Any], ...] = (
    {"setup": {"model": "models/m", "sessionResumption": {}, "systemInstruction": {"parts": 7}}},
    {"setup": {"model": "models/m", "session_resumption": {"handle": "h0"}}},
    {"setup": ["odd"]},
    {"realtimeInput": {"audio": HEARD}},
    {"realtime_input": {"media_chunks": [HEARD]}},
    {"realtimeInput": {"text": "Grüße"}},
    {"realtimeInput": {"activityStart": {}}},
    {"realtimeInput": {"activityEnd": {}}},
    {"clientContent": {"turns": [{"parts": [{"text": "Grüße"}]}], "turnComplete": True}},
    {"client_content": {"turns": [{"role": "odd", "parts": [{"inlineData": HEARD}]}]}},
    {"clientContent": {"turnComplete": False}},
    {"toolResponse": {"functionResponses": [OUTPUT]}},
    {"toolResponse": {"functionResponses": [{"id": ["odd"]}]}},
    {"contextUpdate": {"systemInstruction": {"parts": [{"text": "x"}]}, "tools": {"tools": []}}},
    {"odd": {}},
)


def _spelled(event: dict[str, Any], indent: int) -> bytes:
    compact = json.encode(event)
    return compact if indent < 0 else json.format(compact, indent=indent)


JUNK = st.sampled_from((b"", b"{", b"[1]", b'{"type"', b"[" * 3_000, b'{"type":"\\ud800"}'))
PARTS = st.lists(st.integers(0, 40), max_size=3)


def messages(events: Sequence[dict[str, Any]]) -> st.SearchStrategy[list[WireFrame]]:
    """A message as frames: an event as somebody spells it, junk, or raw audio; in parts or not."""
    spelled = st.builds(_spelled, st.sampled_from(events), st.sampled_from((-1, -1, 0, 2)))
    text = st.builds(_framed, st.just(Opcode.TEXT), spelled | spelled | JUNK, PARTS | st.just([]))
    return text | st.builds(_framed, st.just(Opcode.BINARY), st.binary(max_size=300), PARTS)


def _framed(opcode: Opcode, payload: bytes, sizes: list[int]) -> list[WireFrame]:
    parts, at = [], 0
    for size in sizes:
        parts.append(payload[at : at + size])
        at += size
    parts.append(payload[at:])
    return [
        WireFrame(opcode if n == 0 else Opcode.CONT, part, fin=n == len(parts) - 1)
        for n, part in enumerate(parts)
    ]


@st.composite
def streams(draw: st.DrawFn, events: Sequence[dict[str, Any]], *, is_client: bool) -> list[bytes]:
    """What one side sends, in reads of any size."""
    frames = [frame for found in draw(st.lists(messages(events), max_size=8)) for frame in found]
    whole = [frame.serialize(mask=is_client) for frame in frames]
    if draw(st.booleans()):  # each message in one read, as nearly always
        return whole
    stream, sizes = b"".join(whole), draw(st.lists(st.integers(1, 20_000), max_size=6))
    reads, at = [], 0
    for size in sizes:
        reads.append(stream[at : at + size])
        at += size
    return [read for read in (*reads, stream[at:]) if read]


class NoSpending:
    """Nothing is short."""

    is_near_empty = False

    def spend(self, single: UsageBatch) -> int:
        """See ``Spending``."""
        return single.total_tokens if hasattr(single, "total_tokens") else 0

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """See ``Spending``."""


class World:
    """A client and a provider, joined by the sinks of a session."""

    def __init__(self, keeper: Keeping | None, meter: Meter) -> None:
        self.happened: Happened = []
        sender = NotingSender(self.happened)
        self.recorder = Recorder(BillingContext("a", "s", "openai"), meter, sender, NoSpending())
        self.client = Connection(expects_mask=True, sink=Discard())
        self.provider = Connection(expects_mask=False, sink=Discard())
        self.to_client, self.to_provider = WrittenBytes(), WrittenBytes()
        self.client.connection_made(cast(asyncio.BaseTransport, self.to_client))
        self.provider.connection_made(cast(asyncio.BaseTransport, self.to_provider))
        if keeper is not None:
            splice = KeptSplice(
                keeper, self.recorder, self.client, gate=None, on_answer=_waited, on_end=_ended
            )
            splice.open()
            self.provider.sink = splice.provider_sink(on_metered=_nothing, on_close=_closed)
            self.client.sink = splice.client_sink(
                on_model_refused=_never, on_handle_named=_never, on_close=_closed
            )
            splice.provider_connected(self.provider)
        else:
            self.provider.sink = DownstreamForwarder(
                self.recorder, self.client, on_metered=_nothing, on_close=_closed
            )
            self.client.sink = UpstreamForwarder(
                self.recorder, self.provider, gate=None, on_model_refused=_never,
                on_handle_named=_never, on_close=_closed,
            )  # fmt: skip

    def outcome(self) -> tuple[bytes, bytes, Happened, dict[str, int]]:
        """What either side got, and what was charged."""
        self.recorder.finish()
        happened = [
            (what, *(name.partition(" ")[0] for name in names)) for what, *names in self.happened
        ]
        return (
            bytes(self.to_client.written), bytes(self.to_provider.written), happened,
            self.recorder.summary(),
        )  # fmt: skip


def _nothing() -> None:
    """Something was metered."""


def _ended(_is_failed: bool) -> None:
    """Nobody counts here."""


def _waited(_waited_s: float) -> None:
    """Somebody waited for an answer."""


def _never(_name: str) -> None:
    raise AssertionError


def _closed(_close: CloseEvent) -> None:
    raise AssertionError


async def _run(
    world: World, said: list[bytes], heard: list[bytes], order: list[bool], pauses: set[int]
) -> Any:
    left = {True: list(said), False: list(heard)}
    for at, is_client in enumerate(order):
        side = world.client if is_client else world.provider
        if at in pauses:
            side.pause(Pause.BACKPRESSURE)
        side.data_received(left[is_client].pop(0))
        side.resume(Pause.BACKPRESSURE)
    return world.outcome()


PAUSES = st.sets(st.integers(0, 12), max_size=3)


@settings(max_examples=150)
@given(
    streams(FROM_CLIENT, is_client=True), streams(FROM_PROVIDER, is_client=False), st.data(),
    PAUSES,
)  # fmt: skip
def test_nothing_is_changed(
    said: list[bytes], heard: list[bytes], data: st.DataObject, pauses: set[int]
) -> None:
    """In both directions, where frames wait in between as well."""
    order = data.draw(st.permutations([True] * len(said) + [False] * len(heard)))

    async def run(keeper: Keeping | None) -> Any:
        return await _run(World(keeper, OpenAIMeter(model="m")), said, heard, order, pauses)

    expected = asyncio.run(run(None))
    assert expected[:2] == (b"".join(heard), b"".join(said))
    assert asyncio.run(run(Keeper(seed="5eed"))) == expected


@settings(max_examples=150)
@given(
    streams(FROM_GEMINI_CLIENT, is_client=True), streams(FROM_GEMINI, is_client=False), st.data(),
    PAUSES,
)  # fmt: skip
def test_nothing_of_geminis_is_changed(
    said: list[bytes], heard: list[bytes], data: st.DataObject, pauses: set[int]
) -> None:
    """The same in Gemini's protocol, but for ``goAway``."""
    order = data.draw(st.permutations([True] * len(said) + [False] * len(heard)))

    async def run(keeper: Keeping | None) -> Any:
        return await _run(World(keeper, GeminiMeter(model="m")), said, heard, order, pauses)

    expected = asyncio.run(run(None))
    assert expected[:2] == (b"".join(heard), b"".join(said))
    assert asyncio.run(run(GeminiKeeper(seed="5eed"))) == expected
