"""A conversation as two texts: whole, bounded, and read by nobody but who knows the version."""

import pytest
from msgspec import json

from gateway.conversations.encoding import (
    Texts,
    UnreadableError,
    decoded,
    encoded_configuration,
    encoded_items,
)
from gateway.translate.conversation import Conversation
from shared.wire import CONFIGURATION_BYTES_MAX, ITEMS_BYTES_MAX


def said(words: str, number: int = 0) -> dict[str, object]:
    """An item of the user."""
    content = [{"type": "input_text", "text": words}]
    return {"id": f"item_{number}", "type": "message", "role": "user", "content": content}


def texts(conversation: Conversation) -> Texts:
    """It as it is stored."""
    configuration = encoded_configuration(conversation)
    assert configuration is not None
    return Texts(configuration, encoded_items(conversation))


def test_what_was_stored_is_read() -> None:
    """Configuration and items, in their order."""
    conversation = Conversation(session={"instructions": "Be kind."})
    for number, words in enumerate(("Grüß Gott", "Good bye")):
        conversation.add(said(words, number))
    found = decoded(texts(conversation))
    assert (found.session, found.items) == (conversation.session, conversation.items)
    assert found.bytes_kept == conversation.bytes_kept


def test_nothing_is_stored_of_a_new_session() -> None:
    """Then a conversation begins."""
    assert decoded(Texts("", "")).items == []


def test_a_large_configuration_is_not_stored() -> None:
    """Without it the conversation would go on as another one."""
    session = {"instructions": "x" * CONFIGURATION_BYTES_MAX}
    assert encoded_configuration(Conversation(session=session)) is None


def test_of_too_many_bytes_the_newest_items_are_stored() -> None:
    """An item of many parts may be larger than a conversation."""
    part = {"type": "input_text", "text": "x" * 60_000}
    large = {"type": "message", "role": "user", "content": [part] * 8}
    conversation = Conversation(items=[said("old"), large, said("new", 1), said("newer", 2)])
    found = encoded_items(conversation)
    assert len(found.encode()) <= ITEMS_BYTES_MAX
    assert json.decode(found)["items"] == conversation.items[2:]


def test_what_is_nested_too_deeply_is_not_stored() -> None:
    """A client may send it; nothing breaks."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    conversation = Conversation(session={"tools": nested}, items=[{"content": nested}])
    assert encoded_configuration(conversation) is None
    assert json.decode(encoded_items(conversation))["items"] == []
    while nested:  # freed from the outside, or the interpreter recurses
        nested = nested.pop()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("configuration", "items"),
    [
        ("no json", ""),
        ("", "hi"),
        ("[]", ""),
        ('{"session":{}}', ""),
        ('{"v":2,"session":{}}', ""),
        ('{"v":1,"session":[]}', ""),
        ("", '{"v":1,"items":{}}'),
        ("", '{"v":1,"items":["text"]}'),
        ("[" * 100_000, ""),
    ],
)
def test_what_cannot_be_read_is_refused(configuration: str, items: str) -> None:
    """What a newer gateway wrote, the original system, or a damaged row."""
    with pytest.raises(UnreadableError):
        decoded(Texts(configuration, items))
