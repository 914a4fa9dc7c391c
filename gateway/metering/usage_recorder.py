"""What one session has used: from the provider's frames to messages for accountd.

The recorder joins the pure meter and batcher of a session with the process's usage sender. It knows
neither connection, so it goes on when the client is gone.
"""

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import structlog
from mypy_extensions import mypyc_attr

from gateway.frames import Frame, Opcode, Span, frames_of, spoken
from gateway.handles.handle import IssuedHandle
from gateway.metering.base import MaskedError, Meter, MeterResult, Unreadable
from gateway.metering.batching import (
    Batcher,
    BillingContext,
    MeteredResponse,
    OnSealed,
    Sealable,
    ignore_sealed,
)
from shared.usage import ESTIMATES, InvalidUsage, Kind, UsageBatch, UsageMessage

log = structlog.get_logger()

# How many bytes of a message in fragments are searched for its type, and which types may hold an
# error.
_HEAD_BYTES: Final = 96
_MAY_FAIL: Final = re.compile(rb"error|response\.(?:done|event)|decision\.event|\.failed|\\u")
_NO_REFUSALS: Final[Mapping[str, int]] = {}


class Sender(Protocol):
    """Delivers usage to accountd. It is called for every frame's usage, so nothing may wait."""

    @property
    def sends_at_once(self) -> bool:
        """Whether every response must be sent by itself."""

    def note(self, single: UsageBatch) -> int:
        """Note one metered response; its number, or 0 when it is in memory only."""

    def send(
        self,
        message: UsageMessage,
        covers: Sequence[int] = (),
        on_sealed: OnSealed = ignore_sealed,
    ) -> None:
        """Send a message, which covers the noted responses ``covers``. ``on_sealed`` is called with
        its producer and its number once it has one, now or later.
        """


