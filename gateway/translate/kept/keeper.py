"""Keeps the conversation of a session in OpenAI's GA protocol, for the next provider. Pure.

Messages go between client and provider as they came, so long as the first provider stays. When its
connection is gone the keeper closes towards the client what was open (``provider_closed``). The
next provider is told the configuration, the items and what was not answered yet
(``provider_opened``); what it answers to that the client has heard before, so it is withheld.

Speech is kept by its transcript; where nobody transcribed it, it is lost with the provider. What
was asked for is asked for again where nothing of the answer was heard, and nothing of the question
is lost.
"""

import re
from typing import Any, Final

from msgspec import DecodeError, json

from gateway.translate.base import Ids, Rest
from gateway.translate.conversation import Conversation
from gateway.translate.kept import configuration
from gateway.translate.kept.responses import Responses, words_of
from gateway.translate.kept.speech import CLEARED, Speech
from gateway.translate.kept.unanswered import (
    CREATE_ITEM,
    CREATE_RESPONSE,
    KINDS,
    UPDATE,
    Unanswered,
)
from gateway.translate.to_openai.record import Record
from gateway.translate.to_openai.replay import items_to_create
from gateway.translate.voices import BUILT_IN, VoiceTable

Json = dict[str, Any]

TRUNCATE: Final = "conversation.item.truncate"
_TRANSCRIBED: Final = ".input_audio_transcription.completed"
_GONE: Final = (".deleted", ".input_audio_transcription.failed")
# The end of a session at OpenAI's cap is an error, then a close: here another one follows.
_EXPIRED: Final = "session_expired"
# A session keeps these towards its client, whatever another provider calls them.
_NAMES: Final[tuple[str, ...]] = ("id", "model")
# The type of the client's audio is near the beginning or, as some SDKs sort fields, near the end;
# base64 has no quotation mark, and in a text there is a backslash before it.
_APPEND: Final = re.compile(rb'(?<!\\)"type"\s*:\s*"input_audio_buffer\.append"')
_EDGE: Final = 256
_ASK: Final = b'{"type":"response.create"}'


