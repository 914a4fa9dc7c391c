"""One voice session: a client's connection, a provider's connection, and what became of them.

``door.session_opener`` makes a session for each client that was admitted, and ``session_registry``
calls ``check`` on each every second; the sinks of both connections and the account's credit report
to it. The life of a session is a table (``session_state.TRANSITIONS``)::

    CONNECTING ──▶ RELAYING ──▶ DRAINING ──▶ ENDED
         │          ▲  │  │                   ▲
         │          │  ▼  └───────────────────┤
         │     RECONNECTING ──────────────────┤
         └────────────────────────────────────┘

The client is accepted first, and the provider is dialled while the client may already send. When
the client is gone, by its will or ours, the session *drains* (``relay.provider_drain``): the client
is cut out, and the provider is heard until it has reported what its last response cost. When the
provider's connection is gone, the session has ended; where it is translated another one may take
its place (``relay.lasting_session``).

A session spends its account's credit (``credit.cut_off``). Once nothing is left, responses that
are streaming are finished, then the client is told and the session drains. While it is not known
whether anything is left, the client is paused: its frames are not forwarded.
"""

import asyncio
from functools import partial

import structlog
from structlog.typing import FilteringBoundLogger

from gateway.connections.close import ABNORMAL_CLOSURE, GOING_AWAY, TRY_AGAIN_LATER, CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.upstream import Upstream
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.metering.usage_recorder import Recorder
from gateway.relay import endings, sinks
from gateway.relay.client_side import ClientSide
from gateway.relay.endings import Ending
from gateway.relay.provider_drain import Drain
from gateway.relay.session_age import Age, AgeAction
from gateway.relay.session_state import (
    DIALLING,
    TRANSITIONS,
    Departure,
    Listener,
    Opening,
    SessionInfo,
    SessionState,
)
from shared.state_machine import advance

log = structlog.get_logger()


