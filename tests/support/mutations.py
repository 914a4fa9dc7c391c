"""Other ways to say the same thing, and ways to say nonsense: mutations of golden sessions.

Everything random comes from one ``random.Random``, so that a seed replays a variant.
"""

import copy
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from tests.support.golden import Event, Script, Step, compact

# What an unknown field may hold: among it whole events, which are none where they stand.
UNKNOWN: list[Any] = [
    None, True, -1, 0.5, "", "\\u0022", [], {}, [[{}]], "response.done",
    '{"type":"response.done","response":{"usage":{"total_tokens":5}}}',
    {"type": "response.done", "response": {"id": "r", "usage": {"total_tokens": 5}}},
    {"usage": {"input_tokens": 5}, "type": "session.closed"},
    {"usageMetadata": {"promptTokenCount": 5}, "serverContent": {"turnComplete": True}},
]  # fmt: skip

_QUOTED = {"type": "response.done", "response": {"id": "resp_q", "usage": {"total_tokens": 7}}}
_QUOTED_TURN = {"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 7}}
# Messages that quote an event, as text and as an object. They cost nothing.
OPENAI_QUOTES: list[Event] = [
    {"type": "response.output_audio_transcript.delta", "delta": json.dumps(_QUOTED)},
    {"type": "response.function_call_arguments.done", "arguments": json.dumps(_QUOTED)},
    {"type": "conversation.item.added", "item": {"type": "message", "quoted": _QUOTED}},
    {"type": "response.event", "event": _QUOTED},
    {"type": "response.output_item.done", "item": {"arguments": json.dumps(json.dumps(_QUOTED))}},
    {"type": "error", "error": {"code": "response.done", "message": json.dumps(_QUOTED)}},
    {"event": _QUOTED, "types": "response.done"},
]
GEMINI_QUOTES: list[Event] = [
    {"serverContent": {"inputTranscription": {"text": json.dumps(_QUOTED_TURN)}}},
    {"serverContent": {"inputTranscription": {"text": "", **_QUOTED_TURN}}},
    {"sessionResumptionUpdate": {"newHandle": json.dumps(_QUOTED_TURN), **_QUOTED_TURN}},
    {"goAway": {"timeLeft": "50s", "usageMetadata": {"promptTokenCount": 7}}},
    {"turnComplete": True},
]

# The counts that are read. Nonsense in any of them quarantines the usage.
_COUNTS = frozenset(
    {"input_tokens", "output_tokens", "total_tokens", "text_tokens", "audio_tokens",
     "image_tokens", "cached_tokens", "reasoning_tokens", "promptTokenCount", "responseTokenCount",
     "candidatesTokenCount", "toolUsePromptTokenCount", "thoughtsTokenCount", "totalTokenCount",
     "cachedContentTokenCount", "tokenCount"}
)  # fmt: skip
NONSENSE: list[Any] = [
    1.5, 7.0, -1, -(10**30), 10**8, 10**18, 10**400, "12", "", True, False, [], [3], {},
    float("nan"), float("inf"), -float("inf"),
]  # fmt: skip


# --- the same thing, spelled otherwise ------------------------------------------------------------


def spelled(event: Event, rng: random.Random) -> bytes:
    """The event in another order, spacing and escaping."""
    colon, comma = rng.choice([(":", ","), (": ", ", "), (" :\t", "\r\n,\n  "), (":\n", " ,")])
    text = _Speller(rng, colon, comma).write(event)
    return (rng.choice(["", " ", "\n\t"]) + text + rng.choice(["", "\n"])).encode()


class _Speller:
    """Writes JSON. Some writers escape a letter of most texts, in names as well."""

    def __init__(self, rng: random.Random, colon: str, comma: str) -> None:
        self._rng = rng
        self._colon, self._comma = colon, comma
        self._is_shuffled = rng.random() < 0.5
        self._escapes = rng.choice([0.0, 0.0, 0.1, 0.9])
        self._encode = rng.choice([encode_basestring, encode_basestring_ascii])

    def write(self, value: Any) -> str:
        if not self._is_shuffled and not self._escapes:
            return json.dumps(value, separators=(self._comma, self._colon))
        if isinstance(value, dict):
            items = list(value.items())
            if self._is_shuffled:
                self._rng.shuffle(items)
            inner = (self._text(n) + self._colon + self.write(v) for n, v in items)
            return "{" + self._comma.join(inner) + "}"
        if isinstance(value, list):
            return "[" + self._comma.join(map(self.write, value)) + "]"
        return self._text(value) if isinstance(value, str) else json.dumps(value)

    def _text(self, value: str) -> str:
        if self._escapes and value.isalnum() and self._rng.random() < self._escapes:
            at = self._rng.randrange(len(value))
            return f'"{value[:at]}\\u{ord(value[at]):04x}{value[at + 1 :]}"'
        written = self._encode(value)
        if self._escapes and "e" in written and self._rng.random() < self._escapes:
            return written.replace("e", rng_case(self._rng), 1)
        return written


def rng_case(rng: random.Random) -> str:
    """An e, escaped: the digits of an escape have either case, which 65 does not show."""
    return rng.choice(["\\u0065", "\\u0065", "e"])


def grown(steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """The steps with unknown fields anywhere. Equal usages grow equally: they are repetitions."""
    memory: dict[bytes, Any] = {}

    def grow(value: Any) -> Any:
        if isinstance(value, list):
            return [grow(one) for one in value]
        if not isinstance(value, dict) or not value:
            return value
        key = compact(value)
        if key not in memory:
            items = [(n, grow(v)) for n, v in value.items()]
            if rng.random() < 0.5:
                at = rng.randrange(len(items) + 1)
                items.insert(at, (f"x_{rng.randrange(9)}", rng.choice(UNKNOWN)))
            memory[key] = dict(items)
        return memory[key]

    return [step if step.raw is not None else replace(step, event=grow(step.event))
            for step in steps]  # fmt: skip


def repeated(steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """The steps, some of the server's events twice or three times in a row."""
    times = [1 if step.is_client or step.raw else rng.choice([1, 1, 1, 2, 3]) for step in steps]
    return [step for step, count in zip(steps, times, strict=True) for _ in range(count)]


def quoting(script: Script, steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """The steps, with quotations of events between them."""
    quotes = GEMINI_QUOTES if script.is_gemini else OPENAI_QUOTES
    found = list(steps)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(script.is_gemini, len(found) + 1)
        found.insert(at, Step(rng.choice(quotes), is_binary=script.is_gemini))
    return found


# --- nonsense -------------------------------------------------------------------------------------


def count_places(steps: Sequence[Step]) -> list[tuple[int, tuple[Any, ...]]]:
    """Where counts stand: the step, and the path in its event."""
    return [(at, path) for at, step in enumerate(steps) if not step.is_client
            for path in _counts(step.event)]  # fmt: skip


def with_nonsense(steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """The steps with one count of one usage replaced."""
    at, path = rng.choice(count_places(steps))
    event = copy.deepcopy(steps[at].event)
    parent: Any = event
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = rng.choice(NONSENSE)
    return [*steps[:at], replace(steps[at], event=event), *steps[at + 1 :]]


def _counts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where counts stand."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from _counts(inner, (*path, name))
        elif name in _COUNTS and type(inner) is int:
            yield (*path, name)


def harmless(message: bytes, rng: random.Random) -> bytes:
    """The message with a byte or a text in it that is no reason not to read it."""
    match rng.randrange(3):
        case 0:
            return b"\xef\xbb\xbf" + message
        case 1:
            return _inserted(message, rb'"x_":"\ud800 \udfff\ud83d"')
        case _:
            depth = rng.randrange(1, 200)
            return _inserted(message, b'"x_":' + b'{"a":[' * depth + b"]}" * depth)


def damaged(message: bytes, rng: random.Random) -> bytes:
    """The message in a state in which it may not be readable."""
    match rng.randrange(6):
        case 0 | 1:
            return message[: rng.randrange(len(message))]
        case 2:
            depth = rng.randrange(300, 3000)
            return _inserted(message, b'"x_":' + b"[" * depth + b"]" * depth)
        case 3:
            at = rng.randrange(len(message))
            return message[:at] + rng.choice([b"\x00", b"\xff"]) + message[at:]
        case 4:
            return _inserted(message, b'"x_":' + b"9" * 5000)
        case _:
            return message + rng.choice([b"}", b"{}", b",", message])


def _inserted(message: bytes, field: bytes) -> bytes:
    """The message with one more field at its end; with nothing changed if it is no object."""
    body = message.rstrip()
    if not body.endswith(b"}"):
        return message
    inner = body[:-1]
    return inner + (b"" if inner.rstrip().endswith(b"{") else b",") + field + b"}"