class Spending(Protocol):
    """What the session spends from."""

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once."""

    def spend(self, single: UsageBatch) -> int:
        """One response was metered: what it costs, in nano-credits."""

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """Of what was spent, the message ``sequence`` of ``producer`` charges ``nano``
        nano-credits.
        """


@mypyc_attr(allow_interpreted_subclasses=True)
class Recorder:
    """Meters a session's frames and sends its batches."""

    __slots__ = (
        "_batcher",
        "_billing",
        "_connection",
        "_held_fragments",
        "_meter",
        "_on_handle_issued",
        "_replacements",
        "_sender",
        "_spending",
        "estimates",
        "has_just_refused",
        "on_refused",
        "refusals",
        "responses",
        "tokens",
    )  # fmt: skip

    def __init__(
        self,
        billing: BillingContext,
        meter: Meter,
        sender: Sender,
        spending: Spending,
        *,
        on_handle_issued: Callable[[IssuedHandle], None] | None = None,
    ) -> None:
        """``on_handle_issued`` is called with each handle, before the client gets it."""
        self._on_handle_issued = on_handle_issued
        self._billing = billing
        self._meter = meter
        self._batcher = Batcher()
        self._sender = sender
        self._spending = spending
        self._connection = secrets.token_hex(4)
        self.responses = 0
        self.tokens = 0
        self.estimates = 0
        # How often which provider has refused our account. Replaced, not changed: metrics are read
        # from a thread of their own.
        self.refusals: Mapping[str, int] = _NO_REFUSALS
        self.has_just_refused = False  # the provider's last message was such an error
        # Asked about each before the client hears of it: whether the session goes on elsewhere, so
        # that the client need not.
        self.on_refused: Callable[[MaskedError], bool] | None = None
        self._replacements: list[tuple[Frame, Sequence[Frame]]] = []
        self._held_fragments: list[Frame] = []

    @property
    def session_id(self) -> str:
        """The session's name, for the log."""
        return self._billing.session_id

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._billing.provider

    @property
    def model(self) -> str:
        """The model that is billed now."""
        return self._meter.model

    @property
    def account_errors(self) -> int:
        """How often the provider has refused our account."""
        return self.refusals.get(self.provider, 0)

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of responses that are certain to come and whose usage has not arrived."""
        return self._meter.in_flight

    @property
    def streaming(self) -> frozenset[str]:
        """The ids of responses that have begun and not ended."""
        return self._meter.streaming

    @property
    def is_asked(self) -> bool:
        """Whether a response was asked for that has not begun."""
        return self._meter.is_asked

    @property
    def may_answer(self) -> bool:
        """Whether the provider may begin a response by itself, by what it has heard so far."""
        return self._meter.may_answer

    @property
    def is_continuous(self) -> bool:
        """Whether the session is heard all the time, and has no responses that begin and end."""
        return self._meter.is_continuous

    @property
    def drain_s(self) -> float:
        """How long what may still be reported is worth waiting for when the client is gone."""
        return self._meter.drain_s

    def cancel_events(self) -> list[bytes]:
        """What is sent to the provider when the client is gone, so that it stops generating."""
        return self._meter.cancel_events()

    @property
    def cancels_answered(self) -> int:
        """Responses that ended, and cancels that found none: both answer a cancel of ours."""
        return self._meter.cancels_answered

    def observe(self, frames: Sequence[Frame]) -> bool:
        """Meter data frames of the provider. Call it before they are forwarded, and forward what
        ``for_client`` makes of them. Returns whether anything was metered.
        """
        has_found = False
        meter = self._meter
        for frame in frames:
            if not frame.is_final or self._held_fragments:
                self._hold(frame)
            for found in meter.observe(frame):
                self.record(found)
                has_found = True
            self.has_just_refused = meter.masked_error is not None
            if meter.masked_error is not None:
                masked, meter.masked_error = meter.masked_error, None
                self._mask(frame, masked)
            if meter.issued_handle is not None:
                issued, meter.issued_handle = meter.issued_handle, None
                if self._on_handle_issued is not None:
                    self._on_handle_issued(issued)
        return has_found

    def skim(self, read: bytes, spans: list[Span]) -> int:
        """How many of the provider's messages in a read are audio, up to the first that is not, or
        not clearly: that one and those behind it are for ``observe``. Audio is counted by the meter
        and goes on as it came.
        """
        if self._held_fragments:
            return 0
        skim = self._meter.skim
        seen = 0
        for span in spans:
            if not skim(read, span):
                return seen
            seen += 1
        self.has_just_refused = False
        return seen

    def for_client(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The observed ``frames`` as the client gets them: an error about our own account (an
        unpaid bill, a wrong key) is replaced by one that only says that the provider failed.
        """
        if not self._replacements:
            return frames
        instead, self._replacements = self._replacements, []
        found: list[Frame] = []
        for frame in frames:
            found += next((to for of, to in instead if of is frame), (frame,))
        return found

    def account_refused(self, code: str) -> None:
        """The provider refuses our own account: an error that the operator hears of, and nobody
        else. ``code`` is the error's, or that of the close.
        """
        self.refusals = {**self.refusals, self.provider: self.account_errors + 1}
        log.error(
            "provider refuses our account",
            session=self._billing.session_id,
            provider=self._billing.provider,
            code=code[:64],
            hint="look at the provider's key, quota and billing",
        )

    def observe_client(self, frames: Sequence[Frame]) -> None:
        """Look at data frames of the client. Call it before they are forwarded."""
        observe = self._meter.observe_client
        for frame in frames:
            for found in observe(frame):
                self.record(found)

    def observe_client_messages(self, read: bytes, spans: list[Span]) -> None:
        """The same for messages in one frame each."""
        skim = self._meter.skim_client
        for span in spans:
            if not skim(read, span):
                self.observe_client(frames_of(read, (span,)))

    def skim_client(self, read: bytes, spans: list[Span]) -> int:
        """How many of the client's messages in a read are audio, up to the first that is not, or
        not clearly: that one and those behind it are for ``observe_client``.
        """
        skim = self._meter.skim_client
        seen = 0
        for span in spans:
            if not skim(read, span):
                return seen
            seen += 1
        return seen

    def send_due(self, now: float) -> None:
        """Send the open batch when it has waited long enough. ``now`` is monotonic seconds."""
        self._send(self._batcher.take_due(now))

    def flush(self) -> None:
        """Send what is there: the session ends or drains."""
        self._send(self._batcher.flush())

    def record(self, found: MeterResult) -> None:
        """Note, batch and spend one result of the meter; what is unreadable goes to quarantine."""
        if isinstance(found, Unreadable):
            self._quarantine(found)
            return
        if found.kind in ESTIMATES:
            self.estimates += 1
            # A missing report of a response is a fault. Other kinds of usage are never reported by
            # some providers: their estimates are expected.
            told = log.warning if found.kind == Kind.ESTIMATE else log.info
            told(
                "usage estimated",
                session=self._billing.session_id,
                account=self._billing.account_id,
                response=found.response_id,
                tokens=found.usage.total_tokens,
                ms=found.usage.billed_ms,
            )
        else:
            self.responses += found.kind == Kind.RESPONSE
            self.tokens += found.usage.total_tokens
        if found.is_local:  # the client's next connection may have the same session id, and turn_1
            found = dataclasses.replace(
                found, response_id=f"{found.response_id} {self._connection}"
            )
        is_shared = self._meter.is_shared and bool(found.response_id) and not found.is_local
        single = self._billing.as_batch(found, wall_ms=_wall_ms(), is_shared=is_shared)
        number = self._sender.note(single)
        cost = self._spending.spend(single)
        self._send(self._batcher.add(MeteredResponse(single, number, cost), now=time.monotonic()))
        if self._sender.sends_at_once or self._spending.is_near_empty:
            self.flush()

    def summary(self) -> dict[str, int]:
        """What was used, for the log line that ends a session or a call."""
        return {
            "responses": self.responses,
            "tokens": self.tokens,
            "estimates": self.estimates,
        }

    def reconnect(self, meter: Meter, *, provider: str = "") -> None:
        """The provider's connection is gone, and another one takes its place: charge what is left
        of the first, and go on with ``meter``, at another ``provider`` where one is named.
        """
        self.finish()
        if provider:
            self._billing = dataclasses.replace(self._billing, provider=provider)
        self._meter = meter
        self._connection = secrets.token_hex(4)
        self._replacements, self._held_fragments = [], []
        self.has_just_refused = False

    def finish(self) -> None:
        """The session has ended: charge what is left, estimate what will never be reported."""
        for found in self._meter.finish():
            self.record(found)
        self.flush()

    # --- helpers ----------------------------------------------------------------------------------

    def _mask(self, frame: Frame, masked: MaskedError) -> None:
        """Replace the message that ends with ``frame``; its earlier fragments were held back."""
        self.account_refused(masked.code)
        self._replacements = [(of, to) for of, to in self._replacements if of is not frame]
        is_withheld = self.on_refused is not None and self.on_refused(masked)
        told = () if is_withheld else (spoken(Opcode.TEXT, masked.message),)
        self._replacements.append((frame, told))

    def _hold(self, frame: Frame) -> None:
        """Hold back the fragments of a message that may be an error about our account. Whether the
        client may get them is known with the last one.
        """
        if not frame.continues:
            head = frame.raw[frame.start : frame.start + _HEAD_BYTES]
            is_open = len(head) < _HEAD_BYTES or b'"type"' not in head
            is_held = is_open or _MAY_FAIL.search(head) is not None
            self._held_fragments = [frame] if is_held and not frame.is_final else []
        elif self._held_fragments:
            self._held_fragments.append(frame)
        if not self._held_fragments:
            return
        whole, self._held_fragments = (
            (self._held_fragments, []) if frame.is_final else ([], self._held_fragments)
        )
        self._replacements.append((frame, whole))

    def _quarantine(self, found: Unreadable) -> None:
        log.warning(
            "usage unreadable",
            session=self._billing.session_id,
            account=self._billing.account_id,
            response=found.response_id,
            detail=found.detail,
        )
        self._sender.send(
            InvalidUsage(
                account_id=self._billing.account_id,
                session_id=self._billing.session_id,
                provider=self._billing.provider,
                model=found.model,
                response_id=found.response_id,
                detail=found.detail,
                raw=found.raw,
                metered_at_ms=_wall_ms(),
            )
        )

    def _send(self, batches: Iterable[Sealable]) -> None:
        for batch, covers, cost in batches:
            self._sender.send(batch, covers, partial(self._spending.sealed, cost))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
