"""One call: its audio passes between caller and provider, its events pass here.

The gateway listens to a call on a *sideband* of its own, a socket to the provider with
``?call_id=``, and meters what it hears. Clients may have sidebands too; they are sessions like any
other (``gateway.relay.session``), only that they charge nothing.

The life of a call is a table (``TRANSITIONS``)::

    OPENING ──▶ HEARD ◀──▶ UNHEARD
       └──────────┴──▶ ENDING ◀──┘ ──▶ ENDED

A call cannot be held, nor can its caller be told anything: it can only be hung up. That is done
once its account's credit is used up or cannot be confirmed, once it is as old as its provider
allows, when the gateway stops, and when its sideband is lost for ``CALL_UNHEARD_S``, because nobody
would know what it costs. What is being said when credit ends, or the gateway stops, is finished
first; any other response is cancelled and its usage waited for. A provider that does not hang up is
asked again and again, and heard meanwhile.

Responses that were being said when a sideband broke are in doubt (``calls.doubt``): their usage may
have been sent unheard. They become estimates.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol

import structlog

from gateway.calls.doubt import Doubt
from gateway.calls.retrying import is_over, retry
from gateway.connections.close import GOING_AWAY, CloseEvent
from gateway.connections.connection import Discard, Sink
from gateway.connections.upstream import ProviderUnavailableError, Upstream
from gateway.credit.allowance import Action, Allowance
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
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
from gateway.metering.recorder import Recorder
from gateway.providers.lifetimes import Lifetimes
from gateway.relay.lifetime import Age, Due
from shared.transitions import advance

log = structlog.get_logger()

_ORDERLY: Final = (1000, GOING_AWAY)
_STUCK: Final = "it goes on at the provider, and is asked for again; see to it there"


class State(Enum):
    """Where a call is in its life."""

    OPENING = auto()  # nobody has heard it yet
    HEARD = auto()
    UNHEARD = auto()  # the sideband broke; another one is being opened
    ENDING = auto()  # it is being hung up
    ENDED = auto()


TRANSITIONS: Final = {
    State.OPENING: {State.HEARD, State.ENDING, State.ENDED},
    State.HEARD: {State.UNHEARD, State.ENDING, State.ENDED},
    State.UNHEARD: {State.HEARD, State.ENDING, State.ENDED},
    State.ENDING: {State.ENDED},
    State.ENDED: set[State](),
}


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Whose call it is; the fields of every log line of the call."""

    call_id: str
    session_id: str
    account_id: str
    provider: str


class CallControl(Protocol):
    """The way to a call's provider."""

    async def dial(self, sink: Sink, on_open: Callable[[Upstream], None]) -> Upstream:
        """Open a sideband. Raises ``ProviderUnavailableError``."""

    async def hang_up(self) -> None:
        """Have the provider end the call. Raises ``ProviderUnavailableError``; that the call is
        over already is no error.
        """