class Keeper:
    """Of one session. ``seed``: see ``Ids``; ``voices`` are the operator's.

    ``conversation`` continues one: the client has heard ``session.created`` from another provider
    then, unless it is a new one, where ``opened`` is called.
    """

    __slots__ = (
        "_adds_due", "_again", "_announced", "_elsewhere", "_ids", "_is_announced", "_ours",
        "_record", "_responses", "_retold", "_speech", "_unanswered", "_undone", "_updates_due",
        "_voices", "conversation",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seed: str,
        voices: VoiceTable = BUILT_IN,
        conversation: Conversation | None = None,
    ) -> None:
        self.conversation = Conversation() if conversation is None else conversation
        self._voices = voices
        self._elsewhere = ""  # another provider than the client has configured
        self._record = Record(self.conversation)
        self._ids = Ids(seed)
        self._responses = Responses()
        self._speech = Speech()
        self._unanswered = Unanswered()
        self._is_announced = conversation is not None
        self._announced: Json = {}  # the session object that the client was told first
        self._again: list[bytes] = []  # responses to ask for again
        # What the provider has to answer to what it was told in place of another one.
        self._ours: set[str] = set()
        self._updates_due = self._adds_due = 0
        self._retold: set[str] = set()
        self._undone: set[str] = set()

    @property
    def is_answering(self) -> bool:
        """Whether something is being said, or was asked for: this is not between two turns."""
        return bool(self._responses) or self._speech.is_heard or self._unanswered.asks

    # --- the connections --------------------------------------------------------------------------

    def opened(self) -> None:
        """A new client is there, which hears its provider's own ``session.created``."""
        self._is_announced = False

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""
        self._elsewhere = provider

    def leave(self) -> Rest:
        """See ``Translator``."""
        announced = {name: self._announced[name] for name in _NAMES if name in self._announced}
        again = [] if self._unanswered.asks else self._again
        return Rest(announced, [*self._unanswered.raw, *again])

    def take_over(self, rest: Rest) -> None:
        """See ``Translator``."""
        self._announced = rest.announced
        for message in rest.unanswered:
            event = read_event(message)
            if event is not None:
                self.client_said(event, message)

    def provider_opened(self) -> list[Json | bytes]:
        """What a provider is told first; messages of the client among it, as they came."""
        session = (
            configuration.told_elsewhere(self.conversation.session, self._elsewhere, self._voices)
            if self._elsewhere
            else configuration.told(self.conversation.session)
        )
        items = list(items_to_create(self.conversation.items))
        self._retold = {str(item["id"]) for item in items if "id" in item}
        self._undone = set()
        self._updates_due, self._adds_due = int(bool(session)), len(items)
        events: list[Json] = [{"type": UPDATE, "session": session}] if session else []
        events += [{"type": CREATE_ITEM, "item": item} for item in items]
        events = [{**event, "event_id": self._ids.make("event")} for event in events]
        self._ours = {event["event_id"] for event in events}
        again, self._again = self._again, []
        asks = again if not self._unanswered.asks else []
        return [*events, *self._unanswered.raw, *asks]

    def provider_closed(self) -> list[Json]:
        """What the client hears when the provider is gone."""
        is_lost = self._speech.is_heard or self._record.has_unheard
        events = self._speech.close()
        for response, closing in self._responses.close():
            for item_id, words in words_of(response):
                self._record.said(item_id, words)
            if not response.is_heard and not is_lost:
                self._again.append(response.request or _ASK)
            events += closing
        self._record.abandon()
        return [{"event_id": self._ids.make("event"), **event} for event in events]

    # --- messages ---------------------------------------------------------------------------------

    def client_said(self, event: Json, raw: bytes) -> Json | None:
        """A message of the client that is no audio: the answer to it where the provider is not to
        get it, else None.
        """
        kind = event["type"]
        if kind == TRUNCATE and event.get("item_id") in self._retold:
            return self._truncated(event)  # to the provider it is text
        if kind in KINDS:
            self._unanswered.said(event, raw)
        elif kind == "response.cancel":
            self._unanswered.cancelled()
        return None

    def provider_said(self, event: Json) -> Json | None:
        """A message of the provider that is no audio, as the client gets it: the same object, or
        another; None where the client has heard it.
        """
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

    def heard(self) -> None:
        """The client gets audio."""
        self._responses.heard()

    # --- what the provider says -------------------------------------------------------------------

    def _session_said(self, kind: str, event: Json) -> Json | None:
        session = event.get("session")
        if kind == "session.created":
            if self._is_announced:
                return None
            self._is_announced = True
            self._announced = session if isinstance(session, dict) else {}
        elif kind == "session.updated":
            if self._updates_due:
                self._updates_due -= 1
                return None
            self._updated()
            first = {name: self._announced[name] for name in _NAMES if name in self._announced}
            if isinstance(session, dict) and any(session.get(x) != first[x] for x in first):
                return {**event, "session": {**session, **first}}
        return event

    def _updated(self) -> None:
        message = self._unanswered.answered(UPDATE)
        change = message.event.get("session") if message is not None else None
        if isinstance(change, dict):
            configuration.merge(self.conversation.session, change)
            self.conversation.revision += 1

    def _error_said(self, event: Json) -> Json | None:
        error = event.get("error")
        if not isinstance(error, dict):
            return event
        if error.get("event_id") in self._ours:
            # What the client said before, or another provider's voice: nothing that it did now.
            self._ours.discard(str(error["event_id"]))
            self._updates_due = min(self._updates_due, len(self._ours))
            return None
        self._unanswered.refused(error)
        return None if error.get("code") == _EXPIRED else event

    def _buffer_said(self, kind: str, event: Json) -> None:
        if kind == "input_audio_buffer.speech_started":
            self._speech.started()
        elif kind == "input_audio_buffer.committed":
            self._speech.committed(event)
        elif kind == CLEARED:
            self._speech.cleared()

    def _conversation_said(self, kind: str, event: Json) -> Json | None:
        if kind == "conversation.created":  # of xAI
            return None if self._retold or self._ours else event
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
        elif kind.endswith(_GONE):
            self._unanswered.answered("conversation.item.delete", item_id=item_id)
            self._forget(item_id)
        return event

    def _item_added(self, item_id: str, item: object, event: Json) -> Json | None:
        if not isinstance(item, dict):
            return event
        is_said = self._speech.is_announced(item_id) or self._responses.has_item(item_id)
        if item_id in self._retold or (self._adds_due > 0 and not is_said):
            self._adds_due -= 1
            self._undone.add(item_id)
            return None
        if not is_said:
            self._unanswered.answered(CREATE_ITEM, item_id=item_id)
        if not self._responses.has_item(item_id):
            self._speech.added(item_id, item)
        self._record.expect(item_id, str(item.get("role")))
        if not is_said and _is_whole(item):  # xAI says of no item that it is done
            self._keep(item_id, item)
        return event

    def _item_done(self, item_id: str, item: object, event: Json) -> Json | None:
        if item_id in self._undone:
            self._undone.discard(item_id)
            return None
        self._speech.done(item_id)
        self._responses.item_done(item_id)
        if isinstance(item, dict) and not is_unheard(item):
            self._keep(item_id, item)
        return event

    def _keep(self, item_id: str, item: Json) -> None:
        """An item is complete, or is told again."""
        if self.conversation.has(item_id):
            self.conversation.replace(item)
        else:
            self._record.add(item)

    def _forget(self, item_id: str) -> None:
        self._speech.done(item_id)
        self._record.drop(item_id)
        self._record.settle()
        self.conversation.remove(item_id)

    def _note_response(self, kind: str, event: Json) -> None:
        body = event.get("response")
        if kind == "response.created" and isinstance(body, dict):
            message = self._unanswered.answered(CREATE_RESPONSE)
            self._responses.created(body, message.raw if message is not None else None)
        elif kind == "response.done" and isinstance(body, dict):
            self._responses.done(body)
            self._record.answered(())
        else:
            self._responses.see(event)
            item = event.get("item")
            if kind == "response.output_item.done" and isinstance(item, dict) and "id" in item:
                self._keep(str(item["id"]), item)

    def _truncated(self, event: Json) -> Json:
        fields = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
        return {
            "type": "conversation.item.truncated", "event_id": self._ids.make("event"), **fields,
        }  # fmt: skip


def read_event(message: bytes) -> Json | None:
    """The event in ``message``; None where it is none."""
    try:
        value = json.decode(message)
    except (DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else None


def is_append(message: bytes) -> bool:
    """Whether it is the client's audio, found without parsing."""
    end = max(0, len(message) - _EDGE)
    return bool(_APPEND.search(message, 0, _EDGE) or _APPEND.search(message, end))


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
