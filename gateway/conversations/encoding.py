"""A conversation as it is stored: two texts of bounded size. Pure.

``configuration`` is the session object, ``items`` are those of the conversation, both in OpenAI's
GA form, as JSON::

    {"v":1,"session":{…}}        {"v":1,"items":[…]}

A reader takes no other version: what a newer gateway wrote is left alone by an older one.
"""

from typing import Any, Final, NamedTuple

from msgspec import DecodeError, json

from gateway.translate.conversation import BYTES_MAX, ITEMS_MAX, Conversation, Item
from shared.wire import CONFIGURATION_BYTES_MAX, ITEMS_BYTES_MAX

VERSION: Final = 1
_FRAME_BYTES: Final = 64  # of an encoding without its content
# A conversation within its own bounds is stored whole: its items, and the commas between them.
assert BYTES_MAX + ITEMS_MAX + _FRAME_BYTES <= ITEMS_BYTES_MAX


class Texts(NamedTuple):
    """A stored conversation; empty where nothing is stored."""

    configuration: str
    items: str


class UnreadableError(Exception):
    """A stored conversation cannot be read; the text says why, and nothing of what it says."""


def encoded_configuration(conversation: Conversation) -> str | None:
    """The session object; None where it is too large to be stored."""
    return _text({"v": VERSION, "session": conversation.session}, CONFIGURATION_BYTES_MAX)


def encoded_items(conversation: Conversation) -> str:
    """The items, or of too many bytes the newest."""
    whole = _text({"v": VERSION, "items": conversation.items}, ITEMS_BYTES_MAX)
    if whole is not None:
        return whole
    kept: list[Item] = []
    room = ITEMS_BYTES_MAX - _FRAME_BYTES
    for item in reversed(conversation.items):
        text = _text(item, room)
        if text is None:
            break
        room -= len(text.encode()) + 1
        kept.insert(0, item)
    found = _text({"v": VERSION, "items": kept}, ITEMS_BYTES_MAX)
    assert found is not None, "each item was measured"
    return found


def decoded(texts: Texts) -> Conversation:
    """The conversation that is stored as ``texts``; an empty one where nothing is. Raises
    ``UnreadableError``.
    """
    session = _content(texts.configuration, "session", dict)
    conversation = Conversation(session=session or {})
    for item in _content(texts.items, "items", list) or ():
        if not isinstance(item, dict):
            raise UnreadableError("an item is no object")
        conversation.add(item)
    return conversation


def _text(value: Any, bytes_max: int) -> str | None:
    try:
        text = json.encode(value)
    except RecursionError:  # a client nested it so
        return None
    return text.decode() if len(text) <= bytes_max else None


def _content(text: str, name: str, kind: type) -> Any:
    """What is under ``name``; None where there is no text."""
    if not text:
        return None
    try:
        body = json.decode(text)
    except (DecodeError, RecursionError):
        raise UnreadableError("not JSON") from None
    if not isinstance(body, dict) or body.get("v") != VERSION:
        raise UnreadableError(f"not of version {VERSION}")
    if not isinstance(body.get(name), kind):
        raise UnreadableError(f"without {name}")
    return body[name]
