"""``to_openai.replayed``: what a provider replays, held against what is kept."""

from typing import Any

from gateway.translate.to_openai.replayed import Replayed, is_answer

Item = dict[str, Any]


def said(name: str, words: str = "", role: str = "user") -> Item:
    """A message."""
    content = [{"type": "input_text", "text": words or name}]
    return {"id": name, "type": "message", "role": role, "content": content}


def call(name: str, call_id: str) -> Item:
    """A call of a function."""
    return {
        "id": name, "type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}",
    }  # fmt: skip


def told(replayed: Replayed, *kept: Item) -> list[tuple[str, str]]:
    """What is missing, each with what it stands behind."""
    return [(one.item["id"], one.previous_id) for one in replayed.missing(kept)]


def test_what_was_not_replayed_is_told_at_its_place() -> None:
    """Behind what stands before it, by the provider's name; of several there the last comes first,
    and what comes last needs no place.
    """
    replayed = Replayed()
    replayed.is_known("c", "theirs")
    replayed.is_known("f", "f")
    kept = [said(name) for name in "abcdefgh"]
    assert told(replayed, *kept) == [
        ("b", "root"), ("a", "root"), ("e", "theirs"), ("d", "theirs"), ("g", ""), ("h", ""),
    ]  # fmt: skip
    assert told(Replayed(), *kept[:2]) == [("a", ""), ("b", "")]


def test_only_an_answer_behind_all_that_is_known_is_unheard() -> None:
    """Those before are older than what is kept."""
    replayed = Replayed()
    replayed.is_unheard("old")
    assert replayed.unheard() == ["old"]
    assert not replayed.has_known
    replayed.is_known("a", "a")
    assert replayed.has_known
    replayed.is_unheard("new")
    replayed.is_unheard("newer")
    assert replayed.unheard() == ["new", "newer"]


def test_an_item_is_known_by_what_it_says_too() -> None:
    """Once each; by its role and its words, a call by its own name."""
    kept = [said("a", "Yes"), said("b", "Yes"), said("c", "Yes", "assistant"), call("d", "call_1")]
    replayed = Replayed()
    assert replayed.alike(said("x", "Yes"), kept) == "a"
    replayed.is_known("a", "x")
    assert replayed.alike(said("y", "Yes"), kept) == "b"
    assert replayed.alike(said("z", "Yes", "assistant"), kept) == "c"
    assert replayed.alike(call("w", "call_1"), kept) == "d"
    assert replayed.alike(call("w", "call_2"), kept) == ""
    assert replayed.alike(said("v", "No"), kept) == ""
    assert replayed.alike({"id": "u", "type": "message", "role": "user", "content": 7}, kept) == ""
    assert replayed.alike({"id": "t", "type": "other"}, [{"type": "other"}]) == ""


def test_the_model_answers_and_calls() -> None:
    """All else is said by somebody else."""
    items = [said("a", role="assistant"), call("b", "c"), said("d"), {"type": "other"}]
    assert [is_answer(item) for item in items] == [True, True, False, False]
