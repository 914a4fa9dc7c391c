"""A session that outlasts its provider's connection: translated, or kept.

Beside what any session does, it goes on over another connection, to the same provider or to another
one: after a drop, where the provider announces its end or is drained, at the cap of a session's
lifetime, and where a configuration takes a new connection. The client's socket stays open; what it
says meanwhile waits there.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

from gateway.connections.close import INTERNAL_ERROR, CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.upstream import Upstream
from gateway.limits import SETUP_S
from gateway.metering.account_errors import is_about_account
from gateway.metering.base import MaskedError, Meter
from gateway.relay import endings
from gateway.relay.client_side import ClientSide
from gateway.relay.interpreter import Interpreter
from gateway.relay.kept_splice import KeptSplice
from gateway.relay.replacement import Replacement
from gateway.relay.session import Session
from gateway.relay.session_age import AgeAction
from gateway.relay.session_state import SessionState
from gateway.relay.sinks import DownstreamSink
from gateway.translate.conversation import Conversation

log = structlog.get_logger()


# Events by which a provider refuses our account all that it is asked for. (One that only could not
# transcribe still answers.)
_FAILED_RESPONSE: Final = "response.done"
_REFUSING: Final = ("error", _FAILED_RESPONSE)

# What lies between the two connections.
Between = Interpreter | KeptSplice


class Lasting(Protocol):
    """What a session has beside the usual where it outlasts its provider's connection."""

    def redial(self, session: "LastingSession") -> Coroutine[Any, Any, None]:
        """Connect it to a provider again, and call ``Session.provider_connected`` or
        ``provider_unavailable``.
        """

    def meter(self, conversation: str) -> Meter:
        """The meter of that connection, which names the ``conversation``; empty: none."""

    def refused(self, reason: str) -> bool:
        """The provider refuses our account: whether another one would serve the session now."""


