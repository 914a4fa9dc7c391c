"""What meters have in common: the usage that they find, and how they read what a peer wrote. Pure.

A meter sees every data frame of the provider before it is forwarded, without parsing audio: it
peeks at the first bytes of a message or searches it for a few names, and parses JSON only on a hit.
What is charged is read from the parsed object, never from text positions. The meters themselves are
those of the provider families: ``gateway.metering.openai.meter`` and ``gemini_meter``.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from gateway.frames import Frame
from gateway.handles.handle import Given
from gateway.limits import RESPONSE_IDS_MAX
from shared.wire import (
    ID_CHARS_MAX,
    RAW_PART_CHARS_MAX,
    RAW_USAGE_CHARS_MAX,
    TOKENS_PER_RESPONSE_MAX,
    Kind,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Metered:
    """One thing to charge, with the model that it was made by.

    ``raw`` is JSON text of the parts of the provider's usage object that are not known here.
    ``is_local``: the id is ours, and begins again on every connection.
    """

    response_id: str
    model: str
    usage: Usage
    kind: Kind = Kind.RESPONSE
    raw: str = ""
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something ended with a usage that makes no sense: to quarantine, not to charge."""

    response_id: str
    model: str
    detail: str
    raw: str


Found = Metered | Unreadable
# Nearly every frame holds nothing to charge: one value for all of them.
NOTHING: Final[Sequence[Found]] = ()


class Withheld(NamedTuple):
    """An error that a client does not hear: its code, and what the client hears instead."""

    code: str
    message: bytes


# Fields that have a place on the row; an object maps to its known fields, a plain value to none.
Known = Mapping[str, "Known"]


class Meter(Protocol):
    """The meter of one session."""

    model: str
    """The model that is billed: what the client asked for, until the provider names its own."""

    withheld: Withheld | None
    """What the client is to hear in place of the message that ``observe`` saw last; None nearly
    always: that message as it came.
    """

    is_shared: bool
    """Whether another socket may report the same responses: those with an id of the provider's."""

    given: Given | None
    """The handle that the message which ``observe`` saw last gave; None nearly always."""

    answers: int
    """Responses that ended, and cancels that found none: both answer a cancel of ours. Zero where
    a provider answers none.
    """

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of responses and transcriptions that are certain to come and whose usage has not
        arrived."""

    @property
    def being_said(self) -> frozenset[str]:
        """The ids of responses that were begun and have not ended: what a client still hears when
        its credit ends. Never what lasts as long as the session, nor a transcription.
        """

    @property
    def drain_s(self) -> float:
        """How long, in seconds, what may still be reported is worth waiting for when the client is
        gone, at most ``DRAIN_S``; 0 when nothing is to come.
        """

    def observe(self, frame: Frame) -> Sequence[Found]:
        """Look at one data frame of the provider, in order; what there is to charge by it."""

    def observe_client(self, frame: Frame) -> Sequence[Found]:
        """Look at one data frame of the client, before it is forwarded; what there is to charge by
        it, whether or not the provider ever says a word.
        """

    def cancel_events(self) -> list[bytes]:
        """What to tell the provider when the client is gone: it ends what is in flight, or asks for
        an answer that proves that nothing is. Called again for a response that begins even so.
        """

    def give_up(self) -> list[Found]:
        """The session is over: what was reported and not charged yet, and estimates for the
        responses whose usage will never come.
        """


class CallMeter(Meter, Protocol):
    """The meter of a call, whose audio does not pass here."""

    def passed(self, seconds: float) -> None:
        """So much time passed: so long the caller was heard, and what is being said was said."""

    def give_up_responses(self, names: Collection[str]) -> list[Found]:
        """Estimates of responses whose usage went by unheard; they are in flight no more."""


def found_in(*found: Found | None) -> Sequence[Found]:
    """What of ``found`` is something."""
    return tuple(one for one in found if one is not None) or NOTHING


class UnreadableUsageError(Exception):
    """The provider's usage object cannot be charged; the text says what was found."""