class Session:
    """Joins two connections and ends each when the other does."""

    __slots__ = (
        "_age", "_client", "_credit", "_departure", "_dial_task", "_info", "_listener", "_loop",
        "_opening", "_pre_open", "_provider", "_sink", "drain", "recorder", "state", "was_cut_off",
    )  # fmt: skip

    def __init__(
        self,
        info: SessionInfo,
        *,
        client: Connection,
        recorder: Recorder,
        credit: SessionCredit,
        opening: Opening,
        age: Age,
        listener: "Listener[Session]",
    ) -> None:
        """``client`` has been upgraded. ``credit`` tells the session of changes until its end."""
        self._loop = asyncio.get_running_loop()
        self._info = info
        self._client: ClientSide | None = ClientSide(
            client,
            info=info,
            credit=credit,
            opening=opening,
            on_handle_refused=self.close_client,
        )
        self._provider: Upstream | None = None
        self.recorder = recorder
        self._opening = opening
        self._credit = credit
        credit.listener = self
        self._age = age
        self._departure: Departure | None = None
        self._sink: sinks.DownstreamSink | None = None
        self._dial_task: asyncio.Task[None] | None = None
        self._listener = listener
        self.drain: Drain | None = None
        self.was_cut_off = False
        self.state = SessionState.CONNECTING
        client.sink = pre_open = sinks.PreOpenBuffer(client, self.client_disconnected)
        pre_open.frames_received((*opening.preface, *opening.received))
        self._pre_open: sinks.PreOpenBuffer | None = pre_open
        self._log.info("session opened", provider=info.provider, model=recorder.model)

    @property
    def _log(self) -> FilteringBoundLogger:
        """Not kept: five lines in a session's life are worth no 300 bytes."""
        bound: FilteringBoundLogger = log.bind(
            session=self._info.session_id, account=self._info.account_id
        )
        return bound

    def provider_sink(self) -> sinks.DownstreamSink:
        """The sink of the frames of one connection to the provider, which alone holds it."""
        assert self._client is not None
        self._sink = self._make_sink(self._client.connection)
        return self._sink

    # --- events of the connections ----------------------------------------------------------------

    def dial_started(self, task: asyncio.Task[None]) -> None:
        """``task`` connects to the provider; it is cancelled when the client leaves."""
        assert self.state in DIALLING
        self._dial_task = task

    def provider_connected(self, provider: Upstream) -> None:
        """The provider is there: join the connections."""
        if self.state not in DIALLING or self._client is None:
            provider.discard()
            return
        self._move(SessionState.RELAYING)
        client, self._provider, self._dial_task = self._client.connection, provider, None
        client.feeder, provider.feeder = provider, client
        self._log.info("provider connected", provider=self.recorder.provider)
        self._join(client, provider)
        if self._pre_open is not None:
            pre_open, self._pre_open = self._pre_open, None
            pre_open.release(client.sink)
        self._metered()

    def provider_unavailable(self, failure: ProviderUnavailableError) -> None:
        """The provider could not be reached."""
        if self.state in DIALLING:
            provider = self.recorder.provider
            self._log.error(
                "provider unavailable", provider=provider, reason=str(failure), hint=failure.hint
            )
            if failure.is_about_account:
                self.recorder.account_refused(str(failure.status))
            self._fail(endings.failed(failure.code, failure.client_message, failure.close_code))
            self._finish()

    def client_disconnected(self, close: CloseEvent) -> None:
        """The client is gone."""
        self._log.info("client left", code=close.code, reason=close.reason)
        self._drain()

    def provider_disconnected(self, close: CloseEvent) -> None:
        """The provider is gone: everything that it sent has been seen."""
        client = self._client
        if client is not None and self.state is SessionState.RELAYING:
            self._log.info("provider left", code=close.code, reason=close.reason)
            self._listener.provider_left(close)
            if self._is_replaced(close):
                return
            if close.code == ABNORMAL_CLOSURE or close.is_violation:
                self._fail(endings.PROVIDER_LOST)
            else:
                client.detach()
                client.pass_on(close, self.recorder)
        self._finish()

    # --- events of the credit ---------------------------------------------------------------------

    def credit_changed(self) -> None:
        """The credit allows something else than before: end, wait, or go on."""
        client = self._client
        if client is None:
            return
        if self._credit.is_near_empty:
            self.recorder.flush()
        must_end = client.review_credit(self.recorder, self._loop.time())
        if self._sink is not None:
            self._sink.reports_gaps = client.needs_gaps or self._departure is not None
        if must_end and not client.connection.is_mid_message:
            self._log.info("credit used up", reason=self._credit.used_up.value)
            self.was_cut_off = True
            self.dismiss(endings.used_up(self._credit.used_up))

    def floor_changed(self) -> None:
        """It is this session's turn to ask, or no more: see ``credit.floors``."""
        if self._client is not None:
            self._client.floor_changed()
            if self._sink is not None and self._credit.is_crowded:
                self._sink.reports_gaps = True  # to report responses

    def balance_announced(self) -> None:
        """There is a new balance, and the client wants to know."""
        if self._client is not None:
            self._client.notices.is_balance_due = True
        self._send_balance()

    # --- from the gateway -------------------------------------------------------------------------

    def leave(self, leave_by: float, close_code: int) -> None:
        """The gateway is going away: let a response finish, until ``leave_by`` at most."""
        self._departure = Departure(leave_by, close_code)
        if self.drain is not None:
            self.drain.hurry()
        if self._sink is not None:
            self._sink.reports_gaps = True  # the end of a response may be metered by nothing
        self.check(self._loop.time())

    def close_client(self, code: int, reason: str) -> None:
        """End the session from the gateway's side."""
        client = self._client
        if client is not None:
            self._drain()
            client.connection.close(code, reason)

    def close_superseded(self) -> None:
        """Another connection resumes this session: close it, and cut its drain short."""
        self._log.info("session gives way", state=self.state.name)
        self.close_client(GOING_AWAY, "the session is resumed on another connection")
        if self._provider is not None:
            self._provider.close()

    def abandon(self) -> None:
        """The gateway cannot wait any longer: end now, and charge what was metered."""
        if self._client is not None:
            self._client.detach()
        if self._provider is not None:
            self._provider.discard()
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
        self._send_balance()
        if self._client is not None and self._client.cut_off.status is CreditStatus.EXHAUSTED:
            self.credit_changed()
        if self._client is not None:
            self._check_client(now, self._client)

    # --- helpers ----------------------------------------------------------------------------------

    def _check_client(self, now: float, client: ClientSide) -> None:
        """End the session when its credit is unknown for too long, when the gateway leaves, or when
        it is as old as its provider allows; announce the last of these.
        """
        is_streaming, is_idle = bool(self.recorder.streaming), not self.recorder.in_flight
        departure = self._departure
        if client.cut_off.is_overdue(now, is_streaming=is_streaming):
            self.close_client(TRY_AGAIN_LATER, "the credit cannot be confirmed; try again later")
        elif client.waits_too_long(now):
            self.dismiss(endings.TOO_MANY_FOR_CREDIT)
        elif departure is not None and departure.is_due(now, is_idle=is_idle):
            self.close_client(departure.close_code, endings.RESTARTING)
        else:
            due = self._age.due(self.recorder.model, now, is_streaming=is_streaming)
            if due is not AgeAction.NOTHING:
                self._age_is_due(due, client, now)

    def _metered(self) -> None:
        """Something was metered and forwarded, or a gap between two messages was waited for."""
        self._send_balance()
        self.credit_changed()
        client = self._client
        if self._departure and client is not None and not client.connection.is_mid_message:
            self._check_client(self._loop.time(), client)

    def _send_balance(self) -> None:
        """Tell the client its balance if that is due; the sink calls again when it had to wait."""
        client = self._client
        if client is None or not client.notices.is_balance_due:
            return
        if self.state is SessionState.RELAYING:
            client.notices.send_balance(client.connection)
        if client.notices.is_balance_due and self._sink is not None:
            self._sink.reports_gaps = True

    def _configured(self, provider: Upstream, is_accepted: bool) -> None:
        """The provider has accepted the session's configuration, or refused it."""
        if self._client is None:
            return
        assert self._sink is not None
        provider.sink = self._sink
        if not is_accepted:
            self._log.warning("configuration refused")
            self.dismiss(endings.CONFIGURATION_REFUSED)

    def refuse_model(self, model: str) -> None:
        """A message of the client named a model that it may not use."""
        self._log.info("model not allowed", model=model)
        self.dismiss(endings.model_not_allowed(model))

    # --- what differs in a lasting session -------------------------------------------------------

    def _make_sink(self, client: Connection) -> sinks.DownstreamSink:
        """The sink of the provider's frames."""
        return sinks.DownstreamForwarder(
            self.recorder, client, on_metered=self._metered, on_close=self.provider_disconnected
        )

    def _join(self, client: Connection, provider: Upstream) -> None:
        """Both are there: the client's frames go to the provider's sink now."""
        assert self._client is not None
        if self._opening.preface and isinstance(self._sink, sinks.DownstreamForwarder):
            configured = partial(self._configured, provider)
            provider.sink = sinks.ConfigurationMonitor(self._sink, configured)
        forwarder = sinks.UpstreamForwarder(
            self.recorder,
            provider,
            gate=self._opening.gate,
            on_model_refused=self.refuse_model,
            on_handle_named=self._client.ask_for_handle,
            on_close=self.client_disconnected,
        )
        client.sink = self._client.gated(forwarder)

    def _is_replaced(self, _close: CloseEvent) -> bool:
        """Whether another connection takes the place of the provider's, which is gone."""
        return False

    def _age_is_due(self, due: AgeAction, client: ClientSide, now: float) -> None:
        """The session is nearly, or fully, as old as its provider allows."""
        if due is AgeAction.END:
            self.close_client(GOING_AWAY, "session is too old")
        else:
            warning = self._age.ending_event(self.recorder.model, now)
            client.notices.send_warning(client.connection, warning)

    # --- ways to end ------------------------------------------------------------------------------

    def dismiss(self, ending: Ending) -> None:
        """End the session against the client's will: say why, and drain the provider."""
        client = self._client
        if client is not None:
            self._drain()
            client.end(ending)

    def _fail(self, ending: Ending) -> None:
        """The provider is not there (any more): tell the client and close."""
        client, self._client = self._client, None
        if client is not None:
            client.detach()
            client.end(ending)

    def _drain(self) -> None:
        """Cut the client out, then drain the provider."""
        client, self._client = self._client, None
        if client is None:
            return
        self._sink = self._pre_open = None  # they refer to the client
        self._credit.leave_floor()
        client.detach()
        self._listener.client_gone()
        client.connection.resume_all()
        self.recorder.flush()
        if self._provider is None:
            if self._dial_task is not None:
                self._dial_task.cancel()
            self._finish()
            return
        self._move(SessionState.DRAINING)
        self.drain = Drain(
            self._provider,
            self.recorder,
            on_close=self.provider_disconnected,
            log=self._log,
            now=self._loop.time(),
        )
        if self._departure is not None:
            self.drain.hurry()
        gate = self._opening.gate
        self.drain.begin(has_asked=gate is None or gate.has_passed)

    def _finish(self) -> None:
        if self.state is SessionState.ENDED:
            return
        self._move(SessionState.ENDED)
        self._listener.client_gone()
        if self._client is not None:
            self._client.cancel_ownership_check()
        # Nothing refers to this session in a circle: its memory returns at once.
        self._client = self._provider = self._sink = self._pre_open = None
        self._dial_task = self.drain = None
        self.recorder.finish()
        self._credit.close()
        self._log.info("session ended", **self.recorder.summary())
        self._listener.ended(self)

    def _move(self, state: SessionState) -> None:
        self.state = advance(TRANSITIONS, self.state, state)
