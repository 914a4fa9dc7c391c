"""What is kept of a conversation, and what gives way."""

from typing import Any

import pytest
from msgspec import json

from gateway.translate.conversation import (
    BYTES_MAX,
    ITEM_BYTES_MAX,
    ITEMS_MAX,
    Conversation,
    Item,
)


def message(number: int, text: str = "hello", **part: Any) -> Item:
    """A message of the user."""
    content = [{"type": "input_text", "text": text, **part}]
    return {"id": f"item_{number}", "type": "message", "role": "user", "content": content}


def is_counted(kept: Conversation) -> bool:
    """Whether the sum is that of what is kept."""
    return kept.bytes_kept == sum(len(json.encode(item)) for item in kept.items)


def test_the_oldest_give_way_to_the_newest() -> None:
    """At so many items."""
    kept = Conversation()
    for number in range(ITEMS_MAX + 3):
        kept.add(message(number))
    assert [item["id"] for item in kept.items[:1]] == ["item_3"]
    assert len(kept.items) == ITEMS_MAX
    assert is_counted(kept)


def test_they_give_way_to_large_ones_sooner() -> None:
    """At so many bytes; the newest item stays in any case."""
    kept = Conversation()
    for number in range(20):
        kept.add(message(number, "x" * (BYTES_MAX // 8)))
    assert kept.bytes_kept <= BYTES_MAX
    assert kept.items[-1]["id"] == "item_19"
    assert 5 <= len(kept.items) <= 8
    assert is_counted(kept)


def test_no_audio_is_kept() -> None:
    """Of what was spoken the transcript is."""
    kept = Conversation()
    kept.add(message(1, audio="AAAA", transcript="hello"))
    ((part,),) = (item["content"] for item in kept.items)
    assert part == {"type": "input_text", "text": "hello", "transcript": "hello"}


def test_a_large_picture_is_left_out() -> None:
    """What was said beside it stays."""
    kept = Conversation()
    item = message(1)
    picture = {"type": "input_image", "image_url": "data:" + "x" * ITEM_BYTES_MAX}
    item["content"].append(picture)
    kept.add(item)
    assert kept.items == [message(1)]


def test_of_a_large_output_the_beginning_is_kept() -> None:
    """A function may answer with megabytes, and a session may not."""
    kept = Conversation()
    output = {"id": "o", "type": "function_call_output", "call_id": "c", "output": "y" * 10**7}
    kept.add(output)
    assert kept.items == [{**output, "output": "y" * ITEM_BYTES_MAX}]
    assert len(output["output"]) == 10**7, "the client's item is another one"
    assert is_counted(kept)


def test_an_item_changes_where_it_stands() -> None:
    """A transcript may come late; of an item that is not kept it changes nothing."""
    kept = Conversation()
    for number in range(3):
        kept.add(message(number))
    kept.replace(message(1, "good morning"))
    kept.replace(message(9, "never"))
    assert [item["content"][0]["text"] for item in kept.items] == ["hello", "good morning", "hello"]
    assert is_counted(kept)


def test_each_change_is_another_revision() -> None:
    """So that whoever stores it knows; what changes nothing is none."""
    kept = Conversation()
    revisions = [kept.revision]
    for change in (
        lambda: kept.add(message(1)),
        lambda: kept.replace(message(1, "good morning")),
        lambda: kept.replace(message(9, "never")),
        lambda: kept.remove("item_1"),
        lambda: kept.remove("item_1"),
    ):
        change()
        revisions.append(kept.revision)
    assert revisions == [0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("name", ["item_1", "item_9"])
def test_what_was_deleted_is_forgotten(name: str) -> None:
    """And what is not there cannot be."""
    kept = Conversation()
    for number in range(3):
        kept.add(message(number))
    kept.remove(name)
    assert name not in [item["id"] for item in kept.items]
    assert len(kept.items) == (2 if name == "item_1" else 3)
    assert is_counted(kept)
