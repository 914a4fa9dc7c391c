"""What lies between the client and the provider of one session that may have several providers.

Where they speak different protocols that is an interpreter with a translator, else a splice that
keeps the conversation. ``Betweens`` also goes with its session wherever that is served. Made by
``session_opener``; told by ``dialer`` of each move.
"""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.accountd_client.lease_book import Lease
from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.conversations.claim import Claim
from gateway.door.allowed_models import ModelTable
from gateway.door.dialer import Dialer, Place
from gateway.door.queries import resuming
from gateway.door.routing import with_provider_model
from gateway.door.translators import keeper_for, translator_for
from gateway.handles.resumable import SessionHandles
from gateway.metering.account_errors import is_about_account
from gateway.metering.base import Meter
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import Dialect, Target
from gateway.providers.first_message_gate import Gate
from gateway.relay.interpreter import Interpreter
from gateway.relay.kept_splice import KeptSplice
from gateway.relay.lasting_session import Between, LastingSession
from gateway.relay.session import Session
from gateway.relay.session_age import Age
from gateway.translate.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Means:
    """What all sessions of a gateway have in common. ``meter`` makes the meter of a connection;
    ``on_ignored`` counts what the other protocol has no word for; ``on_ended`` is told of the end
    of each session.
    """

    table: ModelTable
    dialer: Dialer
    meter: Callable[[Target], Meter]
    on_ignored: Callable[[int], None]
    on_ended: Callable[["Betweens", Session], None]


class Betweens:
    """Makes them for one session, and goes with it from one provider to another.

    ``session`` is set where the session outlasts its provider's connection, and to None once it has
    ended. ``target`` is where it is served, ``lease`` what counts it.
    """

    __slots__ = (
        "_age", "_client", "_gate", "_handles", "_home", "_means", "_place", "_recorder", "claim",
        "lease", "session", "target",
    )  # fmt: skip

    def __init__(
        self,
        means: Means,
        place: Place,
        client: Connection,
        recorder: Recorder,
        *,
        gate: Gate | None,
        handles: SessionHandles,
        age: Age,
        claim: Claim | None,
    ) -> None:
        """``claim`` is that of a conversation that is stored."""
        self._means = means
        self._place = place
        self.target = place.target
        self._client = client
        self._recorder = recorder
        self._gate = gate
        self._handles = handles
        self._age = age
        self.lease: Lease | None = None
        self.claim = claim
        self._home = ""  # the provider in whose own words the client has configured the session
        self.session: LastingSession | None = None

    def client_gone(self) -> None:
        """See ``Listener``: another session may begin in its place."""
        if self.lease is not None:
            self.lease.give_back()

    def ended(self, session: Session) -> None:
        """See ``Listener``: nothing refers to the session in a circle."""
        self.session = self._place.follower = self._handles.session = None
        self._means.on_ended(self, session)

    def provider_left(self, close: CloseEvent) -> None:
        """See ``Listener``."""
        if self._recorder.has_just_refused:
            self.refused(close.reason)
            return
        self._means.dialer.left(self._place, close)
        if is_about_account(close.reason):
            self._means.dialer.refused(self._place, close.reason, is_certain=False)

    def make(self, conversation: Conversation | None) -> Between:
        """One for where the session is served. With a ``conversation`` it continues that."""
        provider = self.target.provider
        if conversation is None:
            self._home = provider
        made = self._made(conversation)
        if conversation is not None and provider != self._home:
            made.moved_to(provider)
        return made

    def moved(self, there: Target) -> None:
        """See ``Follower``: what the provider reports is charged under its name."""
        self._recorder.reconnect(self._means.meter(there), provider=there.provider)
        self._handles.provider = self._age.provider = there.provider
        is_same = there.provider_dialect is self.target.provider_dialect
        # What talks to Gemini has a handle of the provider that it began with, and its model.
        begins_anew = there.provider_dialect is Dialect.GEMINI
        self.target, session = there, self.session
        if session is None:
            return
        if is_same and not begins_anew:
            session.moved_to(there.provider)
        else:
            session.move(self.make)

    def redial(self, session: LastingSession) -> Coroutine[Any, Any, None]:
        """See ``Lasting``."""
        return self._means.dialer.redial(session, self._place)

    def meter(self, conversation: str) -> Meter:
        """See ``Lasting``."""
        return self._means.meter(resuming(self._place.target, conversation))

    def refused(self, reason: str) -> bool:
        """See ``Lasting``."""
        return self._means.dialer.refused(self._place, reason, is_certain=True)

    def answered(self, wait_s: float) -> None:
        """The user has waited so long for an answer."""
        self._means.dialer.answered(self._place, wait_s)

    def answer_ended(self, is_failed: bool) -> None:
        """An answer is over."""
        self._means.dialer.answer_ended(self._place, is_failed=is_failed)

    def _made(self, conversation: Conversation | None) -> Between:
        target, seed, table = self.target, secrets.token_hex(4), self._means.table
        model = with_provider_model(target, table).model or ""
        if not target.is_translated:
            keeper = keeper_for(
                target, model, seed=seed, voices=table.voices, conversation=conversation,
                home=self._home,
            )  # fmt: skip
            return KeptSplice(
                keeper, self._recorder, self._client, gate=self._gate, on_answer=self.answered,
                on_end=self.answer_ended,
            )  # fmt: skip
        return Interpreter(
            translator_for(
                target, model, seed=seed, voices=table.voices, conversation=conversation,
                home=self._home,
            ),
            self._recorder,
            self._client,
            dialect=target.dialect,
            session_id=target.session_id,
            on_ignored=self._means.on_ignored,
            on_answer=self.answered,
            on_end=self.answer_ended,
        )  # fmt: skip
