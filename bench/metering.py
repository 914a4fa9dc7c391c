"""Measures how long a meter takes to observe one message of each kind.

Run it from the root of the project: ``.venv/bin/python -m bench.metering``. Messages have realistic
sizes; audio is random, in base64. Exit code 1 when the median of a message of audio is above 10 µs:
nearly all messages are audio.
"""

import base64
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from bench.report import Outcome, Scale, Table, at_most
from bench.scenarios import end_with
from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.base import Meter
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.meter import OpenAIMeter

BAR_US: Final = 10.0
ROUNDS: Final = 200
CALLS: Final = 100  # timed together, because reading the clock takes as long as some calls


@dataclass(frozen=True, slots=True)
class Case:
    """A message, and the function that is called with it. ``is_audio``: the 10 µs apply to it."""

    name: str
    action: Callable[[Frame], object]
    frame: Frame
    is_audio: bool = True


def audio(size: int) -> str:
    """``size`` random bytes in base64."""
    return base64.b64encode(os.urandom(size)).decode()


def frame_of(message: bytes, *, is_binary: bool = False, is_client: bool = False) -> Frame:
    """The message as the scanner of ``gateway.frame_scanner`` returns it."""
    opcode = Opcode.BINARY if is_binary else Opcode.TEXT
    stream = WireFrame(opcode, message).serialize(mask=is_client)
    (frame,) = FrameScanner(expects_mask=is_client).feed(stream)
    return frame


def compact(event: dict[str, Any]) -> bytes:
    """The event as compact JSON, as OpenAI sends it."""
    return json.dumps(event, separators=(",", ":")).encode()


def pretty(event: dict[str, Any]) -> bytes:
    """The event as pretty-printed JSON, as Gemini sends it."""
    return json.dumps(event, indent=2).encode() + b"\n"


def cases() -> list[Case]:
    """The messages to measure."""
    openai, gemini = OpenAIMeter(model="gpt-realtime"), GeminiMeter(model="gemini-live")
    setup = frame_of(compact({"setup": {"model": "models/gemini-live"}}), is_client=True)
    gemini.observe_client(setup)
    delta = {
        "type": "response.output_audio.delta", "event_id": "event_0123456789abcdef01234",
        "response_id": "resp_0123456789abcdef01234", "item_id": "item_0123456789abcdef01234",
        "output_index": 0, "content_index": 0, "delta": audio(12_000),
    }  # fmt: skip
    last_first = dict(reversed(delta.items()))
    append = {"type": "input_audio_buffer.append", "audio": audio(960)}
    blob = {"mimeType": "audio/pcm;rate=24000", "data": audio(9_600)}
    spoken = {"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}}}
    speech = {"realtimeInput": {"audio": {**blob, "data": audio(1_024)}}}
    usage = {
        "total_tokens": 230, "input_tokens": 52, "output_tokens": 178,
        "input_token_details": {"text_tokens": 20, "audio_tokens": 32, "cached_tokens": 0},
        "output_token_details": {"text_tokens": 34, "audio_tokens": 144},
    }  # fmt: skip
    response = {"id": "resp_1", "status": "completed", "output": [{"x": "y" * 600}], "usage": usage}
    ended = {
        "serverContent": {"turnComplete": True},
        "usageMetadata": {"promptTokenCount": 1185, "responseTokenCount": 51},
    }
    binary = {"is_binary": True}
    done = frame_of(compact({"type": "response.done", "response": response}))
    turn = frame_of(pretty(ended), **binary)
    return [
        Case("OpenAI, 16 kB of audio", relayed(openai), frame_of(compact(delta))),
        Case("OpenAI, its type last", relayed(openai), frame_of(compact(last_first)), False),
        Case("xAI, 16 kB of raw audio", relayed(openai), frame_of(b"\0" * 16_000, **binary)),
        Case(
            "OpenAI, 1.4 kB of a client", openai.observe_client,
            frame_of(compact(append), is_client=True),
        ),
        Case("Gemini, 13 kB of audio", relayed(gemini), frame_of(pretty(spoken), **binary)),
        Case(
            "Gemini, 1.4 kB of a client", gemini.observe_client,
            frame_of(compact(speech), is_client=True),
        ),
        Case(
            "OpenAI, response.done, repeated", relayed(openai),
            done, False,
        ),
        Case("OpenAI, response.done", fresh_done(openai, response), done, False),
        Case("Gemini, turnComplete and usage", fresh_turn(gemini, ended), turn, False),
    ]  # fmt: skip


def relayed(meter: Meter) -> Callable[[Frame], object]:
    """What the relay asks the meter of a frame that came alone."""
    return lambda frame: meter.skim(frame.raw, frame.span) or meter.observe(frame)


def fresh_done(meter: Meter, response: dict[str, Any]) -> Callable[[Frame], object]:
    """Observes responses that end, each with an id of its own."""
    frames = iter(
        [frame_of(compact({"type": "response.done", "response": {**response, "id": f"resp_{n}"}}))
         for n in range(30_000)]
    )  # fmt: skip
    observe = relayed(meter)
    return lambda _: observe(next(frames))


def fresh_turn(meter: Meter, ended: dict[str, Any]) -> Callable[[Frame], object]:
    """Observes turns that end, each with a prompt of its own."""
    frames = iter(
        [frame_of(pretty({**ended, "usageMetadata": {"promptTokenCount": n}}), is_binary=True)
         for n in range(1, 30_000)]
    )  # fmt: skip
    observe = relayed(meter)
    return lambda _: observe(next(frames))


def measure(scale: Scale) -> Outcome:
    """Measure the meters."""
    return outcome(rounds=scale.pick(ROUNDS, quick=2))


def outcome(*, rounds: int) -> Outcome:
    """Time each message, ``rounds`` times ``CALLS`` calls."""
    rows, slowest = [], 0.0
    for case in cases():
        taken = sorted(timed(case.action, case.frame) for _ in range(rounds))
        median, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
        slowest = max(slowest, median if case.is_audio else 0.0)
        rows.append((case.name, len(case.frame.raw), median, p99))
    title = "One message through its meter, µs"
    return Outcome(
        tables=(Table(title, ("message", "bytes", "median", "p99"), tuple(rows)),),
        bars=(at_most("slowest median of a message of audio, µs", slowest, BAR_US),),
    )


def timed(action: Callable[[Frame], object], frame: Frame) -> float:
    """The time of one call, in microseconds."""
    started = time.perf_counter_ns()
    for _ in range(CALLS):
        action(frame)
    return (time.perf_counter_ns() - started) / 1000 / CALLS


@click.command()
@click.option("--rounds", default=ROUNDS, show_default=True, help=f"Of {CALLS} calls, up to 299.")
def main(*, rounds: int) -> None:
    """Measure the meters."""
    end_with(outcome(rounds=rounds))


if __name__ == "__main__":
    main()