class LastingSession(Session):
    """See ``Session``. ``between`` is what lies between client and provider at first."""

    __slots__ = (
        "_has_joined", "_interpreter", "_lasting", "_waits_since", "on_concluded", "replacement",
    )  # fmt: skip

    def __init__(self, *args: Any, lasting: Lasting, between: Between, **others: Any) -> None:
        super().__init__(*args, **others)
        self._lasting = lasting
        self.replacement = Replacement()  # the tries to replace the provider's connection
        self._waits_since: float | None = None
        self._has_joined = False
        # Called when the client is gone, so that nothing is added to the conversation any more.
        self.on_concluded: Callable[[], None] = _nothing
        self._put_between(between)
        self.recorder.on_refused = self._provider_refuses
        self._interpreter.open()

    def moved_to(self, provider: str) -> None:
        """The provider that is dialled next speaks the same protocol as the one before."""
        self._interpreter.moved_to(provider)

    def move(self, make: Callable[[Conversation], Between]) -> None:
        """The provider that is dialled next needs another interpreter than the one before, which
        ``make`` makes for the same conversation. Called while there is no provider.
        """
        former, rest = self._interpreter, self._interpreter.leave()
        former.forget_session()
        interpreter = make(former.conversation)  # as it was left: a session may be given back
        self._put_between(interpreter)
        if not rest.announced:  # the client has heard nothing yet
            interpreter.open()
        interpreter.take_over(rest)

    def _put_between(self, interpreter: Between) -> None:
        self._interpreter = interpreter
        if self._client is not None:
            self._client.is_translated = interpreter.is_translated
        interpreter.asked = self
        interpreter.brings_configuration = bool(self._opening.preface)

    @property
    def conversation(self) -> Conversation:
        """What was configured and said."""
        return self._interpreter.conversation

    @property
    def resumption(self) -> str:
        """The provider's conversation that the next connection is to name (xAI); empty: none."""
        found = self._interpreter.resumption
        return "" if found is None else found.name

    def resumption_refused(self) -> None:
        """The provider takes no connection that names it."""
        if self._interpreter.resumption is not None:
            self._interpreter.resumption.refused()

    def supersede(self) -> None:
        """Another connection goes on with this conversation."""
        self._log.info("session superseded", state=self.state.name)
        self.dismiss(endings.SUPERSEDED)

    @property
    def retries_first_dial(self) -> bool:
        """Whether the client waits for nothing yet, so that a first dial may be tried again."""
        return self._interpreter.is_translated

    @property
    def is_renewable(self) -> bool:
        """Whether another connection may take the place of the provider's now."""
        return self.state is SessionState.RELAYING and self._departure is None

    def renew_between_turns(self) -> None:
        """Have the provider's connection replaced once no response is open."""
        self._interpreter.renew_between_turns()

    def leave_between_turns(self) -> None:
        """Go on over another connection, to another provider, once no response is open."""
        self._interpreter.leave_between_turns()

    def stay(self) -> None:
        """That is not needed any more: if it has not come to it yet, it does not."""
        self._interpreter.is_leaving = False

    def _make_sink(self, client: Connection) -> DownstreamSink:  # noqa: ARG002 - the base's
        return self._interpreter.provider_sink(
            on_metered=self._metered, on_close=self.provider_disconnected
        )

    def _join(self, client: Connection, provider: Upstream) -> None:
        assert self._client is not None
        self.replacement.connected(self._loop.time())
        sink = self._interpreter.client_sink(
            on_model_refused=self.refuse_model,
            on_handle_named=self._client.ask_for_handle,
            on_close=self.client_disconnected,
        )
        client.sink = self._client.gated(sink)
        if client.is_write_paused:  # since before this provider was there to be paused
            provider.pause(Pause.BACKPRESSURE)
        self._interpreter.provider_connected(provider)
        if self._interpreter.is_translated and self._opening.gate is not None:
            self._opening.gate.open()  # the translator gets the first message, and names no handle
        if self._has_joined:
            self._client.notices.send_provider(client, self.recorder.provider, self.recorder.model)
        self._has_joined = True

    def _age_is_due(self, due: AgeAction, client: ClientSide, now: float) -> None:  # noqa: ARG002
        """The provider's connection is nearly as old as it may be: another one takes its place once
        nothing is being said.
        """
        self._interpreter.renew_between_turns()

    def renew_provider(self) -> None:
        """See ``Asked``: the provider's old connection is closed first, as some providers (Gemini)
        resume no session that is still in use.
        """
        if self._provider is not None:
            self.replacement.renewing()
            self._provider.close()

    def _is_replaced(self, close: CloseEvent) -> bool:
        client, provider = self._client, self._provider
        if client is None or provider is None or self._departure is not None:
            return False
        refuses = is_about_account(close.reason) or self.recorder.has_just_refused
        if refuses and not self._lasting.refused(close.reason):
            return False
        if not self._interpreter.may_be_replaced:
            return False
        now, was_accepted = self._loop.time(), not self._interpreter.is_waiting
        if not self.replacement.may_follow(
            close, now, was_accepted=was_accepted, has_refuge=refuses
        ):
            return False
        if refuses and not self.recorder.has_just_refused:  # else that was counted
            self.recorder.account_refused(str(close.code))
        self._move(SessionState.RECONNECTING)
        self._provider, client.connection.feeder, provider.feeder = None, None, None
        self._interpreter.provider_disconnected()
        client.connection.resume(Pause.BACKPRESSURE)  # of the provider that is gone
        if self.state is SessionState.RECONNECTING:  # else the client could not be told
            self.recorder.reconnect(self._lasting.meter(self.resumption))
            self._age.restart(self._loop.time())
            work = self._lasting.redial(self)
            task = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(self._redialled)
            self.dial_started(task)
        return True

    def _provider_refuses(self, error: MaskedError) -> bool:
        """The provider refuses our account: whether the client hears nothing of it, as the session
        goes on at another provider at once. A response that failed by it has ended for the client;
        the next one is another provider's.
        """
        if error.kind not in _REFUSING or not self.is_renewable:
            return False
        if not self._lasting.refused(f"it refuses our account: {error.code}"):
            return False
        if error.kind == _FAILED_RESPONSE:
            self._interpreter.leave_between_turns()
            return False
        if not self._interpreter.may_be_replaced:
            return False
        self._interpreter.leave_now()
        return True

    def check(self, now: float) -> None:
        """See ``Session``; a provider that does not answer the setup, that says nothing at first
        where it should, or that answers no ping while the client speaks, is replaced, too.
        """
        super().check(now)
        self._check_addressed(now)
        if self._provider is None or not self._interpreter.is_waiting:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since > SETUP_S:
            self._waits_since = None
            self._log.warning("setup not answered", waited_s=SETUP_S)
            self._provider.lose(f"no answer to the setup for {SETUP_S:g} s")

    def _check_addressed(self, now: float) -> None:
        client, provider = self._client, self._provider
        if client is None or provider is None:
            return
        # Times are those of checks: of two in the same second either may have been the last.
        if client.connection.heard_at >= provider.heard_at:
            provider.check_addressed(now)

    def refuse_configuration(self) -> None:
        """See ``Asked``."""
        self._log.warning("configuration refused")
        self.dismiss(endings.CONFIGURATION_REFUSED)

    def _drain(self) -> None:
        if self._client is not None:
            self._interpreter.conclude()
        super()._drain()
        self.on_concluded()

    def abandon(self) -> None:
        """See ``Session``; nobody is dialled any more."""
        if self._dial_task is not None:
            self._dial_task.cancel()
        super().abandon()

    def _finish(self) -> None:
        super()._finish()
        self.recorder.on_refused = None
        self._interpreter.forget_session()

    def _redialled(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("dialling again failed", exc_info=exc)
            self.close_client(INTERNAL_ERROR, "internal error")


def _nothing() -> None:
    """Nobody waits for the end of the conversation."""
