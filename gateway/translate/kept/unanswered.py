"""What the client said and the provider has not answered yet. Pure.

A provider answers such messages in their order. When its connection is gone, those without an
answer may not have reached it: the next one is told them again, byte for byte. A message that was
read by the former provider after all left no trace that the client could see.
"""

from collections import deque
from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]

UPDATE: Final = "session.update"
CREATE_ITEM: Final = "conversation.item.create"
CREATE_RESPONSE: Final = "response.create"
# Others are answered at once or never, and mean nothing to another provider: its buffer of audio is
# empty, and it has no response to cancel.
KINDS: Final = frozenset({UPDATE, CREATE_ITEM, "conversation.item.delete", CREATE_RESPONSE})
MESSAGES_MAX: Final = 64
BYTES_MAX: Final = 256 * 1024
# Which message an error is about that names none, by the beginning of what it does name.
_PARAMS: Final = (("session", UPDATE), ("item", CREATE_ITEM), ("response", CREATE_RESPONSE))
_BUSY: Final = "conversation_already_has_active_response"


class Message(Struct):
    """One of them: its bytes, its event, and the id that the client gave it, if it gave one."""

    kind: str
    event: Json
    raw: bytes


class Unanswered:
    """Those of one session, oldest first; of too many the oldest are forgotten."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0

    @property
    def asks(self) -> bool:
        """Whether a response was asked for and has not begun."""
        return any(message.kind == CREATE_RESPONSE for message in self._messages)

    @property
    def raw(self) -> list[bytes]:
        """The messages as they came."""
        return [message.raw for message in self._messages]

    def said(self, event: Json, raw: bytes) -> None:
        """The client said something that will be answered."""
        self._messages.append(Message(event["type"], event, raw))
        self._bytes += len(raw)
        while len(self._messages) > MESSAGES_MAX or self._bytes > BYTES_MAX:
            self._bytes -= len(self._messages.popleft().raw)

    def answered(self, kind: str, *, item_id: str = "") -> Message | None:
        """The provider did what a message of this ``kind`` asked for: that message; None where the
        provider did it by itself. ``item_id`` is of the item that it did it to.
        """
        found = [message for message in self._messages if message.kind == kind]
        named = [message for message in found if item_id and _item_id(message.event) == item_id]
        unnamed = [message for message in found if _item_id(message.event) is None]
        return next((self._take(message) for message in [*named, *unnamed]), None)

    def refused(self, error: Json) -> None:
        """The provider answered with an error."""
        event_id = error.get("event_id")
        for message in self._messages:
            given = message.event.get("event_id")
            if given == event_id if event_id else given is None and _is_about(error, message.kind):
                self._take(message)
                return

    def cancelled(self) -> None:
        """The client cancels what it has asked for: it is not to be asked for again."""
        for message in [x for x in self._messages if x.kind == CREATE_RESPONSE]:
            self._take(message)

    def _take(self, message: Message) -> Message:
        self._messages.remove(message)
        self._bytes -= len(message.raw)
        return message


def _item_id(event: Json) -> object:
    item = event.get("item")
    return item.get("id") if isinstance(item, dict) else event.get("item_id")


def _is_about(error: Json, kind: str) -> bool:
    if error.get("code") == _BUSY:
        return kind == CREATE_RESPONSE
    param = error.get("param")
    return isinstance(param, str) and any(
        kind == about and param.startswith(start) for start, about in _PARAMS
    )
