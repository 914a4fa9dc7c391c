"""What is said is kept in order, and told to another connection."""

from typing import Any

import pytest

from gateway.translate.conversation import Conversation
from gateway.translate.to_openai.calls import CALLS_MAX, Calls
from gateway.translate.to_openai.heard_words import ITEMS_MAX, HeardWords
from gateway.translate.to_openai.record import PLACES_MAX, Record
from gateway.translate.to_openai.replay import items_to_create

Item = dict[str, Any]


def text(item_id: str | None, words: str = "Hello", role: str = "user") -> Item:
    """A message."""
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": words}]
    item: Item = {"type": "message", "role": role, "content": content}
    return item if item_id is None else {"id": item_id, **item}


class Kept:
    """A record, and the ids of what it has written."""

    def __init__(self) -> None:
        self.conversation = Conversation()
        self.record = Record(self.conversation)

    @property
    def ids(self) -> list[Any]:
        """The items' ids."""
        return [item.get("id") for item in self.conversation.items]


def test_an_item_that_is_incomplete_keeps_its_place() -> None:
    """What follows waits for it."""
    kept = Kept()
    kept.record.expect("u", "user")
    kept.record.expect("u", "user")
    kept.record.add(text("v"))
    assert kept.ids == []
    kept.record.transcribed("u", "Good day")
    kept.record.settle()
    assert kept.ids == ["u", "v"]
    assert kept.conversation.items[0]["content"] == [
        {"type": "input_audio", "transcript": "Good day"}
    ]


def test_an_item_without_an_id_is_kept() -> None:
    """Two of them are two."""
    kept = Kept()
    kept.record.add(text(None))
    kept.record.answered([text(None)])
    assert kept.ids == [None, None]


def test_what_stays_incomplete_is_dropped_after_two_answers() -> None:
    """A transcript that has not come by then does not come."""
    kept = Kept()
    kept.record.expect("u", "user")
    kept.record.answered([text("a", role="assistant")])
    assert kept.ids == []
    kept.record.answered([text("b", role="assistant")])
    assert kept.ids == ["a", "b"]
    kept.record.transcribed("u", "late")
    kept.record.said("u", "later")
    kept.record.drop("u")
    assert kept.ids == ["a", "b"]


def test_too_many_incomplete_items_give_way() -> None:
    """What is complete among them is kept."""
    kept = Kept()
    for number in range(PLACES_MAX):
        kept.record.expect(f"u{number}", "user")
    kept.record.add(text("v"))
    kept.record.expect("last", "user")
    assert kept.ids == ["v"]


def test_the_words_of_a_cut_answer_are_kept() -> None:
    """As far as the client has heard them; what was only begun is not."""
    kept = Kept()
    kept.record.expect("u", "user")
    kept.record.expect("a", "assistant")
    kept.record.said("a", "I will")
    kept.record.said("a", " say")
    kept.record.abandon()
    assert kept.conversation.items == [
        {
            "id": "a", "type": "message", "role": "assistant", "status": "incomplete",
            "content": [{"type": "output_audio", "transcript": "I will say"}],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "created"),
    [
        (text("a"), text("a")),
        (text("a", role="system"), text("a", role="system")),
        (text("x" * 33), text(None)),
        (text(None), text(None)),
        (
            {"id": "a", "type": "message", "role": "user", "status": "completed",
             "content": [{"type": "input_audio", "transcript": "Hello"}]},
            text("a"),
        ),
        (
            {"id": "a", "type": "message", "role": "assistant",
             "content": [{"type": "audio", "transcript": "Hello"}, {"type": "text"}, 7]},
            text("a", role="assistant"),
        ),
        (
            {"type": "message", "role": "user",
             "content": [{"type": "input_image", "image_url": "data:,"}, {"type": "input_image"}]},
            {"type": "message", "role": "user",
             "content": [{"type": "input_image", "image_url": "data:,"}]},
        ),
        (
            {"id": "c", "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}",
             "status": "completed"},
            {"id": "c", "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        ),
        (
            {"type": "function_call_output", "call_id": "1", "output": "x"},
            {"type": "function_call_output", "call_id": "1", "output": "x"},
        ),
        ({"type": "function_call_output", "call_id": "1"}, None),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio"}]}, None),
        ({"type": "message", "role": "nobody", "content": []}, None),
        ({"type": "message", "role": "user"}, None),
        ({"type": "mcp_call"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_another_connection_is_told_of_an_item(item: Item, created: Item | None) -> None:
    """What was spoken becomes text; what cannot be said is left out."""
    assert list(items_to_create([item])) == ([] if created is None else [created])


def test_an_item_is_told_once() -> None:
    """The provider would refuse the second one."""
    assert list(items_to_create([text("a"), text("b"), text("a")])) == [text("a"), text("b")]


def test_words_that_grow() -> None:
    """Only what is new is told, and after a correction what follows the same beginning."""
    words = HeardWords()
    assert words.all("u", "I sea", corrects=True) == "I sea"
    assert words.all("u", "I see it", corrects=True) == "e it"
    assert words.all("u", "I see it", corrects=True) == ""
    assert words.all("u", "I seek", corrects=False) == ""
    assert words.all("u", "I see it all", corrects=False) == " all"


def test_the_words_of_old_items_are_forgotten() -> None:
    """A bounded number of items is remembered."""
    words = HeardWords()
    for number in range(ITEMS_MAX + 1):
        words.more(f"u{number}", "Hello")
    assert words.all("u0", "Hello", corrects=False) == "Hello"
    assert words.all(f"u{ITEMS_MAX}", "Hello", corrects=False) == ""


def test_old_calls_are_taken_for_answered() -> None:
    """A client that answers nothing does not fill the memory."""
    calls = Calls()
    for number in range(CALLS_MAX + 1):
        calls.add(f"c{number}", "f", waits=number == 0)
    assert not calls.are_due
    assert calls.answer(None, "f") == "c1"
    assert calls.answer(None, "g") is None
    assert calls.answer("unknown", None) == "unknown"
