"""Scripts of what providers and clients say in a session, with the exact charge beside each.

A script is a list of steps in order, because order matters; the tables are in ``golden_openai`` and
``golden_gemini``. They are shaped like the real traffic and written by hand. ``play`` runs one
through the scanner of frames and the meter, as a gateway does.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.metering.base import Meter, Metered, MeterResult, Unreadable
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.translation import TranslationMeter
from shared.usage import Kind, Usage

Event = dict[str, Any]

_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_PRETTY = json.JSONEncoder(indent=2, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One message. ``is_binary`` is the opcode; ``raw`` is sent instead of ``event`` if given."""

    event: Event = field(default_factory=dict)
    is_client: bool = False
    is_binary: bool = False
    raw: bytes | None = None

    def text(self, spell: Callable[[Event], bytes] | None = None) -> bytes:
        """The message's bytes."""
        if self.raw is not None:
            return self.raw
        return (spell or compact)(self.event)


@dataclass(frozen=True, slots=True)
class Script:
    """A session and what it costs. ``shape`` names the SDK types that its messages satisfy."""

    name: str
    shape: str  # ga, beta, live, translation, gemini; xai: by fields; odd: no SDK would take it
    model: str | None  # that the client asks for; None: its first message says (GPT-Live)
    steps: tuple[Step, ...]
    expected: tuple[MeterResult, ...] = ()

    def meter(self) -> Meter:
        """A meter for the session."""
        if self.is_gemini:
            return GeminiMeter(model="")
        if self.model is None:
            return LiveMeter()
        if self.shape == "translation":
            return TranslationMeter(model=self.model)
        return OpenAIMeter(model=self.model, bills_seconds=self.shape == "xai")

    @property
    def is_gemini(self) -> bool:
        """Whether the provider is Gemini."""
        return self.steps[0].is_client


def compact(event: Event) -> bytes:
    """JSON as OpenAI and xAI write it."""
    return _COMPACT.encode(event).encode()


def pretty(event: Event) -> bytes:
    """JSON as Gemini writes it."""
    return _PRETTY.encode(event).encode() + b"\n"


def charge(
    response_id: str,
    model: str,
    tokens: tuple[int, int, int] = (0, 0, 0),
    *,
    into: tuple[int, int, int, int] = (0, 0, 0, 0),
    out: tuple[int, int, int] = (0, 0, 0),
    cached: tuple[int, int, int] = (0, 0, 0),
    kind: Kind = Kind.RESPONSE,
    ms: int = 0,
    written: int = 0,
    pieces: tuple[int, int, int] = (0, 0, 0),
    raw: Any = None,
) -> Metered:
    """A charge: ``tokens`` are input, output and total; ``into`` are text, audio, image and cached
    input; ``out`` are text, audio and thoughts; ``cached`` are text, audio and image,
    ``written`` cache writes, ``pieces`` are searches of the web, grounding queries and tool calls.
    """
    usage = Usage(*tokens, *into, *out, ms, *cached, written, *pieces)
    return Metered(response_id, model, usage, kind=kind, raw=json.dumps(raw) if raw else "")


def strange(response_id: str, model: str, usage: Any) -> Unreadable:
    """A quarantined usage; what the detail says is not compared."""
    return Unreadable(response_id, model, "", json.dumps(usage))


def play(
    script: Script,
    *,
    steps: Iterable[Step] | None = None,
    spell: Callable[[Event], bytes] | None = None,
    cut: Callable[[bytes], Sequence[int]] | None = None,
    finish: bool = True,
    skims: bool = True,
) -> list[MeterResult]:
    """What the meter finds in the session, at its end included.

    ``cut`` tells where a message is cut into fragments; pings stand between them. With ``skims`` a
    message in one frame is shown to ``skim`` first, as the relay does.
    """
    meter = script.meter()
    scanners = {True: FrameScanner(expects_mask=True), False: FrameScanner(expects_mask=False)}
    found: list[MeterResult] = []
    for step in script.steps if steps is None else steps:
        message = step.text(spell or (pretty if script.is_gemini and not step.is_client else None))
        stream = framed(message, step, cut(message) if cut is not None else ())
        for frame in scanners[step.is_client].feed(stream):
            if frame.is_control:
                continue
            skim = meter.skim_client if step.is_client else meter.skim
            observe = meter.observe_client if step.is_client else meter.observe
            is_whole = frame.is_final and not frame.continues
            if not (skims and is_whole and skim(frame.raw, frame.span)):
                found += observe(frame)
    assert scanners[True].violation is scanners[False].violation is None
    return found + (meter.finish() if finish else [])


def framed(message: bytes, step: Step, cuts: Sequence[int]) -> bytes:
    """The message in frames, with a ping after each fragment but the last."""
    edges = [0, *sorted(cuts), len(message)]
    frames = []
    for index, (start, end) in enumerate(itertools.pairwise(edges)):
        is_last = index == len(edges) - 2
        opcode = Opcode.CONT if index else Opcode.BINARY if step.is_binary else Opcode.TEXT
        frames.append(WireFrame(opcode, message[start:end], fin=is_last))
        if not is_last:
            frames.append(WireFrame(Opcode.PING, b"\x00turnComplete"))
    return b"".join(frame.serialize(mask=step.is_client) for frame in frames)


def normal(found: Iterable[MeterResult]) -> list[tuple[object, ...]]:
    """Findings in a form that can be compared: without the words of a detail or the order of keys.

    ``raw`` is JSON text, or what there was of a message that is none.
    """
    return [
        (type(one).__name__, one.response_id, one.model, _parsed(one.raw))
        + ((one.kind, one.usage) if isinstance(one, Metered) else ())
        for one in found
    ]


def _parsed(raw: str) -> object:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw
