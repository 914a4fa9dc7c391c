"""The client of one session, for as long as the session has one.

``Session`` makes it from the client's connection and drops it when the client is gone, by its will
or ours. Nothing else in ``relay`` refers to the client then, so nothing can be sent to it any more.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from gateway.connections.close import NORMAL_CLOSURE, POLICY_VIOLATION, TRY_AGAIN_LATER, CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard, Sink
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.credit.cut_off import CreditAction, CutOff
from gateway.handles.ownership_check import OwnershipCheck
from gateway.http.refusals import Refusal
from gateway.limits import FLOOR_WAIT_S
from gateway.metering.account_errors import is_about_account
from gateway.metering.usage_recorder import Recorder
from gateway.providers.failure_events import failure_event
from gateway.relay import endings
from gateway.relay.endings import Ending
from gateway.relay.floor_sink import FloorSink
from gateway.relay.notices import Notices
from gateway.relay.session_state import Opening, SessionInfo
from gateway.relay.sinks import PreOpenBuffer

NOT_FOUND: Final = 404


@runtime_checkable
class Gated(Protocol):
    """The sink of a client whose messages pass a gate."""

    def resume(self) -> None:
        """The client may use the handle that it named: forward what waits in the gate."""


class ClientSide:
    """What a session says to its client, and what the client has to wait for."""

    __slots__ = (
        "_asks_since", "_credit", "_gate", "_info", "_on_handle_refused", "_ownership_check",
        "connection", "cut_off", "is_translated", "notices",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        *,
        info: SessionInfo,
        credit: SessionCredit,
        opening: Opening,
        on_handle_refused: Callable[[int, str], None],
    ) -> None:
        """``info`` names the protocol for errors. ``on_handle_refused`` is called with the close
        code and reason when the client may not use the handle that it named.
        """
        self.connection = connection
        self.notices = Notices(credit)
        self.cut_off = CutOff()
        self._credit = credit
        self._asks_since: float | None = None  # since when it waits for the floor
        self.is_translated = False  # the provider speaks another protocol
        self._info = info
        self._gate = opening.gate
        self._ownership_check = OwnershipCheck(opening.ask)
        self._on_handle_refused = on_handle_refused

    def cancel_ownership_check(self) -> None:
        """The result of a check of a handle is of no use any more."""
        self._ownership_check.cancel()

    def detach(self) -> None:
        """The session goes on, or ends, without this client."""
        self._ownership_check.cancel()
        if isinstance(self.connection.sink, PreOpenBuffer):
            self.connection.sink.close()
        self.connection.sink, self.connection.feeder = Discard(), None

    # --- the account's credit ---------------------------------------------------------------------

    def review_credit(self, recorder: Recorder, now: float) -> bool:
        """Let the client wait or go on as its account's credit allows; whether it must end."""
        self._credit.report()
        status = self._credit.status
        action = self.cut_off.review(
            status,
            recorder.streaming,
            now=now,
            is_asked=recorder.is_asked,
            may_answer=recorder.may_answer,
        )
        if action is CreditAction.PAUSE:
            is_last = status is CreditStatus.EXHAUSTED
            self.connection.pause(Pause.LAST if is_last else Pause.CREDIT)
        elif action is CreditAction.RESUME:
            self.connection.resume(Pause.CREDIT | Pause.LAST)
        return action is CreditAction.END

    @property
    def needs_gaps(self) -> bool:
        """Whether its session has to see to something after any frames of the provider's."""
        is_short = self.cut_off.status is not CreditStatus.AVAILABLE or self._credit.is_crowded
        return is_short or self.notices.is_balance_due

    def gated(self, sink: Sink) -> Sink:
        """What the client's frames go to now that their sink is ``sink``."""
        if self._credit.has_floor:
            return sink
        return FloorSink(sink, self.connection, self._asks)

    def floor_changed(self) -> None:
        """The session has got the floor, or has lost it."""
        sink = self.connection.sink
        if not self._credit.has_floor:
            if not isinstance(sink, FloorSink | PreOpenBuffer):
                self.connection.sink = self.gated(sink)
            if self._asks_since is not None:  # it has got one of several, or lost it
                self._credit.ask_for_floor()
            return
        self._asks_since = None
        if isinstance(sink, FloorSink):
            self.connection.sink = sink.sink
        self.connection.resume(Pause.FLOOR)

    def waits_too_long(self, now: float) -> bool:
        """Whether others have had the floor for too long. ``now`` is monotonic seconds."""
        if self._asks_since is None:
            return False
        return now - self._asks_since > FLOOR_WAIT_S

    def _asks(self) -> None:
        self._asks_since = asyncio.get_running_loop().time()
        self._credit.ask_for_floor()

    # --- the end ----------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """Tell the client why in the protocol that it speaks, then close."""
        event = failure_event(self._info.dialect, code=ending.code, message=ending.message)
        if event is not None:
            self.connection.send_event(event)
        self.connection.close(ending.close_code, ending.reason)

    def pass_on(self, close: CloseEvent, recorder: Recorder) -> None:
        """Close as the provider closed, unless that is about our own account. A client that speaks
        another protocol than the provider is told the reason in its own first.
        """
        if is_about_account(close.reason):
            recorder.account_refused(str(close.code))
        code, reason = endings.close_for_client(
            close,
            has_account_errors=recorder.account_errors > 0,
            has_just_refused=recorder.has_just_refused,
        )
        if self.is_translated and code != NORMAL_CLOSURE:
            self.end(endings.provider_closed(code, reason))
        else:
            self.connection.close(code, reason)

    def ask_for_handle(self, handle: str) -> None:
        """A message names ``handle``: it waits in the gate, and what follows in the connection,
        until accountd has said whose handle that is.
        """
        self.connection.pause(Pause.OWNERSHIP)
        self._ownership_check.begin(handle, self._ownership_checked)

    def _ownership_checked(self, refusal: Refusal | None) -> None:
        assert self._gate is not None
        if refusal is None:
            sink = self.connection.sink
            assert isinstance(sink, Gated)
            sink.resume()
            # What waited in the gate may name another handle.
            if not self._ownership_check.is_pending:
                self.connection.resume(Pause.OWNERSHIP)
        elif refusal.status == NOT_FOUND:
            self._on_handle_refused(POLICY_VIOLATION, self._gate.unknown_handle_reason)
        else:
            self._on_handle_refused(TRY_AGAIN_LATER, refusal.message)
