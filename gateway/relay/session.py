"""One voice session: a client's connection, a provider's connection, and what became of them.

The life of a session is a table (``TRANSITIONS``)::

    CONNECTING ──▶ RELAYING ──▶ DRAINING ──▶ ENDED

The client is accepted first and the provider dialled while the client may already talk. When the
client is gone, by its will or ours, the session *drains* (``relay.drain``): its client is cut out
and the provider is heard out. When the provider connection is gone, the session has ended.

A session lives on its account's credit (``credit.credit``). Once nothing is left, what is being
said by then is finished, then the client is told and the session drains. While it is not known
whether anything is left, the client is held: nothing is taken from it.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

import structlog

from gateway.connections.close import (
    ABNORMAL_CLOSURE,
    GOING_AWAY,
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    CloseEvent,
)
from gateway.connections.connection import Connection, Discard
from gateway.connections.receive_queue import Pause
from gateway.connections.upstream import ProviderUnavailableError, Upstream
from gateway.credit.allowance import Allowance
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.frames import Frame
from gateway.handles.asking import Ask, Asking
from gateway.http.refusals import Refusal
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S
from gateway.metering.account_errors import NEUTRAL_CODE, is_about_account
from gateway.metering.recorder import Recorder
from gateway.providers.base import Provider
from gateway.providers.lifetimes import Lifetimes
from gateway.providers.opening import Gate
from gateway.relay import lifetime
from gateway.relay.drain import Drain
from gateway.relay.lifetime import Due
from gateway.relay.sinks import (
    ConfigurationMonitor,
    DownstreamForwarder,
    PreOpenBuffer,
    UpstreamForwarder,
)

log = structlog.get_logger()

NOT_FOUND: Final = 404
_PRIVATE_CODES: Final = 3000  # and above: a provider's own, on which no SDK redials
RESTARTING: Final = "gateway draining: it restarts, connect again"


class State(Enum):
    """Where a session is in its life."""

    CONNECTING = auto()
    RELAYING = auto()
    DRAINING = auto()
    ENDED = auto()


TRANSITIONS: Final = {
    State.CONNECTING: {State.RELAYING, State.ENDED},
    State.RELAYING: {State.DRAINING, State.ENDED},
    State.DRAINING: {State.ENDED},
    State.ENDED: set[State](),
}


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Who talks to whom; the fields of every log line of the session."""

    session_id: str
    account_id: str
    provider: str


