"""How the next connection goes on with the conversation that its provider has itself (xAI). Pure.

What it replays is held against what is kept. The client has heard most of it. What the client said,
and had no answer to, is answered by the replay; and what only the provider knows of the user is
news to the client. What is missing there is told, and an answer of which nobody heard is taken out,
as its question is asked again. But where the client named a conversation, and the connection was
cut before all of it had been replayed, the rest is news, answers too.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, json

from gateway.translate.conversation import Conversation
from gateway.translate.kept.retelling import Retelling
from gateway.translate.kept.unanswered import Message, Unanswered
from gateway.translate.resumption import Resumption
from gateway.translate.to_openai.record import Record
from gateway.translate.to_openai.replay import items_to_create
from gateway.translate.to_openai.replayed import Missing, Replayed, is_answer

Json = dict[str, Any]


class News(Struct, frozen=True):
    """A replayed item that the client has to hear of; ``asked`` is what it said to have it."""

    asked: Message | None


class Resuming:
    """Of one session; the arguments are its keeper's."""

    __slots__ = ("_conversation", "_record", "_replayed", "_unanswered", "resumption")

    def __init__(
        self, conversation: Conversation, record: Record, unanswered: Unanswered, named: str = ""
    ) -> None:
        """``named`` is the conversation that the client's request named; where it named none, this
        is made when a connection is there.
        """
        self._conversation = conversation
        self._record = record
        self._unanswered = unanswered
        self._replayed = Replayed()
        self.resumption = Resumption(named)
        if not named:
            self.resumption.connected()

    @property
    def is_answered_by_error(self) -> bool:
        """Whether any error is the answer to what was told first: xAI does not say what its errors
        answer.
        """
        return self.resumption.is_waiting and self.resumption.has_begun

    # --- the connections --------------------------------------------------------------------------

    def connected(self) -> bool:
        """A connection is there: whether it names the conversation."""
        self._replayed = Replayed()
        return self.resumption.connected()

    def begin(
        self, retelling: Retelling, session: Json, *, is_announced: bool
    ) -> list[Json | bytes]:
        """What it is told first: the configuration, whose answer is the end of what is replayed."""
        session = session or {"type": "realtime"}
        return [*retelling.begin(session, (), is_announced=is_announced, has_names=True)]

    def accepted(self, retelling: Retelling) -> list[bytes]:
        """The provider answers what it was told: what it is told now, where that was the first."""
        self.resumption.enabled(self._conversation.session)
        is_due = self.resumption.is_waiting
        self.resumption.accepted()
        if not is_due:
            return []
        kept, replayed = self._conversation.items, self._replayed
        if self.resumption.is_resumed:
            told = retelling.take_out(replayed.unheard()) + retelling.tell(replayed.missing(kept))
        else:
            told = retelling.tell(Missing(item, "") for item in items_to_create(kept))
        return [*map(json.encode, told), *self._unanswered.raw]

    def closed(self, lost: Iterable[str]) -> None:
        """The connection is gone; the client has heard of the items ``lost`` by their end."""
        for item_id in lost:
            self.resumption.told_of(item_id)
        self.resumption.closed()

    # --- what is replayed -------------------------------------------------------------------------

    def see(self, item_id: str, item: Json, retelling: Retelling) -> News | None:
        """An item was replayed: None where the client is not to hear of it."""
        name, replayed = retelling.name_of(item_id), self._replayed
        if self._record.has(name):
            replayed.is_known(name, item_id)
            return None
        is_known = self.resumption.has_heard_of(name)
        is_named = is_known or self._unanswered.names(item_id)
        if not is_named and (name := replayed.alike(item, self._conversation.items)):
            retelling.is_named(item_id, name)
            replayed.is_known(name, item_id)
            return None
        asked = None if is_known else self._unanswered.created(item, is_exact=True)
        replayed.has_asked |= asked is not None
        is_after_all = self.resumption.has_replayed or replayed.has_asked
        if asked is None and is_answer(item) and is_after_all:
            replayed.is_unheard(item_id)
            return None
        # What stands before all that is known may be older than what is remembered.
        is_old = self.resumption.has_forgotten and not replayed.has_known
        if is_known or (asked is None and is_old):
            return None
        replayed.is_known(item_id, item_id)
        self.resumption.told_of(item_id)
        return News(asked)
