"""Frames for a meter, as the relay would hand them to it, and what the meter finds in them."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.base import Metered, MeterResult, Unreadable
from gateway.metering.batching import BillingContext
from gateway.metering.openai.meter import OpenAIMeter
from shared.fields import MESSAGE_BYTES_MAX
from shared.usage import InvalidUsage, UsageBatch
from shared.wire import decode_usage, encode_usage

SESSION = BillingContext("acct", "sess", "provider")
SECOND = base64.b64encode(bytes(48_000)).decode()


def frame(event: dict[str, Any] | bytes, *, mask: bool) -> Frame:
    """One message as the gateway sees it."""
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    wire = WireFrame(Opcode.TEXT, payload).serialize(mask=mask)
    (found,) = FrameScanner(expects_mask=mask).feed(wire)
    return found


def text(event: dict[str, Any] | bytes) -> Frame:
    """A message of the provider's."""
    return frame(event, mask=False)


def said(event: dict[str, Any] | bytes) -> Frame:
    """A message of the client's."""
    return frame(event, mask=True)


def in_pieces(message: bytes, size: int, *, mask: bool) -> list[Frame]:
    """A message in fragments of so many bytes."""
    cuts = range(0, len(message), size)
    return [
        replace(
            frame(message[at : at + size], mask=mask),
            opcode=Opcode.CONT if at else Opcode.TEXT,
            is_final=at == cuts[-1],
        )
        for at in cuts
    ]


def hear(meter: OpenAIMeter, kind: str, **fields: Any) -> list[Metered | Unreadable]:
    """What the meter finds in an event of the provider's."""
    return list(meter.observe(frame({"type": kind, **fields}, mask=False)))


def say(
    meter: OpenAIMeter, seconds: int, kind: str = "input_audio_buffer.append"
) -> list[Metered | Unreadable]:
    """What the meter finds in so many seconds of the client's audio, a second in each message."""
    second = frame({"type": kind, "audio": SECOND}, mask=True)
    return [found for _ in range(seconds) for found in meter.observe_client(second)]


def say_on_the_telephone(meter: OpenAIMeter, kind: str) -> None:
    """Twenty seconds of G.711: eight thousand bytes each."""
    chunk = base64.b64encode(bytes(8_000)).decode()
    for _ in range(20):
        meter.observe_client(said({"type": kind, "audio": chunk}))


def the_one(found: Sequence[MeterResult]) -> MeterResult | None:
    """The only result of a frame, or None; more than one fails the test."""
    assert len(found) <= 1, found
    return found[0] if found else None


def survives_the_wire(found: Sequence[MeterResult]) -> None:
    """Whatever was found fits into a message for accountd, and comes out as it went in."""
    for one in found:
        message: UsageBatch | InvalidUsage
        if isinstance(one, Metered):
            message = SESSION.as_batch(one, wall_ms=1)
        else:
            message = InvalidUsage(
                "acct", "sess", "provider", one.model, one.response_id, one.detail, one.raw, 1
            )
        payload = encode_usage(message)
        assert len(payload) < MESSAGE_BYTES_MAX - 24
        assert decode_usage(payload) == message