class Fragments:
    """Joins the fragments of messages; a message in one frame is not its affair."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] | None = None

    def add(self, frame: Frame) -> bytes | None:
        """The whole message when ``frame`` is its last fragment."""
        payload = frame.raw[frame.start :]
        if not frame.continues:
            self._parts = [payload]
        elif self._parts is not None:
            self._parts.append(payload)
        if not frame.is_final:
            return None
        message, self._parts = b"".join(self._parts or ()), None
        return message


class Seen:
    """Names of what was metered in one session, the newest ``RESPONSE_IDS_MAX`` of them."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def is_repeated(self, name: str) -> bool:
        """Whether ``name`` was seen before; remembers it. What has no id never was."""
        is_repeated = name in self._ids
        self.add(name)
        return is_repeated

    def add(self, name: str) -> None:
        """Remember ``name``, unless it is empty."""
        if not name or name in self._ids:
            return
        if len(self._ids) >= RESPONSE_IDS_MAX:
            del self._ids[next(iter(self._ids))]
        self._ids[name] = None

    def discard(self, name: str) -> None:
        """Forget ``name``."""
        self._ids.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)


# --- reading values that a peer wrote -------------------------------------------------------------


def read_object(
    message: bytes, *, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> dict[str, Any] | None:
    """The JSON object in ``message``; None when it is another value. Raises ``ValueError``.

    ``pairs_hook`` makes each object, and may refuse to; without one the last of equal names counts.
    """
    try:
        value = json.loads(message.removeprefix(BOM_UTF8).decode(), object_pairs_hook=pairs_hook)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value if isinstance(value, dict) else None


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
            f"{name}: found {as_json(value)[:64]},"
            f" expected an integer from 0 to {TOKENS_PER_RESPONSE_MAX}"
        )
    return value


def read_milliseconds(
    values: Mapping[str, Any], name: str, *, most_s: float = TOKENS_PER_RESPONSE_MAX / 1000
) -> int:
    """The seconds ``name``, at most ``most_s``, in milliseconds, rounded half up.

    Raises ``UnreadableUsageError``.
    """
    value = values.get(name)
    # Compared before it is multiplied: an integer of 400 digits does not fit into a float.
    if type(value) in (int, float) and 0 <= (value or 0) <= most_s:
        return int((value or 0) * 1000 + 0.5)
    raise UnreadableUsageError(f"{name}: found {as_json(value)[:64]}, expected seconds")


def read_map(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object ``name``; empty when it is absent or null. Raises ``UnreadableUsageError``."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableUsageError(f"{name}: found a {type(value).__name__}, expected an object")
    return value


def rows_of(ms: int) -> Iterator[int]:
    """``ms`` in pieces that a row may hold, the longest first; none for 0."""
    while ms > 0:
        yield min(ms, TOKENS_PER_RESPONSE_MAX)
        ms -= TOKENS_PER_RESPONSE_MAX


def audio_estimate(tokens_in: int, tokens_out: int) -> Usage:
    """What was relayed and never reported: so many tokens of audio, within what is charged."""
    most = TOKENS_PER_RESPONSE_MAX // 2
    tokens_in, tokens_out = min(tokens_in, most), min(tokens_out, most)
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        total_tokens=tokens_in + tokens_out,
        input_audio_tokens=tokens_in,
        output_audio_tokens=tokens_out,
    )


def check_total(usage: Usage) -> Usage:
    """``usage``, unless no provider can mean it. Raises ``UnreadableUsageError``."""
    if usage.total_tokens > TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(
            f"{usage.total_tokens} tokens, expected at most {TOKENS_PER_RESPONSE_MAX}"
        )
    return usage


def unknown_parts(usage: Mapping[str, Any], known: Known) -> str:
    """JSON text of what stands in ``usage`` beside the known fields; empty when there is nothing.

    Zeros, nulls and empty objects say nothing and are left out.
    """
    found = _unknown(usage, known)
    return as_json(found)[:RAW_PART_CHARS_MAX] if found else ""


def _unknown(values: Mapping[str, Any], known: Known) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = known.get(name)
        if inner is None:
            rest = value
        else:
            rest = _unknown(value, inner) if inner and isinstance(value, dict) else None
        if rest:
            found[name] = rest
    return found


def clean_text(value: object) -> str:
    """A peer's text, fit for the wire: no lone surrogates, at most ``ID_CHARS_MAX`` characters."""
    if not isinstance(value, str):
        return ""
    return value[:ID_CHARS_MAX].encode(errors="replace").decode()


def as_json(value: object) -> str:
    """Text of a peer's value for the quarantine, at most ``RAW_USAGE_CHARS_MAX`` characters."""
    try:
        return json.dumps(value)[:RAW_USAGE_CHARS_MAX]
    except RecursionError:  # nested to the very limit that parsing still allowed
        return ""
