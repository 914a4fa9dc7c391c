"""Finds usage in what a provider sends, without parsing audio. Pure.

The meter sees every data frame of the provider before it is forwarded. Messages of the OpenAI
family start with ``{"type":"…"``: the type is read from the first bytes in constant time, and JSON
is parsed only for the few types that matter. A message that does not start so is searched for the
names that matter and parsed only on a hit. What is charged is read from the parsed object, never
from text positions.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.frames import Frame
from gateway.limits import RESPONSE_IDS_MAX
from shared.wire import ID_CHARS_MAX, RAW_USAGE_CHARS_MAX, TOKENS_PER_RESPONSE_MAX, Usage

_TYPE_BYTES_MAX: Final = 128  # how far into a message its type is looked for
_TYPE: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Za-z0-9_.]+)"')


@dataclass(frozen=True, slots=True)
class Started:
    """The provider began a response: until its usage arrives, it is in flight."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ModelNamed:
    """The provider said which model it really runs; that one is billed."""

    model: str


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """There was no response to cancel: nothing that the client asked for is under way any more."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A response ended. ``usage`` is what it cost, None when the provider reported none."""

    response_id: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Metered:
    """One response to charge, with the model that it was made by."""

    response_id: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A response ended with a usage that makes no sense: to quarantine, not to charge."""

    response_id: str
    model: str
    detail: str
    raw: str


Meaning = Started | ModelNamed | Finished | CancelRefused


class UnreadableUsageError(Exception):
    """The provider's usage object cannot be charged; the text says what was found."""

    def __init__(self, detail: str, *, response_id: str = "", raw: object = None) -> None:
        super().__init__(detail)
        self.response_id = response_id
        self.raw = raw


class Vocabulary(Protocol):
    """What a provider family calls things."""

    @property
    def metered_types(self) -> frozenset[bytes]:
        """Events that carry usage: one that cannot be parsed is quarantined."""

    @property
    def watched_types(self) -> frozenset[bytes]:
        """All events that ``read`` understands; a superset of ``metered_types``."""

    @property
    def audio_types(self) -> frozenset[bytes]:
        """Events that carry the reply's audio, which is most of their bytes."""

    def read(self, event: Mapping[str, Any]) -> Meaning | None:
        """The meaning of one event; raises ``UnreadableUsageError``."""

    def estimate(self, *, audio_bytes_in: int, audio_bytes_out: int) -> Usage:
        """What a response cost, judged by the bytes of audio events relayed for it."""


