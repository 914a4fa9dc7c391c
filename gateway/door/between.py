"""What lies between the client and the provider of one session that may have several providers.

Where they speak different protocols that is an interpreter with a translator, else a splice that
keeps the conversation. Made by ``session_opener``; told by ``dialer`` of each move.
"""

import secrets
from collections.abc import Callable

from gateway.connections.connection import Connection
from gateway.door.allowed_models import ModelTable
from gateway.door.routing import with_provider_model
from gateway.door.translators import keeper_for, translator_for
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import Target
from gateway.providers.first_message_gate import Gate
from gateway.relay.interpreter import Interpreter
from gateway.relay.kept_splice import KeptSplice
from gateway.relay.lasting_session import Between, LastingSession
from gateway.translate.conversation import Conversation


class Betweens:
    """Makes them for one session. ``target`` is where it is served at first; ``on_ignored`` counts
    what the other protocol has no word for, ``on_answer`` gets how long users wait for answers.
    """

    __slots__ = (
        "_client", "_gate", "_home", "_on_answer", "_on_ignored", "_recorder", "_table", "_target",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        client: Connection,
        recorder: Recorder,
        gate: Gate | None,
        *,
        table: ModelTable,
        on_ignored: Callable[[int], None],
        on_answer: Callable[[float], None],
    ) -> None:
        self._target = target
        self._client = client
        self._recorder = recorder
        self._gate = gate
        self._table = table
        self._on_ignored = on_ignored
        self._on_answer = on_answer
        self._home = ""  # the provider in whose own words the client has configured the session

    def make(self, conversation: Conversation | None) -> Between:
        """One for where the session is served. With a ``conversation`` it continues that."""
        made, provider = self._made(conversation), self._target.provider
        if conversation is None:
            self._home = provider
        elif provider != self._home:
            made.moved_to(provider)
        return made

    def follow(self, session: LastingSession, there: Target) -> None:
        """``session`` is served ``there`` from now on."""
        is_same = there.provider_dialect is self._target.provider_dialect
        self._target = there
        if is_same:
            session.moved_to(there.provider)
        else:
            session.move(self.make(session.conversation))

    def _made(self, conversation: Conversation | None) -> Between:
        target, seed, voices = self._target, secrets.token_hex(4), self._table.voices
        if not target.is_translated:
            keeper = keeper_for(target, seed=seed, voices=voices, conversation=conversation)
            return KeptSplice(
                keeper, self._recorder, self._client, gate=self._gate, on_answer=self._on_answer
            )
        model = with_provider_model(target, self._table).model or ""
        return Interpreter(
            translator_for(target, model, seed=seed, voices=voices, conversation=conversation),
            self._recorder,
            self._client,
            dialect=target.dialect,
            session_id=target.session_id,
            on_ignored=self._on_ignored,
        )
