"""One call (WebRTC, SIP): audio flows between caller and provider, the gateway meters its events.

The gateway listens to a call on a *sideband* of its own, a WebSocket to the provider with
``?call_id=``, on which it gets the call's events. Clients may open sidebands, too; those are
sessions (``gateway.relay.session``) that charge nothing, because the call's own sideband does.

The life of a call is a table (``TRANSITIONS``)::

    OPENING ──▶ LISTENING ◀──▶ RECONNECTING
       └────────────┴──▶ ENDING ◀───┘           and from each of these to ENDED

The gateway cannot pause a call nor tell its caller anything; it can only have the provider hang up.
It does so when the account's credit is used up or cannot be confirmed, when the call is as old as
its provider allows, when the gateway stops, and when there was no sideband for ``CALL_UNHEARD_S``,
because what the call costs would be unknown. A response that is streaming when credit ends, or the
gateway stops, may finish first; in the other cases it is cancelled, and its usage is waited for. If
the provider does not hang up, it is asked again, and the call is metered meanwhile.

Responses that were streaming when a sideband broke are in doubt (``calls.unheard_responses``),
because their usage may have been sent while nobody listened; they may become estimates.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol

import structlog

from gateway.calls.retrying import is_call_gone, retry
from gateway.calls.unheard_responses import UnheardResponses
from gateway.connections.close import GOING_AWAY, CloseEvent
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.sink import Discard, SequenceSink, Sink
from gateway.connections.upstream import Upstream
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.credit.cut_off import CreditAction, CutOff
from gateway.frames import Frame
from gateway.limits import (
    CALL_RETRY_S,
    CALL_RETRY_S_MAX,
    CALL_STUCK_S,
    CALL_UNHEARD_S,
    CLOSE_S,
)
from gateway.metering.account_errors import is_about_account
from gateway.metering.base import CallMeter
from gateway.metering.usage_recorder import Recorder
from gateway.providers.lifetimes import Lifetimes
from gateway.relay.session_age import Age, AgeAction
from shared.state_machine import advance

log = structlog.get_logger()

_ORDERLY: Final = (1000, GOING_AWAY)
_STUCK: Final = "it goes on at the provider, and is asked for again; see to it there"


class CallState(Enum):
    """Where a call is in its life."""

    OPENING = auto()  # the first sideband is being opened
    LISTENING = auto()
    RECONNECTING = auto()  # the sideband broke; another one is being opened
    ENDING = auto()  # being hung up
    ENDED = auto()


TRANSITIONS: Final = {
    CallState.OPENING: {CallState.LISTENING, CallState.ENDING, CallState.ENDED},
    CallState.LISTENING: {CallState.RECONNECTING, CallState.ENDING, CallState.ENDED},
    CallState.RECONNECTING: {CallState.LISTENING, CallState.ENDING, CallState.ENDED},
    CallState.ENDING: {CallState.ENDED},
    CallState.ENDED: set[CallState](),
}


@dataclass(frozen=True, slots=True)
class CallInfo:
    """The names in every log line of the call."""

    call_id: str
    session_id: str
    account_id: str
    provider: str


class CallControl(Protocol):
    """What can be done to a call at its provider."""

    async def dial(self, sink: Sink, on_open: Callable[[Upstream], None]) -> Upstream:
        """Open a sideband. Raises ``ProviderUnavailableError``."""

    async def hang_up(self) -> None:
        """Have the provider end the call; no error if it has ended already. Raises
        ``ProviderUnavailableError``.
        """


class Call(SequenceSink):
    """Listens to a call, charges it, and ends it when it must not go on."""

    def __init__(
        self,
        info: CallInfo,
        *,
        control: CallControl,
        meter: CallMeter,
        recorder: Recorder,
        credit: SessionCredit,
        lifetimes: Lifetimes,
        on_ended: Callable[["Call"], None],
    ) -> None:
        """``recorder`` records what ``meter`` finds. ``credit`` calls ``credit_changed``;
        ``lifetimes`` says how long a call may last.
        """
        self._loop = asyncio.get_running_loop()
        self.info = info
        self._control = control
        self._meter = meter
        self.recorder = recorder
        self._credit = credit
        credit.listener = self
        self._cut_off = CutOff()
        self._on_ended = on_ended
        self._sideband: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # frames came, or the sideband is closed
        self.ended = asyncio.Event()
        self._metered_until = self._loop.time()
        self._age = Age(lifetimes, info.provider, opened_at=self._metered_until)
        # When the newest sideband was opened; since when none has lasted for CALL_RETRY_S_MAX.
        self._listening_since = 0.0
        self._reconnecting_since: float | None = None
        self._unheard = UnheardResponses()
        self._leave_by: float | None = None
        self.was_cut_off = False
        self._log = log.bind(call=info.call_id, session=info.session_id, account=info.account_id)
        self.state = CallState.OPENING

    async def open(self, *, retry_for_s: float) -> None:
        """Open the first sideband. Retried for ``retry_for_s``: a provider may need a moment to
        find a call that was just made.

        Raises ``ProviderUnavailableError``. This object has then ended, but the call may go on at
        the provider.
        """
        try:
            await self._dial(retry_for_s)
        except ProviderUnavailableError:
            if self.state is CallState.OPENING:
                self._finish()
            raise
        if self.state is not CallState.LISTENING:
            raise ProviderUnavailableError("the call was hung up while it was opened")
        self._log.info("call opened", provider=self.info.provider, model=self.recorder.model)
        self.credit_changed()  # credit may have been used up meanwhile

    async def wait_for_model(self) -> None:
        """Wait until the provider has said which model the call has, for ``CLOSE_S`` at most."""
        await self._wait_until(
            lambda: bool(self.recorder.model) or self.state is CallState.ENDED, seconds=CLOSE_S
        )

    def hang_up(self, reason: str) -> None:
        """Begin to end the call; ``ended`` is set when that is done."""
        if self.state in (CallState.ENDING, CallState.ENDED):
            return
        self._log.info("call is hung up", reason=reason)
        self._move(CallState.ENDING)
        self._run(self._cancel_and_hang_up())

    def leave(self, leave_by: float) -> None:
        """The gateway stops: hang up once no response is in flight, or at ``leave_by``."""
        self._leave_by = leave_by
        self.check(self._loop.time())

    def abandon(self) -> None:
        """End now without hanging up; what is in flight becomes an estimate."""
        if self.state is not CallState.ENDED:
            self._log.error("call abandoned", hint="it may go on at the provider, and is unmetered")
        if self._task is not None:
            self._task.cancel()
        self._finish()

    def check(self, now: float) -> None:
        """Check all deadlines; called every second."""
        if self.state is CallState.ENDED:
            return
        self._meter_time(now)
        self._estimate_unheard(now)
        self.recorder.send_due(now)
        if self._sideband is not None:
            self._sideband.check(now)
            if now - self._listening_since > CALL_RETRY_S_MAX:
                self._reconnecting_since = None
        if self._cut_off.status is not CreditStatus.AVAILABLE:
            self.credit_changed()
        if self._cut_off.is_overdue(now, is_streaming=False):
            self.hang_up("the credit cannot be confirmed")
        elif self._leave_by is not None and (now > self._leave_by or not self.recorder.in_flight):
            self.hang_up("the gateway stops")
        elif self._is_too_old(now):
            self.hang_up("the call is too old")

    # --- events of the sideband -------------------------------------------------------------------

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """The provider sent data frames."""
        now = self._loop.time()
        self._meter_time(now)
        has_metered = self.recorder.observe(frames)
        self.recorder.for_client(frames)
        self._estimate_unheard(now)
        self._changed.set()
        is_short = self._cut_off.status is not CreditStatus.AVAILABLE or self._credit.is_crowded
        if has_metered or is_short:
            self.credit_changed()

    def connection_closed(self, close: CloseEvent) -> None:
        """The sideband is closed. The call may go on, whatever the close code is: it has ended only
        if the provider refuses another sideband with 404 or 410.
        """
        self._sideband = None
        self._changed.set()
        if is_about_account(close.reason):
            self.recorder.account_refused(str(close.code))
        if self.state is not CallState.LISTENING:
            return
        write = self._log.info if close.code in _ORDERLY else self._log.warning
        write("sideband closed", code=close.code, reason=close.reason)
        self._move(CallState.RECONNECTING)
        self._run(self._reconnect())

    # --- credit -----------------------------------------------------------------------------------

    def credit_changed(self) -> None:
        """The account's credit has changed: perhaps the call must end."""
        if self.state not in (CallState.LISTENING, CallState.RECONNECTING):
            return
        if self._credit.is_near_empty:
            self.recorder.flush()
        self._credit.report()
        status, recorder = self._credit.status, self.recorder
        action = self._cut_off.review(
            status, recorder.streaming, now=self._loop.time(), is_asked=recorder.is_asked
        )
        if action is CreditAction.END:
            self.was_cut_off = True
            self.hang_up(self._credit.used_up.value)

    def floor_changed(self) -> None:
        """Nothing to do: a caller cannot be kept from speaking."""

    def balance_announced(self) -> None:
        """Nothing to do: a call's caller cannot be shown a balance."""

    # --- helpers ----------------------------------------------------------------------------------

    def _meter_time(self, now: float) -> None:
        self._meter.passed(now - self._metered_until)
        self._metered_until = now

    def _is_too_old(self, now: float) -> bool:
        is_streaming = bool(self.recorder.streaming)
        return self._age.due(self.recorder.model, now, is_streaming=is_streaming) is AgeAction.END

    def _estimate_unheard(self, now: float) -> None:
        """Estimate responses whose end was missed while no sideband heard the call."""
        if lost := self._unheard.lost_unheard(self.recorder.streaming, now=now):
            for found in self._meter.estimate_responses(lost):
                self.recorder.record(found)

    async def _dial(self, retry_for_s: float) -> None:
        try:
            await retry(
                lambda: self._control.dial(self, self._opened),
                retry_for_s=retry_for_s,
                is_final=lambda exc: is_call_gone(exc) and self.state is CallState.RECONNECTING,
            )
        except ProviderUnavailableError as exc:
            if exc.is_about_account:
                self.recorder.account_refused(str(exc.status))
            raise

    def _opened(self, connection: Upstream) -> None:
        if self.state not in (CallState.OPENING, CallState.RECONNECTING):
            connection.sink = Discard()
            connection.abort()
            return
        self._sideband, self._listening_since = connection, self._loop.time()
        self._unheard.begin(self.recorder.streaming, now=self._listening_since)
        self._move(CallState.LISTENING)

    async def _reconnect(self) -> None:
        """Open another sideband, or end the call.

        A sideband that closes within ``CALL_RETRY_S_MAX`` does not count: the time without one goes
        on, so that a provider which closes each at once is not dialled forever.
        """
        if self._reconnecting_since is None:
            self._reconnecting_since = self._loop.time()
        else:
            await asyncio.sleep(CALL_RETRY_S)
        retry_for_s = self._reconnecting_since + CALL_UNHEARD_S - self._loop.time()
        try:
            if retry_for_s < 0:
                raise ProviderUnavailableError("every sideband is closed at once")
            await self._dial(retry_for_s)
        except ProviderUnavailableError as exc:
            if is_call_gone(exc):
                self._finish()
                return
            self._log.error("call lost", reason=str(exc), hint=exc.hint or "it is hung up")
            self._move(CallState.ENDING)
            await self._cancel_and_hang_up()
        else:
            self._log.info("call heard again")
            self.credit_changed()

    async def _cancel_and_hang_up(self) -> None:
        """Cancel the response in flight and wait for its usage, hang up, wait for the close."""
        await self._cancel()
        is_hung_up = await self._try_hang_up()
        while not is_hung_up and not self._is_too_old(self._loop.time()):
            await self._wait_until(lambda: self._sideband is None, seconds=CALL_STUCK_S)
            is_hung_up = await self._try_hang_up()
        await self._wait_until(lambda: self._sideband is None, seconds=CLOSE_S)
        self._finish()

    async def _try_hang_up(self) -> bool:
        try:
            await self._control.hang_up()
        except ProviderUnavailableError as exc:
            self._log.error("call not hung up", reason=str(exc), hint=_STUCK)
            return False
        return True

    async def _cancel(self) -> None:
        """Cancel what is in flight, and wait for its usage. Responses that begin after that are not
        waited for: a caller who goes on talking would keep the call.
        """
        if self._sideband is None:
            return
        answers_before, cancelled = self.recorder.cancels_answered, self.recorder.in_flight
        for cancel in self.recorder.cancel_events():
            self._sideband.send_event(cancel)
        await self._wait_until(
            lambda: (
                self._sideband is None
                or (
                    self.recorder.cancels_answered > answers_before
                    and not cancelled & self.recorder.in_flight
                )
            ),
            seconds=CLOSE_S,
        )

    async def _wait_until(self, is_so: Callable[[], bool], *, seconds: float) -> None:
        """Wait until ``is_so``, for ``seconds`` at most."""
        try:
            async with asyncio.timeout(seconds):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as the call's only task, in place of the one before."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.error("call failed", exc_info=exc)
            self.abandon()

    def _finish(self) -> None:
        if self.state is CallState.ENDED:
            return
        self._move(CallState.ENDED)
        if self._sideband is not None:
            self._sideband.sink = Discard()
            self._sideband.abort()
            self._sideband = None
        self.recorder.finish()
        self._credit.close()
        self.ended.set()
        self._changed.set()
        if self._listening_since:
            self._log.info("call ended", **self.recorder.summary())
        self._on_ended(self)

    def _move(self, state: CallState) -> None:
        self.state = advance(TRANSITIONS, self.state, state)