class Call:
    """Hears a call, charges it, and ends it when it must not go on."""

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
        """``recorder`` records what ``meter`` meters; ``credit`` tells the call of changes, and
        ``lifetimes`` how long it may last.
        """
        self._loop = asyncio.get_running_loop()
        self.info = info
        self._control = control
        self._meter = meter
        self.recorder = recorder
        self._credit = credit
        credit.listener = self
        self._allowance = Allowance()
        self._on_ended = on_ended
        self._sideband: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # something was heard, or the sideband is gone
        self.over = asyncio.Event()
        self._passed_until = self._loop.time()
        self._age = Age(lifetimes, info.provider, opened_at=self._passed_until)
        # The newest sideband, and since when there was none that lasted.
        self._heard_since = 0.0
        self._unheard_since: float | None = None
        self._doubt = Doubt()
        self._leave_by: float | None = None
        self.was_cut_off = False
        self._log = log.bind(call=info.call_id, session=info.session_id, account=info.account_id)
        self.state = State.OPENING

    async def open(self, *, patience_s: float) -> None:
        """Hear the call, within ``patience_s``: a provider may need a moment to know it.

        Raises ``ProviderUnavailableError``; then the call has ended as far as this object goes, and
        goes on at the provider.
        """
        try:
            await self._dial(patience_s)
        except ProviderUnavailableError:
            if self.state is State.OPENING:
                self._finish()
            raise
        if self.state is not State.HEARD:
            raise ProviderUnavailableError("the call was hung up while it was opened")
        self._log.info("call opened", provider=self.info.provider, model=self.recorder.model)
        self.credit_changed()  # it may allow nothing any more

    async def named(self) -> None:
        """Wait until the provider has said which model the call has, for ``CLOSE_S`` at most."""
        await self._until(
            lambda: bool(self.recorder.model) or self.state is State.ENDED, seconds=CLOSE_S
        )

    def hang_up(self, reason: str) -> None:
        """End the call now; ``over`` is set when that is done."""
        if self.state in (State.ENDING, State.ENDED):
            return
        self._log.info("call is hung up", reason=reason)
        self._move(State.ENDING)
        self._start(self._end())

    def leave(self, leave_by: float) -> None:
        """The gateway is going away: let a response finish, until ``leave_by`` at most."""
        self._leave_by = leave_by
        self.check(self._loop.time())

    def abandon(self) -> None:
        """The gateway cannot wait any longer: end now, with what is known."""
        if self.state is not State.ENDED:
            self._log.error("call abandoned", hint="it may go on at the provider, and is unmetered")
        if self._task is not None:
            self._task.cancel()
        self._finish()

    def check(self, now: float) -> None:
        """Called every second: whatever has a deadline."""
        if self.state is State.ENDED:
            return
        self._pass_time(now)
        self._settle_doubt(now)
        self.recorder.send_due(now)
        if self._sideband is not None:
            self._sideband.check(now)
            if now - self._heard_since > CALL_RETRY_S_MAX:
                self._unheard_since = None
        if self._allowance.status is not CreditStatus.AVAILABLE:
            self.credit_changed()
        if self._allowance.is_overdue(now, is_streaming=False):
            self.hang_up("the credit cannot be confirmed")
        elif self._leave_by is not None and (now > self._leave_by or not self.recorder.in_flight):
            self.hang_up("the gateway stops")
        elif self._is_too_old(now):
            self.hang_up("the call is too old")

    # --- what it hears ----------------------------------------------------------------------------

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Data frames of the sideband."""
        now = self._loop.time()
        self._pass_time(now)
        has_metered = self.recorder.observe(frames)
        self.recorder.heard(frames)
        self._settle_doubt(now)
        self._news.set()
        if has_metered or self._allowance.status is not CreditStatus.AVAILABLE:
            self.credit_changed()

    def connection_closed(self, close: CloseEvent) -> None:
        """The sideband is gone. Whatever the provider says by it, the call may go on: only one that
        it does not know any more is over.
        """
        self._sideband = None
        self._news.set()
        if is_about_account(close.reason):
            self.recorder.account_refused(str(close.code))
        if self.state is not State.HEARD:
            return
        told = self._log.info if close.code in _ORDERLY else self._log.warning
        told("sideband closed", code=close.code, reason=close.reason)
        self._move(State.UNHEARD)
        self._start(self._return())

    # --- its credit -------------------------------------------------------------------------------

    def credit_changed(self) -> None:
        """The credit allows something else than before."""
        if self.state not in (State.HEARD, State.UNHEARD):
            return
        if self._credit.is_near_empty:
            self.recorder.flush()
        status, streaming = self._credit.status, self.recorder.streaming
        action = self._allowance.review(status, streaming, now=self._loop.time())
        if action is Action.END:
            self.was_cut_off = True
            self.hang_up("the account's credits are used up")

    def balance_announced(self) -> None:
        """Nobody can be told."""

    # --- helpers ----------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> None:
        self._meter.passed(now - self._passed_until)
        self._passed_until = now

    def _is_too_old(self, now: float) -> bool:
        is_streaming = bool(self.recorder.streaming)
        return self._age.due(self.recorder.model, now, is_streaming=is_streaming) is Due.END

    def _settle_doubt(self, now: float) -> None:
        """Estimate responses whose end was missed while no sideband heard the call."""
        if lost := self._doubt.settle(self.recorder.streaming, now=now):
            for found in self._meter.give_up_responses(lost):
                self.recorder.record(found)

    async def _dial(self, patience_s: float) -> None:
        try:
            await retry(
                lambda: self._control.dial(self, self._opened),
                patience_s=patience_s,
                is_final=lambda exc: is_over(exc) and self.state is State.UNHEARD,
            )
        except ProviderUnavailableError as exc:
            if exc.is_about_account:
                self.recorder.account_refused(str(exc.status))
            raise

    def _opened(self, connection: Upstream) -> None:
        if self.state not in (State.OPENING, State.UNHEARD):
            connection.sink = Discard()
            connection.abort()
            return
        self._sideband, self._heard_since = connection, self._loop.time()
        self._doubt.begin(self.recorder.streaming, now=self._heard_since)
        self._move(State.HEARD)

    async def _return(self) -> None:
        """Hear the call again, or end it. A sideband that is closed at once was none."""
        if self._unheard_since is None:
            self._unheard_since = self._loop.time()
        else:
            await asyncio.sleep(CALL_RETRY_S)
        patience_s = self._unheard_since + CALL_UNHEARD_S - self._loop.time()
        try:
            if patience_s < 0:
                raise ProviderUnavailableError("every sideband is closed at once")
            await self._dial(patience_s)
        except ProviderUnavailableError as exc:
            if is_over(exc):
                self._finish()
                return
            self._log.error("call lost", reason=str(exc), hint=exc.hint or "it is hung up")
            self._move(State.ENDING)
            await self._end()
        else:
            self._log.info("call heard again")
            self.credit_changed()

    async def _end(self) -> None:
        """Cancel what is being said and wait for its usage, hang up, wait for the end."""
        await self._cancel()
        is_hung_up = await self._is_hung_up()
        while not is_hung_up and not self._is_too_old(self._loop.time()):
            await self._until(lambda: self._sideband is None, seconds=CALL_STUCK_S)
            is_hung_up = await self._is_hung_up()
        await self._until(lambda: self._sideband is None, seconds=CLOSE_S)
        self._finish()

    async def _is_hung_up(self) -> bool:
        try:
            await self._control.hang_up()
        except ProviderUnavailableError as exc:
            self._log.error("call not hung up", reason=str(exc), hint=_STUCK)
            return False
        return True

    async def _cancel(self) -> None:
        if self._sideband is None:
            return
        answers_before = self.recorder.answers
        for cancel in self.recorder.cancel_events():
            self._sideband.send_event(cancel)
        await self._until(
            lambda: (
                self._sideband is None
                or (self.recorder.answers > answers_before and not self.recorder.in_flight)
            ),
            seconds=CLOSE_S,
        )

    async def _until(self, is_so: Callable[[], bool], *, seconds: float) -> None:
        """Wait until ``is_so``, for so long at most."""
        try:
            async with asyncio.timeout(seconds):
                while not is_so():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with the call in another way than before."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.error("call failed", exc_info=exc)
            self.abandon()

    def _finish(self) -> None:
        if self.state is State.ENDED:
            return
        self._move(State.ENDED)
        if self._sideband is not None:
            self._sideband.sink = Discard()
            self._sideband.abort()
            self._sideband = None
        self.recorder.finish()
        self._credit.close()
        self.over.set()
        self._news.set()
        if self._heard_since:
            self._log.info("call ended", **self.recorder.summary())
        self._on_ended(self)

    def _move(self, state: State) -> None:
        self.state = advance(TRANSITIONS, self.state, state)