class Session:
    """Joins two connections and ends each when the other does."""

    def __init__(
        self,
        info: SessionInfo,
        *,
        client: Connection,
        provider: Provider,
        recorder: Recorder,
        credit: SessionCredit,
        gate: Gate | None,
        ask: Ask,
        preface: Sequence[Frame],
        lifetimes: Lifetimes,
        on_ended: Callable[["Session"], None],
        now: float,
    ) -> None:
        """``client`` has just been upgraded; ``now`` is the event loop's time.

        ``gate`` is what the client's messages pass where its first one names the model; ``ask``
        finds out whether the client may use the handle that such a message names; ``preface`` is
        what goes to the provider in the client's name before all that it says itself;
        ``lifetimes`` say how long it may last. ``credit`` tells the session of changes until it has
        ended.
        """
        self._client: Connection | None = client
        self._provider: Upstream | None = None
        self._adapter = provider
        self._gate = gate
        self._asking = Asking(ask)
        self.recorder = recorder
        self._credit = credit
        credit.listener = self
        self._allowance = Allowance()
        self._held_since: float | None = None
        self._owes_balance = self._owes_warning = credit.wants_balances
        self._sink: DownstreamForwarder | None = None
        self.was_cut_off = False
        self._on_ended = on_ended
        self._dialling: asyncio.Task[None] | None = None
        self._opened_at, self._lifetimes = now, lifetimes
        self._leave_by: float | None = None
        self._leave_code = GOING_AWAY
        self.drain: Drain | None = None
        self._waiting: PreOpenBuffer | None = PreOpenBuffer(client, self.client_disconnected)
        self._has_preface = bool(preface)
        self._info = info
        self._log = log.bind(session=info.session_id, account=info.account_id)
        self.state = State.CONNECTING
        self._waiting.frames_received(preface)
        client.sink = self._waiting
        self._log.info("session opened", provider=info.provider, model=recorder.model)

    def provider_sink(self) -> DownstreamForwarder:
        """The sink of the provider's frames; only the provider's connection holds it."""
        assert self._client is not None
        self._sink = DownstreamForwarder(
            self.recorder,
            self._client,
            on_metered=self._metered,
            on_close=self.provider_disconnected,
        )
        return self._sink

    # --- events -----------------------------------------------------------------------------------

    def dialling(self, task: asyncio.Task[None]) -> None:
        """The task that connects to the provider; it is cancelled when the client leaves."""
        assert self.state is State.CONNECTING
        self._dialling = task

    def provider_connected(self, provider: Upstream) -> None:
        """The provider is there: join the connections."""
        if self.state is not State.CONNECTING or self._client is None:
            provider.sink = Discard()
            provider.abort()
            return
        self._move(State.RELAYING)
        client, self._provider, self._dialling = self._client, provider, None
        waiting, self._waiting = self._waiting, None
        client.feeder, provider.feeder = provider, client
        if self._has_preface and self._sink is not None:
            provider.sink = ConfigurationMonitor(self._sink, partial(self._configured, provider))
        client.sink = to_provider = UpstreamForwarder(
            self.recorder,
            provider,
            gate=self._gate,
            on_refused=self._refuse_model,
            on_asked=self._ask,
            on_close=self.client_disconnected,
        )
        self._log.info("provider connected")
        if waiting is not None:
            waiting.release(to_provider)
        self._metered()

    def provider_unavailable(self, failure: ProviderUnavailableError) -> None:
        """The provider could not be reached."""
        if self.state is State.CONNECTING:
            provider = self._info.provider
            self._log.error(
                "provider unavailable", provider=provider, reason=str(failure), hint=failure.hint
            )
            if failure.is_about_account:
                self.recorder.account_refused(str(failure.status))
            self._fail_client(failure.code, failure.client_message, failure.close_code)
            self._finish()

    def client_disconnected(self, close: CloseEvent) -> None:
        """The client is gone."""
        self._log.info("client left", code=close.code, reason=close.reason)
        self._client_gone()

    def provider_disconnected(self, close: CloseEvent) -> None:
        """The provider is gone: everything that it sent has been seen."""
        client = self._client
        if client is not None and self.state is State.RELAYING:
            self._log.info("provider left", code=close.code, reason=close.reason)
            if close.code == ABNORMAL_CLOSURE or close.is_violation:
                self._fail_client("provider_connection_lost", "The provider's connection broke.")
            else:
                client.sink = Discard()
                client.close(*self._told(close))
        self._finish()

    def credit_changed(self) -> None:
        """The credit allows something else than before: end, wait, or go on."""
        client = self._client
        if client is None:
            return
        if self._credit.is_near_empty:
            self.recorder.flush()
        status = self._credit.status
        now = asyncio.get_running_loop().time()
        is_busy = self._allowance.review(status, self.recorder.streaming, now=now)
        self._wait_for_gap(is_waiting=status is not CreditStatus.AVAILABLE or self._owes_balance)
        if status is CreditStatus.EXHAUSTED and not is_busy and not client.is_mid_message:
            self._cut_off()
        elif status is CreditStatus.ALLOTMENT_SPENT and not is_busy and self._held_since is None:
            self._held_since = now
            client.pause(Pause.CREDIT)
        elif status is CreditStatus.AVAILABLE and self._held_since is not None:
            self._held_since = None
            client.resume(Pause.CREDIT)

    def balance_announced(self) -> None:
        """There is a new balance, and the client wants to know."""
        self._owes_balance = True
        self._send_balance()

    def leave(self, leave_by: float, close_code: int) -> None:
        """The gateway is going away: let a response finish, until ``leave_by`` at most."""
        self._leave_by, self._leave_code = leave_by, close_code
        if self.drain is not None:
            self.drain.hurry()
        self.check(asyncio.get_running_loop().time())

    def close_client(self, code: int, reason: str) -> None:
        """End the session from our side."""
        if self._client is not None:
            client = self._client
            self._client_gone()
            client.close(code, reason)

    def close_superseded(self) -> None:
        """Another connection goes on with this session: close it, and what is left of the drain."""
        self._log.info("session gives way", state=self.state.name)
        self.close_client(GOING_AWAY, "the session is resumed on another connection")
        if self._provider is not None:
            self._provider.close()

    def abandon(self) -> None:
        """The gateway cannot wait any longer: end now, with what is known."""
        if self._client is not None:
            self._client.sink = Discard()
        if self._provider is not None:
            self._provider.sink = Discard()
            self._provider.abort()
        self._finish()

    def check(self, now: float) -> None:
        """Called every second: whatever has a deadline."""
        if self._credit.wants_balances:
            self.recorder.flush()  # somebody watches: what was metered is charged within a second
        else:
            self.recorder.send_due(now)
        if self._provider is not None and self.drain is not None:
            self.drain.check(now)
        if self._provider is not None:
            self._provider.check(now)
        if self._owes_balance:
            self._send_balance()
        if self._allowance.status is CreditStatus.EXHAUSTED:
            self.credit_changed()
        hold_s = CREDIT_WAIT_STREAMING_S if self.recorder.streaming else CREDIT_WAIT_S
        if self._held_since is not None and now - self._held_since > hold_s:
            self.close_client(TRY_AGAIN_LATER, "the credit cannot be confirmed; try again later")
        if self._leave_by is not None and (now > self._leave_by or not self.recorder.in_flight):
            self.close_client(self._leave_code, RESTARTING)
        else:
            self._check_lifetime(now - self._opened_at)

    # --- helpers ----------------------------------------------------------------------------------

    def _check_lifetime(self, age_s: float) -> None:
        """End a session that is as old as its provider allows; say so before it is."""
        which = self._lifetimes, self._info.provider, self.recorder.model
        due = lifetime.due(*which, age_s, is_speaking=bool(self.recorder.streaming))
        if due is Due.END:
            self.close_client(GOING_AWAY, "session is too old")
        elif due is Due.WARNING and self._owes_warning and self._client is not None:
            event = lifetime.ending_event(*which, age_s)
            self._owes_warning = not self._client.send_event(event)

    def _told(self, close: CloseEvent) -> tuple[int, str]:
        """The provider's close as the client hears it: what is about our account is not for it.

        A close may say nothing of what the error before it said. For good is only what stays as it
        is when somebody looks after our account.
        """
        is_ours = is_about_account(close.reason)
        if is_ours:
            self.recorder.account_refused(str(close.code))
        is_for_good = close.code == POLICY_VIOLATION or close.code >= _PRIVATE_CODES
        is_after = self.recorder.account_errors > 0 and is_for_good
        if is_ours or is_after or self.recorder.has_just_refused:
            return TRY_AGAIN_LATER, NEUTRAL_CODE
        return close.code, close.reason

    def _refuse_model(self, model: str) -> None:
        """A message of the client named a model that it may not use."""
        self._log.info("model not allowed", model=model)
        message = (
            f"This account may not use the model {model[:80]!r}."
            if model
            else "This account may use certain models only: name one of them first, and clearly."
        )
        self._turn_away("model_not_allowed", message)

    def _ask(self, handle: str) -> None:
        """A message of the client leads to what was said before: it waits until that is its own."""
        if self._client is not None:
            self._client.pause(Pause.OWNERSHIP)
            self._asking.begin(handle, self._answered)

    def _answered(self, refusal: Refusal | None) -> None:
        client, gate = self._client, self._gate
        if client is None or gate is None:
            return
        if refusal is None:
            assert isinstance(client.sink, UpstreamForwarder)
            client.sink.go_on()
            if not self._asking.is_open:  # what was held back may name another handle
                client.resume(Pause.OWNERSHIP)
        elif refusal.status == NOT_FOUND:
            self.close_client(POLICY_VIOLATION, gate.unknown)
        else:
            self.close_client(TRY_AGAIN_LATER, refusal.message)

    def _configured(self, provider: Upstream, is_taken: bool) -> None:
        """The provider has taken what the session was to begin with, or refused it."""
        if self._client is None:
            return
        assert self._sink is not None
        provider.sink = self._sink
        if not is_taken:
            self._log.warning("configuration refused")
            message = "The provider refused the session's configuration, which the key brought."
            self._turn_away("configuration_refused", message)

    def _metered(self) -> None:
        """Something was metered and forwarded, or a gap was waited for."""
        if self._owes_balance:
            self._send_balance()
        self.credit_changed()

    def _wait_for_gap(self, *, is_waiting: bool) -> None:
        if self._sink is not None:
            self._sink.is_waiting = is_waiting

    def _send_balance(self) -> None:
        """Tell the client what is left, between two messages; to one that does not read, later."""
        client = self._client
        if client is None or self.state is not State.RELAYING or client.is_write_paused:
            return
        balance = self._credit.balance
        event = {
            "type": "rts.credit",
            "topup_remaining": balance.topup,
            "token_remaining": balance.tokens,
        }
        text = json.dumps(event, separators=(",", ":")).encode()
        self._owes_balance = not client.send_event(text)
        if self._owes_balance:
            self._wait_for_gap(is_waiting=True)

    def _cut_off(self) -> None:
        """Nothing is left: tell the client, then drain what the provider still says."""
        self._log.info("credit used up", credits_left=self._credit.balance.credits)
        self.was_cut_off = True
        self._turn_away("insufficient_quota", "The account's credits are used up.")

    def _turn_away(self, code: str, message: str) -> None:
        """End the session against the client's will, and say why in its provider's words."""
        client = self._client
        if client is not None:
            self._client_gone()
            self._tell(client, code, message)
            client.close(POLICY_VIOLATION, code)

    def _tell(self, client: Connection, code: str, message: str) -> None:
        event = self._adapter.failure_event(code=code, message=message)
        if event is not None:
            client.send_event(event)

    def _client_gone(self) -> None:
        """Cut the client out, then drain the provider."""
        client, self._client = self._client, None
        if client is None:
            return
        client.sink, client.feeder = Discard(), None
        client.resume_all()
        self._asking.cancel()
        self._held_since = None
        self.recorder.flush()
        if self._provider is None:
            if self._dialling is not None:
                self._dialling.cancel()
            self._finish()
            return
        self._move(State.DRAINING)
        now = asyncio.get_running_loop().time()
        self.drain = Drain(
            self._provider,
            self.recorder,
            on_close=self.provider_disconnected,
            log=self._log,
            now=now,
        )
        if self._leave_by is not None:
            self.drain.hurry()
        self.drain.begin(has_asked=self._gate is None or self._gate.has_passed)

    def _fail_client(self, code: str, message: str, close_code: int = INTERNAL_ERROR) -> None:
        """Tell the client in its provider's words, then close."""
        client, self._client = self._client, None
        if client is not None:
            client.sink, client.feeder = Discard(), None
            self._tell(client, code, message)
            client.close(close_code, message)

    def _finish(self) -> None:
        if self.state is State.ENDED:
            return
        self._move(State.ENDED)
        self._asking.cancel()
        self._client = self._provider = self._waiting = self._sink = None
        self.recorder.finish()
        self._credit.close()
        self._log.info(
            "session ended",
            responses=self.recorder.responses,
            tokens=self.recorder.tokens,
            estimates=self.recorder.estimates,
        )
        self._on_ended(self)

    def _move(self, state: State) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} -> {state}"
        self.state = state
