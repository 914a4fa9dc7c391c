"""What the client said and the provider has not answered yet. Pure.

A provider answers such messages in their order. When its connection is gone, those without an
answer may not have reached it: the next one is told them again, byte for byte. A message that was
read by the former provider after all left no trace that the client could see.
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct, json

Json = dict[str, Any]

UPDATE: Final = "session.update"
CREATE_ITEM: Final = "conversation.item.create"
DELETE_ITEM: Final = "conversation.item.delete"
RETRIEVE_ITEM: Final = "conversation.item.retrieve"
TRUNCATE_ITEM: Final = "conversation.item.truncate"
CREATE_RESPONSE: Final = "response.create"
# Others are answered at once or never, and mean nothing to another provider: its buffer of audio is
# empty, and it has no response to cancel.
KINDS: Final = frozenset(
    {UPDATE, CREATE_ITEM, DELETE_ITEM, RETRIEVE_ITEM, TRUNCATE_ITEM, CREATE_RESPONSE}
)
# What answers the last two.
ANSWERS: Final = {
    "conversation.item.retrieved": RETRIEVE_ITEM,
    "conversation.item.truncated": TRUNCATE_ITEM,
}
# Beyond that the oldest are forgotten, first those that are no configuration: agents tell a whole
# history right after it.
MESSAGES_MAX: Final = 64
BYTES_MAX: Final = 256 * 1024
# Of a message that is larger than that alone so much is kept. A response's metadata are 16 pairs of
# 64 and 512 characters.
OUTLINE_BYTES_MAX: Final = 64 * 1024
_NAMES: Final = ("type", "event_id", "item_id", "previous_item_id")
# Which message an error is about that names none: by its code, else by the field that it names.
BUSY: Final = "conversation_already_has_active_response"
_CODES: Final = (
    (BUSY, (CREATE_RESPONSE,)),
    ("item_create", (CREATE_ITEM,)),
    ("item_delete", (DELETE_ITEM,)),
    ("item_retrieve", (RETRIEVE_ITEM,)),
    ("item_truncate", (TRUNCATE_ITEM,)),
)
_PARAMS: Final = {
    "session": (UPDATE,),
    "item": (CREATE_ITEM,),
    "previous_item_id": (CREATE_ITEM,),
    "item_id": (DELETE_ITEM, RETRIEVE_ITEM, TRUNCATE_ITEM),
    "response": (CREATE_RESPONSE,),
}
# These are about nothing of it.
_OTHERS: Final = ("response_cancel", "input_audio_buffer", "session_expired")
# What an item that is created has in common with the one that was asked for.
_LOOKS: Final = ("type", "role", "call_id")
_AUDIO: Final = "input_audio"


class Message(Struct):
    """One of them: its event and its bytes, which are empty where it is too large to be told again:
    then it only has its place. ``is_cancelled``: the client does not want it any more.
    ``is_again``: it is asked for by us, again or late. ``is_held``: it was refused for another one
    that was.
    """

    kind: str
    event: Json
    raw: bytes
    is_cancelled: bool = False
    is_again: bool = False
    is_held: bool = False

    @property
    def is_beside(self) -> bool:
        """Whether it asks for a response beside the conversation."""
        response = self.event.get("response")
        return isinstance(response, dict) and response.get("conversation") == "none"


class Unanswered:
    """Those of one session, oldest first."""

    __slots__ = ("_bytes", "_doubts", "_messages", "names_events")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._bytes = 0
        self.names_events = True  # the provider says which event its errors are about: not xAI
        self._doubts = 0  # errors since the last answer of which is not known what they are about

    @property
    def asks(self) -> bool:
        """Whether a response of the conversation was asked for and has not begun."""
        asked = [x for x in self._waited_for if x.kind == CREATE_RESPONSE]
        return any(not (message.is_beside or message.is_cancelled) for message in asked)

    @property
    def asks_again(self) -> bool:
        """Whether a response was asked for by us, and has not begun."""
        return any(message.is_again and not message.is_held for message in self._waited_for)

    @property
    def _waited_for(self) -> list[Message]:
        """Those that may yet be answered. As many errors as there are messages, of which none says
        what it is about, leave none: all were refused.
        """
        held = [message for message in self._messages if message.is_held]
        return held if self._doubts >= len(self._messages) - len(held) else self._messages

    @property
    def raw(self) -> list[bytes]:
        """The messages as they came."""
        return [x.raw for x in self._messages if x.raw and not x.is_cancelled]

    def said(self, event: Json, raw: bytes) -> None:
        """The client said something that will be answered."""
        self.add(Message(event["type"], event, raw))

    def add(self, message: Message) -> None:
        """A message is to be answered, or to be told again."""
        self._messages.append(message)
        self._bytes += len(message.raw)
        for other in self._messages:
            if self._bytes > BYTES_MAX and other.kind != UPDATE:
                self._shed(other)
        while len(self._messages) > MESSAGES_MAX or (
            self._bytes > BYTES_MAX and len(self._messages) > 1
        ):
            others = (message for message in self._messages if message.kind != UPDATE)
            self._take(next(others, self._messages[0]))

    def names(self, item_id: str) -> bool:
        """Whether the client asked for an item of this name."""
        return any(x.kind == CREATE_ITEM and _item_id(x.event) == item_id for x in self._messages)

    def answered(self, kind: str, item_id: str = "") -> None:
        """The provider did what a message of this ``kind`` asked for, to the item ``item_id``."""
        self._answer([x for x in self._messages if x.kind == kind and _is_of(x.event, item_id)])

    def updated(self) -> Message | None:
        """The configuration is in effect: the message that asked for it."""
        return self._answer([message for message in self._messages if message.kind == UPDATE])

    def created(self, item: Json, *, is_exact: bool = False) -> Message | None:
        """The provider added an item: the message that asked for it, None where it did that by
        itself. The client may have left the item's name to it, and it may choose another one.
        ``is_exact``: it may be one that was added on another connection, so looks do not tell.
        """
        alike = [
            message
            for message in self._messages
            if message.kind == CREATE_ITEM and _look(message.event.get("item")) == _look(item)
        ]
        named = [message for message in alike if _is_of(message.event, item.get("id"))]
        words = _words(item)
        equal = [message for message in alike if _words(message.event["item"]) == words]
        if is_exact:
            return self._answer([*named, *(equal if any(words) else ())])
        return self._answer([*named, *equal, *alike])

    def begun(self, response: Json) -> Message | None:
        """A response has begun: the message that asked for it, None where the provider began it by
        itself. The metadata are the client's.
        """
        asked = [message for message in self._messages if message.kind == CREATE_RESPONSE]
        is_beside = is_beside_conversation(response)
        alike = [x for x in asked if is_beside is None or x.is_beside == is_beside]
        if "metadata" not in response:  # its provider does not say
            return self._answer(alike)
        equal = [x for x in alike if _metadata(x.event.get("response")) == _metadata(response)]
        return self._answer(equal)

    def _answer(self, found: list[Message]) -> Message | None:
        """The first of ``found`` that can have been answered: before it stand as many messages as
        there were errors that did not say which of them was refused.
        """
        told = [message for message in self._messages if not message.is_held]
        refused = told[: self._doubts]
        possible = (x for x in found if not any(x is other for other in refused))
        answered = next(possible, next(iter(found), None))
        if answered is not None:
            self._settle_doubts(answered)
            self._take(answered)
        return answered

    def refused(self, error: Json) -> None:
        """The provider answered with an error."""
        found = self._about(error)
        for message in found[:1]:
            self._take(message)
        code = error.get("code")
        is_other = isinstance(code, str) and code.startswith(_OTHERS)
        if not (found or error.get("event_id") or is_other):
            self._doubts += 1

    def hold(self, error: Json, *, is_open: bool) -> bool:
        """The provider is busy with what it was asked for by us: whether the error says so about a
        message. That one is asked for once the provider is not; so is one of ours, where a response
        ``is_open`` that must end first. Where none is, the first of several keeps it busy, and only
        its beginning was not told yet (xAI is late with that): the error is about the next.
        """
        found = self._about(error) if error.get("code") == BUSY else []
        if not is_open and len(found) > 1:
            found = found[1:]
        for message in found[:1]:
            message.is_held = bool(message.raw) and (is_open or not message.is_again)
            return message.is_held
        return False

    def release(self) -> list[bytes]:
        """The provider is not busy any more: the first of what was held."""
        for message in [message for message in self._messages if message.is_held]:
            message.is_held, message.is_again = False, True
            if message.raw and not message.is_cancelled:
                return [message.raw]
            self._take(message)
        return []

    def cancelled(self, event: Json) -> None:
        """The client cancels what it has asked for: it is not to be asked for again. One that names
        a response means none that has yet to begin.
        """
        if event.get("response_id") is None:
            for message in self._messages:
                message.is_cancelled |= message.kind == CREATE_RESPONSE and not message.is_beside

    def closed(self) -> Iterator[Message]:
        """The provider is gone: the messages that another one cannot be told, as it does not know
        of what they are about.
        """
        self._doubts = 0
        for message in list(self._messages):
            message.is_held = False
            if message.kind == TRUNCATE_ITEM:
                yield message
            if message.kind == TRUNCATE_ITEM or message.is_cancelled:
                self._take(message)

    def _about(self, error: Json) -> list[Message]:
        """The messages that an error may be about; it is about the first."""
        event_id, kinds = error.get("event_id"), _kinds_of(error)
        found = [message for message in self._messages if not message.is_held]
        if event_id:
            return [message for message in found if message.event.get("event_id") == event_id]
        found = [message for message in found if message.kind in kinds]
        nameless = [message for message in found if message.event.get("event_id") is None]
        # A provider is busy with a question, so where only one with a name waits, it is about that.
        must_be_nameless = nameless or error.get("code") != BUSY
        return nameless if self.names_events and must_be_nameless else found

    def _settle_doubts(self, answered: Message) -> None:
        """What stands before a message that is answered is never answered any more: so many of
        these were refused as there were errors that did not say so.
        """
        before = [x for x in self._messages[: self._place(answered)] if not x.is_held]
        for message in before[: self._doubts]:
            self._take(message)
        self._doubts = 0

    def _shed(self, message: Message) -> None:
        """Keep its place, and what tells which answer is to it."""
        self._bytes -= len(message.raw)
        message.raw, message.event = b"", _outline(message.event)

    def _take(self, message: Message) -> None:
        del self._messages[self._place(message)]
        self._doubts = min(self._doubts, len(self._messages))
        self._bytes -= len(message.raw)

    def _place(self, message: Message) -> int:
        """Where it is: two messages may be equal."""
        return next(place for place, x in enumerate(self._messages) if x is message)


def truncated(event: Json) -> Json:
    """The answer to a ``conversation.item.truncate``."""
    fields = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
    return {"type": "conversation.item.truncated", **fields}


def is_beside_conversation(response: Json) -> bool | None:
    """Whether a response is beside the conversation; None where its provider does not say."""
    return response["conversation_id"] is None if "conversation_id" in response else None


def _outline(event: Json) -> Json:
    """An event without what makes it large."""
    item, response = event.get("item"), event.get("response")
    outline: Json = {name: event[name] for name in _NAMES if name in event}
    if isinstance(item, dict):
        content = [{"type": part.get("type")} for part in _parts(item)]
        outline["item"] = {**{name: item.get(name) for name in ("id", *_LOOKS)}, "content": content}
    if isinstance(response, dict):
        outline["response"] = {name: response.get(name) for name in ("conversation", "metadata")}
    if len(json.encode(outline)) <= OUTLINE_BYTES_MAX:
        return outline
    return {"type": event["type"], **({"item": {}} if "item" in outline else {})}


def _is_of(event: Json, item_id: object) -> bool:
    return bool(item_id) and _item_id(event) == item_id


def _item_id(event: Json) -> object:
    item = event.get("item")
    return item.get("id") if isinstance(item, dict) else event.get("item_id")


def _look(item: object) -> tuple[object, ...]:
    """What an item that is created has in common with the one that was asked for."""
    if not isinstance(item, dict):
        return ()
    is_speech = any(part.get("type") == _AUDIO for part in _parts(item))
    return (*(item.get(name) for name in _LOOKS), is_speech)


def _words(item: Json) -> list[object]:
    """What one can tell items by that look alike."""
    return [item.get("output"), *(part.get("text") for part in _parts(item))]


def _parts(item: Json) -> list[Json]:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict)]


def _metadata(response: object) -> object:
    return (response.get("metadata") or None) if isinstance(response, dict) else None


def _kinds_of(error: Json) -> tuple[str, ...]:
    """What the client may have said that the error is about."""
    code, param = error.get("code"), error.get("param")
    for start, kinds in _CODES:
        if isinstance(code, str) and code.startswith(start):
            return kinds
    if not isinstance(param, str):
        return ()
    return _PARAMS.get(param.partition(".")[0].partition("[")[0], ())
