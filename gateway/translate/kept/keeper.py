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
from gateway.translate.kept.retelling import NOTHING_TOLD, Retelling
from gateway.translate.kept.speech import CLEARED, Speech
from gateway.translate.kept.unanswered import (
    DELETE_ITEM,
    KINDS,
    RETRIEVE_ITEM,
    TRUNCATE_ITEM,
    Unanswered,
)
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
    is_waiting: Final = False

    __slots__ = (
        "_due", "_elsewhere", "_home", "_ids", "_is_announced", "_names", "_record", "_responses",
        "_retelling", "_says_done", "_seed", "_speech", "_unanswered", "_voices", "conversation",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seed: str,
        voices: VoiceTable = BUILT_IN,
        home: str = "",
        conversation: Conversation | None = None,
    ) -> None:
        """``home`` is the provider that the client has configured; empty: it is not known."""
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
        self._due: Sequence[bytes] = ()
        self._is_announced = conversation is not None
        # Of the session, as the client was told them first.
        self._names: Mapping[str, Any] = _UNNAMED
        self._says_done = True  # all but xAI say of an item that it is done

    @property
    def is_answering(self) -> bool:
        """Whether something is being said, or was asked for: this is not between two turns."""
        is_speaking = self._speech.waits(is_manual=self._is_manual) or self._speech.is_announced
        is_asked = self._unanswered.asks or self._record.has_unheard
        return bool(self._responses) or is_speaking or is_asked

    @property
    def is_retelling(self) -> bool:
        """Whether the provider has yet to answer what it was told in place of another one."""
        return self._retelling.is_open

    @property
    def _is_manual(self) -> bool:
        """Whether the client says when a turn is over."""
        audio = self.conversation.session.get("audio", {}).get("input", {})
        return "turn_detection" in audio and audio["turn_detection"] is None

    # --- the connections --------------------------------------------------------------------------

    def opened(self) -> None:
        """A new client is there, which hears its provider's own ``session.created``."""
        self._is_announced = False

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""
        if self._elsewhere or kind_of(provider) != kind_of(self._home):
            self._elsewhere = provider

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
        session = (
            configuration.told_elsewhere(self.conversation.session, self._elsewhere, self._voices)
            if self._elsewhere
            else configuration.told(self.conversation.session)
        )
        items = [*items_to_create(self.conversation.items)]
        self._due = ()
        if not (session or items or self._is_announced):
            return [*self._unanswered.raw]
        self._retell()
        told = self._retelling.begin(session, items, is_announced=self._is_announced)
        return [*told, *self._unanswered.raw]

    def provider_closed(self) -> list[Json]:
        """What the client hears when the provider is gone."""
        is_lost = self._speech.is_heard or self._record.has_unheard
        events = self._speech.close(is_manual=self._is_manual, says_done=self._says_done)
        for response, closing in self._responses.close(says_done=self._says_done):
            for item_id, words in words_of(response):
                self._record.said(item_id, words)
            question = None if is_lost else response.question
            if question is not None and (question.is_beside or not self._unanswered.asks):
                self._unanswered.add(question)
            events += closing
        events += [_truncated(message.event) for message in self._unanswered.closed()]
        self._record.abandon()
        items = (event.get("item") for event in events)
        self._retell()
        self._retelling.lost({str(item["id"]) for item in items if isinstance(item, dict)})
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
            return {"event_id": self._ids.make("event"), **_truncated(event)}  # there it is text
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
        else:
            self._buffer_said(kind, event)
        return event

    def take_due(self) -> Sequence[bytes]:
        """What the provider is to be told now, after what it said."""
        due, self._due = self._due, ()
        return due

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
            if self._retelling.updated():
                return None
            self._updated()
            names = self._names if self._retelling.is_repeated else _UNNAMED
            if isinstance(session, dict) and any(session.get(x) != names[x] for x in names):
                return {**event, "session": {**session, **names}}
        return event

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
        if self._retelling.refused(error):
            # What the client said before, or another provider's voice: nothing that it did now.
            return None
        is_ours = self._responses.has_one_again or self._unanswered.asks_again
        if is_ours and self._unanswered.hold(error):
            return None
        self._unanswered.refused(error)
        self._go_on()
        return None if error.get("code") == _EXPIRED else event

    def _buffer_said(self, kind: str, event: Json) -> None:
        if kind == "input_audio_buffer.speech_started":
            self._retelling.end()
            self._speech.started()
        elif kind == "input_audio_buffer.committed":
            self._retelling.end()
            self._speech.committed(event)
        elif kind == CLEARED:
            self._speech.cleared()

    def _conversation_said(self, kind: str, event: Json) -> Json | None:
        if kind == "conversation.created":  # of xAI
            self._says_done = False
            return None if self._retelling.is_repeated else event
        item = event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if not isinstance(item_id, str):
            return event
        if kind in ("conversation.item.added", "conversation.item.created"):
            return self._item_added(item_id, item, event)
        if kind == "conversation.item.done":
            return self._item_done(item_id, item, event)
        if kind.endswith(_TRANSCRIBED):
            self._record.transcribed(item_id, str(event.get("transcript")))
            self._record.settle()
        elif kind.endswith(_UNTRANSCRIBED):
            self._forget(item_id)
        elif kind == "conversation.item.deleted":
            self._unanswered.answered(DELETE_ITEM, item_id)
            self._forget(item_id)
        elif kind in _ANSWERS:
            self._unanswered.answered(_ANSWERS[kind], item_id)
        return event

    def _item_added(self, item_id: str, item: object, event: Json) -> Json | None:
        if not isinstance(item, dict):
            return event
        is_answer = self._responses.item_added(item_id)
        is_new = is_answer or self._speech.announces(item_id) or self._unanswered.names(item_id)
        if self._retelling.added(item_id, is_new=is_new):
            return None
        is_said = is_answer or self._speech.announces(item_id)
        asked = None if is_said else self._unanswered.created(item)
        if not is_answer:
            self._speech.added(item_id, item)
        former_id = asked.event.get("previous_item_id") if asked is not None else None
        if is_said or not _is_whole(item):
            self._record.expect(item_id, str(item.get("role")))
        elif isinstance(former_id, str) and not self._record.has(item_id):
            self._record.add_after(item, former_id)
        else:  # xAI says of no item that it is done
            self._keep(item_id, item)
        return event

    def _item_done(self, item_id: str, item: object, event: Json) -> Json | None:
        if self._retelling.done(item_id):
            return None
        self._speech.done(item_id)
        if isinstance(item, dict):
            self._responses.item_done(item_id, item)
            if not is_unheard(item):
                self._keep(item_id, item)
        return event

    def _keep(self, item_id: str, item: Json) -> None:
        """An item is complete, or is told again."""
        if self.conversation.has(item_id):
            self.conversation.replace(item)
        else:
            self._record.add(item)

    def _retell(self) -> None:
        """Another provider than the first is told what was said."""
        if self._retelling is NOTHING_TOLD:
            self._retelling = Retelling(self._seed)

    def _go_on(self) -> None:
        """Ask for what was held, where nothing is open."""
        if not (self._responses or self._unanswered.asks_again):
            self._due = (*self._due, *self._unanswered.release())

    def _forget(self, item_id: str) -> None:
        self._speech.done(item_id)
        self._record.drop(item_id)
        self._record.settle()
        self.conversation.remove(item_id)

    def _note_response(self, kind: str, event: Json) -> None:
        body = event.get("response")
        if kind == "response.created" and isinstance(body, dict):
            self._retelling.end()
            self._responses.created(body, self._unanswered.begun(body))
        elif kind == "response.done" and isinstance(body, dict):
            self._responses.done(body)
            self._go_on()
            if not self._speech.is_heard:  # the transcript of what is being said is yet to come
                self._record.answered(())
        else:
            self._responses.see(event)
            item = event.get("item")
            item_id = item.get("id") if isinstance(item, dict) else None
            is_done = kind == "response.output_item.done" and isinstance(item_id, str)
            # One that is beside the conversation was not added to it.
            if is_done and isinstance(item, dict) and self._record.has(str(item_id)):
                self._keep(str(item_id), item)


_ANSWERS: Final = {
    "conversation.item.retrieved": RETRIEVE_ITEM,
    "conversation.item.truncated": TRUNCATE_ITEM,
}


def _truncated(event: Json) -> Json:
    fields = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
    return {"type": "conversation.item.truncated", **fields}


def _is_whole(item: Json) -> bool:
    """Whether an item that is added is complete: what a client creates is."""
    return item.get("type") != "message" or (bool(item.get("content")) and not is_unheard(item))


def is_unheard(item: Json) -> bool:
    """Whether it is speech of which the transcript is still to come."""
    content = item.get("content")
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    return any(part.get("type") == "input_audio" and not part.get("transcript") for part in parts)
