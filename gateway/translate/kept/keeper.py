"""Keeps the conversation of a session in OpenAI's GA protocol, for the next provider. Pure.

Messages go between client and provider as they came, so long as the first provider stays. When its
connection is gone the keeper closes towards the client what was open (``provider_closed``). The
next provider is told the configuration, the items and what was not answered yet
(``provider_opened``); what it answers to that the client has heard before, so it is withheld.

Speech is kept by its transcript; where nobody transcribed it, it is lost with the provider. What
was asked for is asked for again where nothing of the answer was heard, and nothing of the question
is lost.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from gateway.translate.base import Ids, Rest
from gateway.translate.conversation import Conversation
from gateway.translate.kept import configuration
from gateway.translate.kept.messages import WIRE, event_of
from gateway.translate.kept.responses import Responses, words_of
from gateway.translate.kept.resuming import Resuming
from gateway.translate.kept.retelling import DELETED, NOTHING_TOLD, Retelling
from gateway.translate.kept.speech import Speech, is_unheard, is_whole
from gateway.translate.kept.unanswered import (
    ANSWERS,
    DELETE_ITEM,
    KINDS,
    TRUNCATE_ITEM,
    Message,
    Unanswered,
    truncated,
)
from gateway.translate.resumption import Resumption
from gateway.translate.to_openai.record import Record
from gateway.translate.to_openai.replay import items_to_create
from gateway.translate.voices import BUILT_IN, VoiceTable
from shared.provider_kinds import kind_of

Json = dict[str, Any]

_TRANSCRIBED: Final = ".input_audio_transcription.completed"
_UNTRANSCRIBED: Final = ".input_audio_transcription.failed"
# The end of a session at OpenAI's cap is an error, then a close: here another one follows.
_EXPIRED: Final = "session_expired"
# A session keeps these towards its client, whatever another provider calls them.
_NAMES: Final[tuple[str, ...]] = ("id", "model")
_UNNAMED: Final[Mapping[str, Any]] = MappingProxyType({})


class Keeper:
    """Of one session. ``seed``: see ``Ids``; ``voices`` are the operator's.

    ``conversation`` continues one: the client has heard ``session.created`` from another provider
    then, unless it is a new one, where ``opened`` is called.
    """

    wire: Final = WIRE
    is_keeping: Final = True

    __slots__ = (
        "_due", "_elsewhere", "_home", "_ids", "_is_announced", "_names", "_record", "_responses",
        "_resuming", "_retelling", "_says_done", "_seed", "_speech", "_unanswered", "_voices",
        "conversation",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seed: str,
        voices: VoiceTable = BUILT_IN,
        home: str = "",
        conversation: Conversation | None = None,
        named: str = "",
    ) -> None:
        """``home`` is the provider that the client has configured; empty: it is not known.
        ``named`` is a conversation of xAI's that the client's request names.
        """
        self.conversation = Conversation() if conversation is None else conversation
        self._voices = voices
        self._home = home
        self._elsewhere = ""  # a provider of another kind than the client has configured
        self._record = Record(self.conversation)
        self._ids = Ids(seed)
        self._seed = seed
        self._retelling = NOTHING_TOLD
        self._responses = Responses()
        self._speech = Speech()
        self._unanswered = Unanswered()
        parts = self.conversation, self._record, self._unanswered
        self._resuming = Resuming(*parts, named) if named else None  # of a conversation of xAI's
        self._due: Sequence[bytes] = ()
        self._is_announced = conversation is not None
        # Of the session, as the client was told them first.
        self._names: Mapping[str, Any] = _UNNAMED
        self._says_done = True  # all but xAI say of an item that it is done

    @property
    def is_answering(self) -> bool:
        """Whether something is being said, or was asked for: this is not between two turns."""
        is_manual = configuration.is_manual(self.conversation.session)
        is_speaking = self._speech.waits(is_manual=is_manual) or self._speech.is_announced
        is_asked = self._unanswered.asks or self._record.has_unheard
        return bool(self._responses) or is_speaking or is_asked or self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """See ``Keeping``: until the provider has replayed the conversation with which it goes on,
        or is told it.
        """
        return self._resuming is not None and self._resuming.resumption.is_waiting

    @property
    def resumption(self) -> Resumption | None:
        """See ``Keeping``."""
        return None if self._resuming is None else self._resuming.resumption

    @property
    def is_retelling(self) -> bool:
        """Whether the provider has yet to answer what it was told in place of another one."""
        return self._retelling.is_open

    # --- the connections --------------------------------------------------------------------------

    def opened(self) -> None:
        """A new client is there, which hears its provider's own ``session.created``."""
        self._is_announced = False

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""
        if self._elsewhere or kind_of(provider) != kind_of(self._home):
            self._elsewhere = provider
        self._resuming = None

    def leave(self) -> Rest:
        """See ``Translator``."""
        return Rest({**self._names}, self._unanswered.raw)

    def take_over(self, rest: Rest) -> None:
        """See ``Translator``."""
        self._names = rest.announced
        for message in rest.unanswered:
            event = event_of(message)
            if event is not None:
                self.client_said(event, message)

    def provider_opened(self) -> list[Json | bytes]:
        """What a provider is told first; messages of the client among it, as they came."""
        known = self.conversation.session
        session = configuration.told_elsewhere(known, self._elsewhere, self._voices)
        self._due, self._unanswered.names_events, self._says_done = (), True, True
        if self._resuming is not None and self._resuming.connected():
            self._retell()
            return self._resuming.begin(self._retelling, session, is_announced=self._is_announced)
        items = [*items_to_create(self.conversation.items)]
        if not (session or items or self._is_announced):
            return [*self._unanswered.raw]
        self._retell()
        told = self._retelling.begin(session, items, is_announced=self._is_announced)
        return [*told, *self._unanswered.raw]

    def provider_closed(self) -> list[Json]:
        """What the client hears when the provider is gone."""
        is_lost = self._speech.is_heard or self._record.has_unheard
        is_manual = configuration.is_manual(self.conversation.session)
        events = self._speech.close(is_manual=is_manual, says_done=self._says_done)
        for response, closing in self._responses.close(says_done=self._says_done):
            for item_id, words in words_of(response):
                self._record.said(item_id, words)
            question = None if is_lost else response.question
            if question is not None and (question.is_beside or not self._unanswered.asks):
                self._unanswered.add(question)
            events += closing
        events += [truncated(message.event) for message in self._unanswered.closed()]
        self._record.abandon()
        items = (event.get("item") for event in events)
        lost = {str(item["id"]) for item in items if isinstance(item, dict)}
        self._retell()
        self._retelling.lost(lost)
        if self._resuming is not None:
            self._resuming.closed(lost)
        return [{"event_id": self._ids.make("event"), **event} for event in events]

    def take_notice(self) -> bool:
        """See ``Keeping``: no provider announces its end."""
        return False

    # --- messages ---------------------------------------------------------------------------------

    def client_said(self, event: Json, raw: bytes) -> Json | None:
        """A message of the client that is no audio: the answer to it where the provider is not to
        get it, else None.
        """
        kind = event["type"]
        if kind == TRUNCATE_ITEM and self._retelling.has(event.get("item_id")):
            return {"event_id": self._ids.make("event"), **truncated(event)}  # there it is text
        if kind in KINDS:
            self._unanswered.said(event, raw)
        elif kind == "response.cancel":
            self._unanswered.cancelled(event)
            self._responses.cancelled(event)
        return None

    def client_spoke(self) -> None:
        """The client sends audio."""
        self._speech.sent()

    def provider_said(self, event: Json) -> Json | None:
        """A message of the provider that is no audio, as the client gets it: the same object, or
        another; None where the client has heard it.
        """
        event = self._retelling.renamed(event)
        kind: str = event["type"]
        if kind.startswith("response."):
            self._note_response(kind, event)
        elif kind.startswith("conversation."):
            return self._conversation_said(kind, event)
        elif kind.startswith("session."):
            return self._session_said(kind, event)
        elif kind == "error":
            return self._error_said(event)
        elif self._speech.see(kind, event):
            self._end_retelling()
        return event

    def take_due(self) -> Sequence[bytes]:
        """What the provider is to be told now, after what it said: also what was held, where
        nothing of ours is open.
        """
        due, self._due = self._due, ()
        is_busy = self._responses or self._unanswered.asks_again
        return due if is_busy else (*due, *self._unanswered.release())

    def heard(self) -> None:
        """The client gets audio."""
        self._responses.heard()

    # --- what the provider says -------------------------------------------------------------------

    def _session_said(self, kind: str, event: Json) -> Json | None:
        session = event.get("session")
        if kind == "session.created":
            if self._retelling.created():
                return None
            is_first, self._is_announced = not self._is_announced, True
            if is_first and isinstance(session, dict):
                self._names = {name: session[name] for name in _NAMES if name in session}
        elif kind == "session.updated":
            is_ours = self._retelling.updated()
            if not is_ours:
                self._updated()
            self._accepted()
            if is_ours:
                return None
            names = self._names if self._retelling.is_repeated else _UNNAMED
            if isinstance(session, dict) and any(session.get(x) != names[x] for x in names):
                return {**event, "session": {**session, **names}}
        return event

    def _accepted(self) -> None:
        """The provider has answered what it was told at first."""
        if self._resuming is not None:
            self._due = (*self._due, *self._resuming.accepted(self._retelling))

    def _end_retelling(self) -> None:
        """The provider answers what comes after that."""
        self._retelling.end()
        self._accepted()

    def _updated(self) -> None:
        message = self._unanswered.updated()
        change = message.event.get("session") if message is not None else None
        if isinstance(change, dict):
            configuration.merge(self.conversation.session, change)
            self.conversation.revision += 1

    def _error_said(self, event: Json) -> Json | None:
        error = event.get("error")
        if not isinstance(error, dict):
            return event
        if self._resuming is not None and self._resuming.is_answered_by_error:
            self._end_retelling()
            return None
        if self._retelling.refused(error) or self.is_waiting:
            # What the client said before, or another provider's voice: nothing that it did now.
            return None
        is_ours = self._responses.has_one_again or self._unanswered.asks_again
        if is_ours and self._unanswered.hold(error, is_open=bool(self._responses)):
            return None
        self._unanswered.refused(error)
        return None if error.get("code") == _EXPIRED else event

    def _conversation_said(self, kind: str, event: Json) -> Json | None:
        if kind == "conversation.created":  # of xAI
            self._says_done = self._unanswered.names_events = False
            parts = self.conversation, self._record, self._unanswered
            self._resuming = self._resuming or Resuming(*parts)
            is_first = self._resuming.resumption.is_first
            self._resuming.resumption.begun(event.get("conversation"))
            return None if self._retelling.is_repeated and not is_first else event
        item = event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if not isinstance(item_id, str):
            return event
        if kind in ("conversation.item.added", "conversation.item.created"):
            return self._item_added(item_id, item, event)
        if kind == "conversation.item.done":
            return self._item_done(item_id, item, event)
        if self._retelling.deleted(kind, item_id):
            return None
        self._note_changed(kind, item_id, event)
        return None if self.is_waiting else event

    def _note_changed(self, kind: str, item_id: str, event: Json) -> None:
        if kind.endswith((_TRANSCRIBED, _UNTRANSCRIBED)):
            words = event.get("transcript")
            if not words and self._record.is_unheard(item_id):
                self._responses.not_recognized()
            self._record.transcribed(item_id, words if isinstance(words, str) else "")
            self._record.settle()
        if kind.endswith(_UNTRANSCRIBED):
            self._forget(item_id)
        elif kind == DELETED:
            self._unanswered.answered(DELETE_ITEM, item_id)
            self._forget(item_id)
        elif kind in ANSWERS:
            self._unanswered.answered(ANSWERS[kind], item_id)

    def _item_added(self, item_id: str, item: object, event: Json) -> Json | None:
        if not isinstance(item, dict):
            return event
        resuming, is_replayed, asked = self._resuming, False, None
        if resuming is not None and resuming.resumption.is_waiting:
            news = resuming.see(item_id, item, self._retelling)
            if news is None or not is_whole(item):  # its words may never be told
                return None if news is None else event
            return self._note_added(item_id, item, event, news.asked)
        is_answer = self._responses.item_added(item_id)
        is_said = is_answer or self._speech.announces(item_id)
        is_new = is_said or self._unanswered.names(item_id)
        if self._retelling.added(item_id, is_new=is_new):
            return None
        if resuming is not None:
            is_replayed = resuming.resumption.is_replaying
            resuming.resumption.told_of(item_id)
        if not is_said:
            asked = self._unanswered.created(item, is_exact=is_replayed)
        if not is_answer:
            self._speech.added(item_id, item)
        return self._note_added(item_id, item, event, asked, is_said=is_said)

    def _note_added(
        self, item_id: str, item: Json, event: Json, asked: Message | None, *, is_said: bool = False
    ) -> Json:
        """The client hears of an item, for which it has ``asked``, or which is said now."""
        former_id = asked.event.get("previous_item_id") if asked is not None else None
        if is_said or not is_whole(item):
            self._record.expect(item_id, str(item.get("role")))
        elif isinstance(former_id, str) and not self._record.has(item_id):
            self._record.add_after(item, former_id)
        else:  # xAI says of no item that it is done
            self._record.keep(item_id, item)
        return event

    def _item_done(self, item_id: str, item: object, event: Json) -> Json | None:
        if self._retelling.done(item_id):
            return None
        self._speech.done(item_id)
        if isinstance(item, dict):
            self._responses.item_done(item_id, item)
            if not is_unheard(item):
                self._record.keep(item_id, item)
        return event

    def _retell(self) -> None:
        """Another provider than the first is told what was said."""
        if self._retelling is NOTHING_TOLD:
            self._retelling = Retelling(self._seed)

    def _forget(self, item_id: str) -> None:
        self._speech.done(item_id)
        self._record.forget(item_id)

    def _note_response(self, kind: str, event: Json) -> None:
        body = event.get("response")
        if kind == "response.created" and isinstance(body, dict):
            self._end_retelling()
            self._responses.created(body, self._unanswered.begun(body))
        elif kind == "response.done" and isinstance(body, dict):
            self._responses.done(body)
            if not self._speech.is_heard:  # the transcript of what is being said is yet to come
                self._record.answered(())
        else:
            self._responses.see(event)
            item = event.get("item")
            item_id = item.get("id") if isinstance(item, dict) else None
            is_done = kind == "response.output_item.done" and isinstance(item_id, str)
            # One that is beside the conversation was not added to it.
            if is_done and isinstance(item, dict) and self._record.has(str(item_id)):
                self._record.keep(str(item_id), item)