class Meter:
    """The meter of one session."""

    __slots__ = (
        "_audio_bytes_out", "_fragments", "_in_flight", "_metered_ids", "_needles", "_vocabulary",
        "cancels_refused", "model", "responses_finished",
    )  # fmt: skip

    def __init__(self, vocabulary: Vocabulary, *, model: str) -> None:
        """``model`` is what the client asked for, billed until the provider names its own."""
        self._vocabulary = vocabulary
        # A type may be spelled with \u escapes, so an escape is a reason to parse as well.
        self._needles = (*vocabulary.watched_types, rb"\u")
        self._fragments: list[bytes] | None = None
        self._in_flight: set[str] = set()
        self._metered_ids: dict[str, None] = {}
        self._audio_bytes_out = 0
        self.cancels_refused = 0
        self.responses_finished = 0
        self.model = model

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of responses that began and whose usage has not arrived."""
        return frozenset(self._in_flight)

    def observe(self, frame: Frame) -> Metered | Unreadable | None:
        """Look at one data frame of the provider, in order; what there is to charge by it."""
        if frame.is_final and not frame.continues:
            if self._is_irrelevant(frame.raw, frame.start):
                return None
            return self._read(frame.raw[frame.start :])
        return self._observe_fragment(frame)

    def give_up(self, *, audio_bytes_in: int) -> list[Metered]:
        """Estimates for the responses in flight, whose usage will never come.

        ``audio_bytes_in`` are the bytes that the client has sent since the last finished response.
        """
        given_up, self._in_flight = sorted(self._in_flight), set()
        estimates = []
        for response_id in given_up:
            if not self._is_repeated(response_id):
                usage = self._vocabulary.estimate(
                    audio_bytes_in=audio_bytes_in, audio_bytes_out=self._audio_bytes_out
                )
                estimates.append(Metered(response_id, self.model, usage))
            audio_bytes_in = self._audio_bytes_out = 0
        return estimates

    def _observe_fragment(self, frame: Frame) -> Metered | Unreadable | None:
        payload = frame.raw[frame.start :]
        if not frame.continues:
            self._fragments = [payload]
        elif self._fragments is not None:
            self._fragments.append(payload)
        if not frame.is_final:
            return None
        message, self._fragments = b"".join(self._fragments or ()), None
        return None if self._is_irrelevant(message, 0) else self._read(message)

    def _is_irrelevant(self, data: bytes, start: int) -> bool:
        found = _TYPE.match(data, start, start + _TYPE_BYTES_MAX)
        if found is not None:
            if found[1] in self._vocabulary.audio_types:
                self._audio_bytes_out += len(data) - start
            return found[1] not in self._vocabulary.watched_types
        return not any(needle in data for needle in self._needles)

    def _read(self, message: bytes) -> Metered | Unreadable | None:
        try:
            event = json.loads(message.decode())
        except (ValueError, RecursionError) as exc:
            return self._unparsable(message, type(exc).__name__)
        if not isinstance(event, dict):
            return None
        try:
            meaning = self._vocabulary.read(event)
        except UnreadableUsageError as exc:
            self._finish(exc.response_id)
            if self._is_repeated(exc.response_id):
                return None
            return Unreadable(exc.response_id, self.model, str(exc), _as_json(exc.raw))
        return self._apply(meaning)

    def _apply(self, meaning: Meaning | None) -> Metered | None:
        match meaning:
            case Started(response_id):
                self._in_flight.add(response_id)
                self._audio_bytes_out = 0
            case CancelRefused():
                self.cancels_refused += 1
            case ModelNamed(model):
                self.model = model
            case Finished(response_id, usage):
                self._finish(response_id)
                if usage is not None and not self._is_repeated(response_id):
                    return Metered(response_id, self.model, usage)
        return None

    def _finish(self, response_id: str) -> None:
        self._in_flight.discard(response_id)
        self.responses_finished += 1

    def _unparsable(self, message: bytes, detail: str) -> Unreadable | None:
        """A broken message is only worth keeping when it says that it carries usage."""
        found = _TYPE.match(message, 0, _TYPE_BYTES_MAX)
        if found is None or found[1] not in self._vocabulary.metered_types:
            return None
        raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
        return Unreadable("", self.model, f"not JSON: {detail}", raw)

    def _is_repeated(self, response_id: str) -> bool:
        """Whether this response was metered before; remembers it. One without an id never was."""
        if not response_id:
            return False
        if response_id in self._metered_ids:
            return True
        if len(self._metered_ids) >= RESPONSE_IDS_MAX:
            del self._metered_ids[next(iter(self._metered_ids))]
        self._metered_ids[response_id] = None
        return False


# --- for vocabularies: reading values that a peer wrote -------------------------------------------


def read_count(counts: Mapping[str, Any], name: str) -> int | None:
    """The token count ``name``; None when it is absent or null. Raises ``UnreadableUsageError``.

    A count is a real integer from 0 to 10,000,000: booleans, floats and text are refused, and
    nothing is clamped.
    """
    value = counts.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(
            f"{name}: found {_as_json(value)[:64]},"
            f" expected an integer from 0 to {TOKENS_PER_RESPONSE_MAX}"
        )
    return value


def read_map(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object ``name``; empty when it is absent or null. Raises ``UnreadableUsageError``."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableUsageError(f"{name}: found a {type(value).__name__}, expected an object")
    return value


def clean_text(value: object) -> str:
    """A peer's text, fit for the wire: no lone surrogates, at most ``ID_CHARS_MAX`` characters."""
    if not isinstance(value, str):
        return ""
    return value[:ID_CHARS_MAX].encode(errors="replace").decode()


def _as_json(value: object) -> str:
    try:
        return json.dumps(value)[:RAW_USAGE_CHARS_MAX]
    except RecursionError:  # nested to the very limit that parsing still allowed
        return ""
