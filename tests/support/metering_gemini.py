"""Messages for a meter of Gemini, as the relay would hand them to it, and what it finds in them."""

import base64
import json
from typing import Any

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.base import Metered, Unreadable
from gateway.metering.gemini.meter import GeminiMeter

USAGE = {"promptTokenCount": 7, "responseTokenCount": 2, "totalTokenCount": 9}


def frame(event: dict[str, Any], *, mask: bool) -> Frame:
    """One message as the gateway sees it; the server's are binary and pretty."""
    data = json.dumps(event, indent=None if mask else 2).encode()
    wire = WireFrame(Opcode.TEXT if mask else Opcode.BINARY, data).serialize(mask=mask)
    (found,) = FrameScanner(expects_mask=mask).feed(wire)
    return found


def hear(meter: GeminiMeter, **event: Any) -> list[Metered | Unreadable]:
    """What the meter finds in a message of the server's."""
    return list(meter.observe(frame(event, mask=False)))


def session(model: str = "models/gemini-3.8-live") -> GeminiMeter:
    """A session that was set up."""
    meter = GeminiMeter(model="")
    meter.observe_client(frame({"setup": {"model": model}}, mask=True))
    assert hear(meter, setupComplete={}) == []
    return meter


def say(
    meter: GeminiMeter, seconds: int, mime: str = "audio/pcm;rate=16000"
) -> list[Metered | Unreadable]:
    """What the meter finds in so many seconds of audio, a tenth of one in each message."""
    rate = int(mime.partition("=")[2] or 16_000)
    data = base64.b64encode(bytes(rate * 2 // 10)).decode()
    tenth = frame({"realtimeInput": {"audio": {"data": data, "mimeType": mime}}}, mask=True)
    return [found for _ in range(seconds * 10) for found in meter.observe_client(tenth)]


def counted(found: list[Any]) -> list[tuple[int, int]]:
    """Tokens and queries of each row."""
    return [(one.usage.total_tokens, one.usage.grounding_queries) for one in found]
