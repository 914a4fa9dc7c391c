"""The meter of the OpenAI family: OpenAI, Azure OpenAI, xAI, and GPT-Live sessions. Pure.

Messages start with ``{"type":"…"``: the type is read from the first bytes in constant time. One
that does not start so is searched for the names that matter (or a ``\\u`` escape, by which a name
may be spelled) and parsed only on a hit.

Where usage stands, by the SDK's types and by recordings:

* ``response.done``: ``response.usage``, or at the top level (xAI, where ``response.usage`` is
  ``{}``); of every status, absent, null, empty, zero or partial.
* ``conversation.item.input_audio_transcription.completed``: ``usage`` of another model, in tokens
  or in seconds; before, between or after the events of the response.
* ``session.usage.updated``, ``session.closed`` (GPT-Live): seconds, cumulative; and what other
  models did for the session, in tokens: ``response.event`` and ``decision.event``.

What is counted once is counted once by its own id: a response by the response's, a transcription or
decision by its event's.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.frames import Frame, Opcode
from gateway.metering import (
    Found,
    Fragments,
    Metered,
    Seen,
    Unreadable,
    UnreadableUsageError,
    as_json,
    audio_estimate,
    check_total,
    clean_text,
    read_count,
    read_map,
    read_milliseconds,
    read_object,
    unknown_parts,
)
from shared.wire import RAW_USAGE_CHARS_MAX, Kind, Usage

_TYPE_BYTES_MAX: Final = 128  # how far into a message its type is looked for
_TYPE: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Za-z0-9_.]+)"')
_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"')  # so JSON begins; audio hardly ever
_BINARY: Final = int(Opcode.BINARY)

_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
# Events that carry usage: one that cannot be parsed is quarantined. Quoted inside a text its name
# would stand between escaped quotes.
_METERED_TYPES: Final = frozenset(
    {b"response.done", _TRANSCRIBED.encode(), b"session.closed", b"session.usage.updated",
     b"decision.event"}
)  # fmt: skip
_IS_METERED: Final = re.compile(
    rb'"type"\s*:\s*"(?:%b)"' % b"|".join(re.escape(name) for name in sorted(_METERED_TYPES))
)
_IS_DELEGATED: Final = re.compile(rb'"type"\s*:\s*"response\.event"')
_WATCHED_TYPES: Final = _METERED_TYPES | {
    b"response.created", b"session.created", b"session.started", b"session.updated",
    b"transcription_session.created", b"transcription_session.updated", b"response.event", b"error",
}  # fmt: skip
_NEEDLES: Final = (*_WATCHED_TYPES, rb"\u")
_AUDIO_TYPES: Final = frozenset(
    {
        b"response.output_audio.delta", b"response.audio.delta",
        b"session.output_audio.delta",
    }
)  # fmt: skip
# The error that answers a cancel when no response is in progress.
_NOTHING_TO_CANCEL: Final = "response_cancel_not_active"

# How a response ends that a GPT-Live session delegated; an incomplete one costs tokens too.
_DELEGATED_ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)

# What is in flight while a GPT-Live session lasts.
_LIVE_SESSION: Final = "session"

# PCM16 at 24 kHz in base64 is 64,000 bytes a second; user audio is one token per 100 ms, assistant
# audio one per 50 ms (developers.openai.com/api/docs/guides/realtime-costs).
_AUDIO_BYTES_PER_S: Final = 64_000
_INPUT_TOKENS_PER_S: Final = 10
_OUTPUT_TOKENS_PER_S: Final = 20

# The Responses API, which delegated responses come from, spells the details with one more s.
_INPUT_DETAILS: Final = ("input_token_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("output_token_details", "output_tokens_details")
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(
        {"type", "total_tokens", "input_tokens", "output_tokens", *_INPUT_DETAILS, *_OUTPUT_DETAILS}
    ),
    **dict.fromkeys(
        _INPUT_DETAILS,
        frozenset({"text_tokens", "audio_tokens", "image_tokens", "cached_tokens",
                   "cached_tokens_details"}),
    ),
    **dict.fromkeys(
        _OUTPUT_DETAILS, frozenset({"text_tokens", "audio_tokens", "reasoning_tokens"})
    ),
}  # fmt: skip
_KNOWN_DURATION: Final = {"": frozenset({"type", "seconds"})}


class OpenAIMeter:
    """The meter of one session. ``model`` is what the client asked for."""

    __slots__ = (
        "_audio_bytes_in", "_audio_bytes_out", "_fragments", "_in_flight", "_live_ms",
        "_quarantined", "_seen", "_transcription_model", "answers", "model", "requested_model",
    )  # fmt: skip

    def __init__(self, *, model: str) -> None:
        self._fragments = Fragments()
        self._seen, self._quarantined = Seen(), Seen()
        self._in_flight: set[str] = set()
        self._audio_bytes_in = self._audio_bytes_out = 0
        self._live_ms = 0
        self._transcription_model = ""
        self.answers = 0
        self.model = model
        self.requested_model: str | None = model

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``."""
        return frozenset(self._in_flight)

    def observe(self, frame: Frame) -> Found | None:
        """See ``Meter``."""
        if frame.is_final and not frame.continues:
            if frame.opcode == _BINARY and _OBJECT.match(frame.raw, frame.start) is None:
                self._audio_bytes_out += len(frame.raw) * 4 // 3  # xAI's audio, as if in base64
                return None
            if self._is_irrelevant(frame.raw, frame.start):
                return None
            return self._read(frame.raw[frame.start :])
        message = self._fragments.add(frame)
        if message is None or self._is_irrelevant(message, 0):
            return None
        return self._read(message)

    def observe_client(self, frame: Frame) -> None:
        """See ``Meter``: only how much was said is of interest."""
        self._audio_bytes_in += len(frame.raw)

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``.

        A response is named, because one outside the conversation is cancelled only by its name.
        Without a response the provider answers with an error, after everything that the client
        had asked for before. A GPT-Live session is asked for its final seconds.
        """
        if _LIVE_SESSION in self._in_flight:
            return [_compact({"type": "session.close"})]
        named = [
            {"type": "response.cancel", "response_id": response_id}
            for response_id in sorted(self._in_flight)
            if response_id
        ]
        return [_compact(cancel) for cancel in named or [{"type": "response.cancel"}]]

    def give_up(self) -> list[Found]:
        """See ``Meter``."""
        # Of a GPT-Live session everything that it reported has been recorded.
        given_up, self._in_flight = sorted(self._in_flight - {_LIVE_SESSION}), set()
        estimates: list[Found] = []
        for response_id in given_up:
            if not self._seen.is_repeated(_key(Kind.RESPONSE, response_id)):
                estimates.append(
                    Metered(response_id, self.model, self._estimate(), kind=Kind.ESTIMATE)
                )
            self._audio_bytes_in = self._audio_bytes_out = 0
        return estimates

    # --- helpers ----------------------------------------------------------------------------------

    def _is_irrelevant(self, data: bytes, start: int) -> bool:
        found = _TYPE.match(data, start, start + _TYPE_BYTES_MAX)
        if found is not None:
            if found[1] in _AUDIO_TYPES:
                self._audio_bytes_out += len(data) - start
            return found[1] not in _WATCHED_TYPES
        return not any(needle in data for needle in _NEEDLES)

    def _read(self, message: bytes) -> Found | None:
        try:
            event = read_object(message)
        except ValueError as exc:
            return self._unparsable(message, str(exc))
        return None if event is None else self._read_event(event)

    def _read_event(self, event: Mapping[str, Any]) -> Found | None:
        match event.get("type"):
            case "response.done":
                return self._read_done(event)
            case "response.created":
                self._in_flight.add(_id_of(event.get("response")))
                self._audio_bytes_out = 0
            case "session.started":
                self._read_session(event.get("session"))
                self._in_flight.add(_LIVE_SESSION)
            case (
                "session.created" | "session.updated"
                | "transcription_session.created" | "transcription_session.updated"
            ):  # fmt: skip
                self._read_session(event.get("session"))
            case "conversation.item.input_audio_transcription.completed":
                return self._read_transcription(event)
            case "session.usage.updated" | "session.closed":
                return self._read_duration(event)
            case "response.event":
                return self._read_delegated(event.get("event"))
            case "decision.event":
                return self._read_decision(event)
            case "error":
                error = event.get("error")
                code = error.get("code") if isinstance(error, dict) else None
                self.answers += code == _NOTHING_TO_CANCEL
        return None

    def _read_session(self, session: object) -> None:
        """The server names the model that it really runs, and the one that transcribes."""
        if not isinstance(session, dict):
            return
        self.model = clean_text(session.get("model")) or self.model
        transcription = session.get("input_audio_transcription")  # beta: flat
        for name in ("audio", "input", "transcription"):  # GA: nested
            session = session.get(name) if isinstance(session, dict) else None
        found = session if isinstance(session, dict) else transcription
        if isinstance(found, dict):
            named = clean_text(found.get("model"))
            self._transcription_model = named or self._transcription_model

    def _read_done(self, event: Mapping[str, Any]) -> Found | None:
        """``response.done`` of any status: cancelled and incomplete ones are billed like others."""
        response = event.get("response")
        response_id = _id_of(response) or clean_text(event.get("response_id"))
        self._in_flight.discard(response_id)
        self.answers += 1
        usage = response.get("usage") if isinstance(response, dict) else None
        if _is_nothing(usage):  # xAI: {} inside, the real one at the top level
            usage = event.get("usage")
        if not _is_nothing(usage):
            self._audio_bytes_in = self._audio_bytes_out = 0
        return self._charge(
            response_id, usage, name=response_id or clean_text(event.get("event_id"))
        )

    def _read_delegated(self, inner: object) -> Found | None:
        """A response that a GPT-Live session had another model make."""
        if not isinstance(inner, dict) or str(inner.get("type")) not in _DELEGATED_ENDS:
            return None
        response = inner.get("response")
        holder = response if isinstance(response, dict) else inner
        model = clean_text(holder.get("model"))
        return self._charge(_id_of(response), holder.get("usage"), model=model)

    def _read_decision(self, event: Mapping[str, Any]) -> Found | None:
        """A decision that a GPT-Live session had another model take; it has no id of its own."""
        inner = event.get("event")
        decision = inner.get("decision") if isinstance(inner, dict) else None
        if not isinstance(decision, dict):
            return None
        model = clean_text(decision.get("model"))
        return self._charge(clean_text(event.get("event_id")), decision.get("usage"), model=model)

    def _read_transcription(self, event: Mapping[str, Any]) -> Found | None:
        """Several may come for one item (xAI), so each event counts by its own id."""
        item_id, usage = clean_text(event.get("item_id")), event.get("usage")
        is_duration = isinstance(usage, dict) and usage.get("type") == "duration"
        return self._charge(
            item_id,
            usage,
            name=clean_text(event.get("event_id")) or item_id,
            model=self._transcription_model,
            kind=Kind.TRANSCRIPTION,
            read=_read_seconds if is_duration else read_usage,
            known=_KNOWN_DURATION if is_duration else _KNOWN,
        )

    def _charge(
        self,
        response_id: str,
        usage: Any,
        *,
        name: str = "",
        model: str = "",
        kind: Kind = Kind.RESPONSE,
        read: Callable[[Mapping[str, Any]], Usage] | None = None,
        known: Mapping[str, frozenset[str]] = _KNOWN,
    ) -> Found | None:
        """What ``usage`` costs, once for each ``name``, which is ``response_id`` when not given.

        One that cannot be read does not stand in the way of one that can and comes later.
        """
        if _is_nothing(usage):
            return None
        key, model = _key(kind, name or response_id), model or self.model
        try:
            if not isinstance(usage, dict):
                found = type(usage).__name__
                raise UnreadableUsageError(f"usage: found a {found}, expected an object")
            counts = (read or read_usage)(usage)
        except UnreadableUsageError as exc:
            if key in self._seen or self._quarantined.is_repeated(key):
                return None
            return Unreadable(response_id or name, model, str(exc), as_json(usage))
        if self._seen.is_repeated(key):
            return None
        return Metered(response_id, model, counts, kind=kind, raw=unknown_parts(usage, known))

    def _read_duration(self, event: Mapping[str, Any]) -> Found | None:
        """GPT-Live reports the seconds so far; what is new since the last report is a row."""
        if event.get("type") == "session.closed":
            self._in_flight.discard(_LIVE_SESSION)
            self.answers += 1
        try:
            usage = read_map(event, "usage")
            if not usage:
                return None
            total_ms = read_milliseconds(usage, "seconds")
        except UnreadableUsageError as exc:
            name = clean_text(event.get("event_id"))
            if self._quarantined.is_repeated(_key(Kind.DURATION, name)):
                return None
            return Unreadable(name, self.model, str(exc), as_json(event.get("usage")))
        new_ms = total_ms - self._live_ms
        if new_ms <= 0:
            return None
        self._live_ms = total_ms
        raw = unknown_parts(usage, _KNOWN_DURATION)
        counts = Usage(billed_ms=new_ms)
        return Metered(f"{total_ms} ms", self.model, counts, kind=Kind.DURATION, raw=raw)

    def _unparsable(self, message: bytes, detail: str) -> Unreadable | None:
        """A broken message is only worth keeping when it says that it carries usage."""
        is_delegated = _IS_DELEGATED.search(message) is not None and b'"usage"' in message
        if not is_delegated and _IS_METERED.search(message) is None:
            return None
        raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
        return Unreadable("", self.model, f"not JSON: {detail}", raw)

    def _estimate(self) -> Usage:
        """Tokens by the length of the audio, taken for PCM16 at 24 kHz; text counts nothing."""
        return audio_estimate(
            self._audio_bytes_in * _INPUT_TOKENS_PER_S // _AUDIO_BYTES_PER_S,
            self._audio_bytes_out * _OUTPUT_TOKENS_PER_S // _AUDIO_BYTES_PER_S,
        )


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A usage object in tokens. Raises ``UnreadableUsageError``.

    Every field is optional in the SDK's types; what is absent counts as zero. Input plus output is
    charged; only where one of them is absent the reported total fills in.
    """
    reported = read_count(usage, "total_tokens")
    tokens_in, tokens_out = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")
    if reported is not None and tokens_in is None and tokens_out is not None:
        tokens_in = _rest(reported, tokens_out)
    if reported is not None and tokens_out is None and tokens_in is not None:
        tokens_out = _rest(reported, tokens_in)
    if tokens_in is None and tokens_out is None:
        total = reported or 0
    else:
        total = (tokens_in or 0) + (tokens_out or 0)
    into, out = _read_details(usage, _INPUT_DETAILS), _read_details(usage, _OUTPUT_DETAILS)
    cached = read_map(into, "cached_tokens_details")
    return check_total(
        Usage(
            input_tokens=tokens_in or 0,
            output_tokens=tokens_out or 0,
            total_tokens=total,
            input_text_tokens=read_count(into, "text_tokens") or 0,
            input_audio_tokens=read_count(into, "audio_tokens") or 0,
            input_image_tokens=read_count(into, "image_tokens") or 0,
            input_cached_tokens=read_count(into, "cached_tokens") or 0,
            output_text_tokens=read_count(out, "text_tokens") or 0,
            output_audio_tokens=read_count(out, "audio_tokens") or 0,
            output_thought_tokens=read_count(out, "reasoning_tokens") or 0,
            input_cached_text_tokens=read_count(cached, "text_tokens") or 0,
            input_cached_audio_tokens=read_count(cached, "audio_tokens") or 0,
            input_cached_image_tokens=read_count(cached, "image_tokens") or 0,
        )
    )


def _read_details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """The details under the first of ``names`` that there are any under."""
    found = [details for name in names if (details := read_map(usage, name))]
    return found[0] if found else {}


def _read_seconds(usage: Mapping[str, Any]) -> Usage:
    return Usage(billed_ms=read_milliseconds(usage, "seconds"))


def _is_nothing(usage: object) -> bool:
    """Absent, null or empty: nothing was used. Any other value means something."""
    return usage is None or usage == {}


def _key(kind: Kind, name: str) -> str:
    """What is counted once. Kinds have names of their own; what has none has no key either."""
    return f"{kind}:{name}" if name else ""


def _compact(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _rest(total: int, part: int) -> int:
    if total < part:
        raise UnreadableUsageError(f"total_tokens {total} is less than its part {part}")
    return total - part


def _id_of(response: object) -> str:
    return clean_text(response.get("id")) if isinstance(response, dict) else ""
