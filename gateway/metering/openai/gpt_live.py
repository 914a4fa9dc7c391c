"""The meter of a GPT-Live session: its seconds, and the work of other models for it. Pure.

Where usage stands, by the SDK's types:

* ``session.usage.updated``, ``session.closed``: seconds since the session began. Reports of 4 and
  of 10 seconds are rows of 4 and of 6.
* ``response.event``, ``decision.event``: tokens of the models that the session delegates to.

The session is in flight from the client's ``session.start``, which names the model, to
``session.closed``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace
from mypy_extensions import mypyc_attr

from gateway.frames import Frame, Span
from gateway.handles.handle import HandleKind, IssuedHandle
from gateway.limits import DRAIN_S
from gateway.metering.base import (
    NO_RESULTS,
    Fragments,
    Metered,
    MeterResult,
    Unreadable,
    results_of,
)
from gateway.metering.openai.cancel import CANCEL_ID, answers_cancel, encode_event
from gateway.metering.openai.charges import id_of
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.usage import KNOWN_SECONDS
from gateway.metering.parsing import (
    UnreadableUsageError,
    as_json,
    clean_text,
    read_map,
    read_milliseconds,
    read_object,
    rows_of,
    unknown_parts,
    unmasked,
)
from shared.usage import Kind, Usage

# The events by which a delegated response ends; one that is incomplete has used tokens, too.
_DELEGATED_ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)

# The id that is in flight while the session lasts.
_SESSION: Final = "session"


@mypyc_attr(allow_interpreted_subclasses=True)
class LiveMeter(OpenAIMeter):
    """The meter of one session."""

    __slots__ = ("_client_fragments", "_is_begun", "_is_fork", "_total_ms")

    def __init__(self, *, model: str = "", is_fork: bool = False) -> None:
        """``is_fork``: the session goes on from another one, which was charged already."""
        super().__init__(model=model)
        self._client_fragments = Fragments()
        self._is_begun = False
        self._is_fork = is_fork
        self._total_ms = 0

    @property
    def streaming(self) -> frozenset[str]:
        """See ``Meter``: nothing, since the whole session is one answer, without ends inside."""
        return frozenset()

    @property
    def is_asked(self) -> bool:
        """See ``Meter``: nothing is asked for but the session."""
        return False

    @property
    def may_answer(self) -> bool:
        """See ``Meter``: the whole session is one answer."""
        return False

    @property
    def is_continuous(self) -> bool:
        """See ``Meter``."""
        return True

    @property
    def drain_s(self) -> float:
        """See ``Meter``: nothing more is reported of a session that did not begin, or is closed."""
        return DRAIN_S if self._in_flight else 0.0

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``: its ``session.start`` names the model."""
        super().observe_client(frame)
        if not self._is_begun:
            message = self._client_fragments.add(replace(frame, start=0, raw=unmasked(frame)))
            if message is not None:
                self._read_start(message)
        return NO_RESULTS

    def skim_client(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: nothing is audio by its beginning before the session has begun."""
        return self._is_begun and super().skim_client(read, span)

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: a session is closed, and reports its seconds with ``session.closed``."""
        if not self._in_flight:
            return []
        return [encode_event({"type": "session.close", "event_id": CANCEL_ID})]

    def finish(self) -> list[MeterResult]:
        """See ``Meter``: a session that was not closed is estimated by the audio since its last
        report. Audio flows all the time in both directions, so its length is the session's.
        """
        is_open = _SESSION in self._in_flight
        self._in_flight.clear()
        ms = self._relayed_ms()
        self._audio_bytes_in = self._audio_bytes_out = 0
        name, kind = f"after {self._total_ms} ms", Kind.ESTIMATED_DURATION
        return [
            Metered(
                f"{name} {number}" if number > 1 else name, self.model, Usage(billed_ms=row_ms),
                kind=kind, is_local=True,
            )
            for number, row_ms in enumerate(rows_of(ms if is_open else 0), 1)
        ]  # fmt: skip

    # --- helpers ----------------------------------------------------------------------------------

    def _relayed_ms(self) -> int:
        """How long the audio since the last report is: the longer one of the two directions, which
        flow at the same time.
        """
        relayed = max(self._audio_bytes_in, self._audio_bytes_out)
        return self._transcripts.audio.length_ms(relayed)

    def _read_start(self, message: bytes) -> None:
        """Read a message of the client that may be its ``session.start``; the server refuses
        others before that one.
        """
        try:
            event = read_object(message) or {}
        except ValueError:
            return
        if event.get("type") == "session.start":
            self._is_begun = True
            self._in_flight[_SESSION] = None
            self._read_session(event.get("session"))  # until the server says what it runs

    def _read_event(self, event: Mapping[str, Any]) -> Sequence[MeterResult]:
        match event.get("type"):
            case "session.started":
                self._in_flight[_SESSION] = None
                self._read_session(event.get("session"))
                self.issued_handle = _issued_handle(event.get("session"))
                return NO_RESULTS
            case "session.usage.updated" | "session.closed":
                return results_of(self._read_duration(event))
            case "response.event":
                return self._read_delegated(event.get("event"))
            case "decision.event":
                return results_of(self._read_decision(event))
            case "error" if answers_cancel(event):
                self._in_flight.pop(
                    _SESSION, None
                )  # the close that failed shows that it never began
        return super()._read_event(event)

    def _read_delegated(self, inner: object) -> Sequence[MeterResult]:
        """A response of another model, to which the session delegated it."""
        if not isinstance(inner, dict) or str(inner.get("type")) not in _DELEGATED_ENDS:
            return NO_RESULTS
        response = inner.get("response")
        holder = response if isinstance(response, dict) else inner
        model = clean_text(holder.get("model"))
        usage = holder.get("usage")
        name = id_of(response)
        charged = self._charges.usage(name, usage, model or self.model, holder=holder)
        return results_of(charged, self._charges.images(name, holder))

    def _read_decision(self, event: Mapping[str, Any]) -> MeterResult | None:
        """A decision of another model; it has no id of its own, so that of the event counts."""
        inner = event.get("event")
        decision = inner.get("decision") if isinstance(inner, dict) else None
        if not isinstance(decision, dict):
            return None
        model = clean_text(decision.get("model"))
        return self._charges.usage(
            clean_text(event.get("event_id")), decision.get("usage"), model or self.model
        )

    def _read_duration(self, event: Mapping[str, Any]) -> MeterResult | None:
        """A report of the seconds since the session began: a row of what is new in it."""
        if event.get("type") == "session.closed":
            self._in_flight.pop(_SESSION, None)
            self.cancels_answered += 1
        try:
            usage = read_map(event, "usage")
            if not usage:
                return None
            total_ms = read_milliseconds(usage, "seconds")
        except UnreadableUsageError as exc:
            name = clean_text(event.get("event_id"))
            if self._charges.is_quarantined(Kind.DURATION, name):
                return None
            return Unreadable(name, self.model, str(exc), as_json(event.get("usage")))
        new_ms = total_ms - self._total_ms
        if self._is_fork and not self._total_ms:
            # No document says whether a fork counts the seconds of the session that it goes on
            # from, which were charged there. So not more than what was relayed here is charged.
            new_ms = min(new_ms, self._relayed_ms())
        self._total_ms = max(total_ms, self._total_ms)
        if new_ms <= 0:
            return None
        self._audio_bytes_in = self._audio_bytes_out = 0
        raw = unknown_parts(usage, KNOWN_SECONDS)
        counts = Usage(billed_ms=new_ms)
        return Metered(
            f"{total_ms} ms", self.model, counts, kind=Kind.DURATION, raw=raw, is_local=True
        )


def _issued_handle(session: object) -> IssuedHandle | None:
    """The id by which other connections attach to the session, or fork it."""
    session_id = id_of(session)
    return IssuedHandle(HandleKind.LIVE, session_id) if session_id else None
