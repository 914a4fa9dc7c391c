"""Any value in any place of a client's message is survived, whatever the dialect."""

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from simulator.beta_dialect import BetaDialect
from simulator.dialect import Dialect
from simulator.faults import Faults
from simulator.gemini_session import GeminiSession
from simulator.generation import Pace
from simulator.live_session import LiveSession
from simulator.openai_events import Event, encode
from simulator.resumable_conversations import Memory
from simulator.session import Session
from simulator.session_effects import Outside
from simulator.xai import XaiDialect

VALUES: list[Any] = [
    None, True, 0, -1, 5, 10**30, 0.5, 1e308, "", "a", "A" * 300, "AAA", "é", [], [5], [None],
    [[]], [{}], {}, {"a": 5}, {"type": None}, {"role": 5}, {"parts": 5}, {"parts": [5]},
]  # fmt: skip
PCM = "AAAA" * 3200
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}
FLAT = {
    "modalities": ["text", "audio"], "voice": "sage", "input_audio_format": "pcm16",
    "output_audio_format": "pcm16", "turn_detection": {"type": "server_vad"}, "speed": 1.0,
    "input_audio_transcription": {"model": "whisper-1"}, "tools": [TOOL], "temperature": 0.8,
    "max_response_output_tokens": "inf", "audio": {"input": {}},
}  # fmt: skip
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]}
RESPONSE = {"modalities": ["text"], "voice": "sage", "output_audio_format": "pcm16"}
BETA: list[Event] = [
    {"type": "session.update", "session": FLAT},
    {"type": "conversation.item.create", "item": ITEM},
    {"type": "response.create", "response": RESPONSE},
]
BINARY = {"transport": "binary"}
XAI: list[Event] = [
    {
        "type": "session.update",
        "session": {
            "audio": {"input": BINARY, "output": BINARY}, "resumption": {"enabled": True},
        },
    },
]  # fmt: skip
LIVE: list[Event] = [
    {
        "type": "session.start",
        "session": {
            "model": "m", "audio": {"format": {"type": "audio/pcm", "rate": 16_000}},
            "delegation": {"type": "responses", "responses": {"model": "gpt-5"}},
        },
    },
    {"type": "session.input_audio.append", "audio": PCM},
    {"type": "session.update", "session": {"delegation": {"type": "client"}}},
    {"type": "session.close"},
]  # fmt: skip
BLOB = {"data": PCM, "mimeType": "audio/pcm;rate=16000"}
PARTS = [{"text": "hello"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
SETUP: Event = {
    "model": "models/m", "systemInstruction": {"parts": PARTS}, "tools": [
        {"functionDeclarations": [{"name": "weather"}]},
    ],
    "generationConfig": {
        "responseModalities": ["TEXT"], "maxOutputTokens": 50,
        "thinkingConfig": {"thinkingBudget": 0},
    },
    "realtimeInputConfig": {
        "automaticActivityDetection": {
            "disabled": False, "prefixPaddingMs": 20, "silenceDurationMs": 100,
        },
        "activityHandling": "NO_INTERRUPTION",
    },
    "sessionResumption": {"handle": ""}, "inputAudioTranscription": {},
}  # fmt: skip
GEMINI: list[Event] = [
    {"setup": SETUP},
    {
        "clientContent": {
            "turns": [
                {"role": "model", "parts": [{"functionCall": {"id": "i", "name": "n"}}]},
                {"role": "user", "parts": PARTS},
            ],
            "turnComplete": True,
        }
    },
    {"realtimeInput": {"audio": BLOB, "video": BLOB, "mediaChunks": [BLOB], "text": "t"}},
    {"realtimeInput": {"activityStart": {}, "activityEnd": {}, "audioStreamEnd": True}},
    {"toolResponse": {"functionResponses": [{"id": "i", "name": "n", "response": {"a": 1}}]}},
    {"contextUpdate": {"systemInstruction": {"parts": [{"text": "x"}]}, "tools": {"tools": []}}},
]


def damaged(event: Event, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    value: Any = event
    for name in at:
        value = value[name]
    names = list(value) if isinstance(value, dict) else range(len(value))
    for name in names:
        yield (*at, name)
        if isinstance(value[name], dict | list):
            yield from damaged(event, (*at, name))


def with_value(event: Event, path: tuple[Any, ...], value: Any) -> Event:
    """The event with another value in one place."""
    changed = copy.deepcopy(event)
    holder: Any = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return changed


class Line:
    """A connection that records, and that is closed by hanging up."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.code: int | None = None

    async def send(self, message: Any) -> None:
        """Record what could be sent."""
        if not isinstance(message, bytes):
            encode(message).encode()
        self.sent.append(message)

    async def hang_up(self, code: int, reason: str = "") -> None:
        """A reason must fit into a close frame."""
        assert len(reason.encode()) <= 123
        self.code = code


def outside(line: Line) -> Outside:
    """The line, and logs that take anything that is JSON."""
    return Outside(line.send, line.hang_up, lambda: True, json.dumps, json.dumps, lambda _: None)


def openai(line: Line, dialect: Dialect) -> Session:
    """A session of the OpenAI family."""
    to = outside(line)
    return Session(
        model="m", pace=Pace(0, 100), faults=Faults(), send=to.send, hang_up=to.hang_up,
        log_usage=to.log_usage, log_abandoned=to.log_abandoned, on_audio=to.on_audio,
        session_id="s", dialect=dialect,
    )  # fmt: skip


def make(name: str, line: Line) -> Session | GeminiSession | LiveSession:
    """A session of a dialect."""
    if name in ("beta", "xai"):
        return openai(line, BetaDialect() if name == "beta" else XaiDialect())
    configured = (Faults(), Pace(0, 100))
    if name == "live":
        return LiveSession(configure=lambda _: configured, outside=outside(line), session_id="s")
    return GeminiSession(
        configure=lambda _: configured, memory=Memory(), is_vertex=False, outside=outside(line),
        session_id="s",
    )  # fmt: skip


PLACES = [
    (name, number, path)
    for name, events in (("beta", BETA), ("xai", XAI), ("live", LIVE), ("gemini", GEMINI))
    for number, event in enumerate(events)
    for path in damaged(event)
]
EVENTS = {"beta": BETA, "xai": XAI, "live": LIVE, "gemini": GEMINI}


def play(name: str, *messages: Event) -> Line:
    """A session from its first message to its end; nothing may escape from it."""
    line = Line()

    async def run() -> None:
        session = make(name, line)
        await session.open()
        for message in messages:
            if line.code is None:
                await session.receive(json.dumps(message))
                for _ in range(5):
                    await asyncio.sleep(0)
        await session.close()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run())
    assert logs == []
    return line


@pytest.mark.parametrize("name", EVENTS)
def test_the_templates_are_right(name: str) -> None:
    """Undamaged, they are served: otherwise the test below would try nothing."""
    line = play(name, *EVENTS[name])
    assert line.code in (None, 1000)
    assert not [m for m in line.sent if isinstance(m, dict) and m.get("type") == "error"]


@pytest.mark.parametrize(("name", "number", "path"), PLACES, ids=str)
def test_any_value_in_any_place_is_survived(name: str, number: int, path: tuple[Any, ...]) -> None:
    """Served, answered with an error, or closed for the client's mistake."""
    for value in VALUES:
        events = list(EVENTS[name])
        events[number] = with_value(events[number], path, value)
        line = play(name, *events)
        assert line.code in (None, 1000, 1007, 1008), (value, line.code)
