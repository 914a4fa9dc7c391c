"""What a meter of the OpenAI family is told in tests."""

import base64
import json
from typing import Any

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frames import Frame, FrameScanner
from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.meter import OpenAIMeter

SECOND = base64.b64encode(bytes(48_000)).decode()


def frame(event: dict[str, Any], *, mask: bool) -> Frame:
    """One message as the gateway sees it."""
    wire = WireFrame(Opcode.TEXT, json.dumps(event).encode()).serialize(mask=mask)
    (found,) = FrameScanner(expects_mask=mask).feed(wire)
    return found


def hear(meter: OpenAIMeter, kind: str, **fields: Any) -> list[Metered | Unreadable]:
    """What the meter finds in an event of the provider's."""
    return list(meter.observe(frame({"type": kind, **fields}, mask=False)))


def say(
    meter: OpenAIMeter, seconds: int, kind: str = "input_audio_buffer.append"
) -> list[Metered | Unreadable]:
    """What the meter finds in so many seconds of the client's audio, a second in each message."""
    second = frame({"type": kind, "audio": SECOND}, mask=True)
    return [found for _ in range(seconds) for found in meter.observe_client(second)]
