"""Responses that a provider left open: how they are closed, and which are asked for again."""

from typing import Any

import pytest

from gateway.translate.kept.responses import Responses
from gateway.translate.kept.unanswered import Message

Event = dict[str, Any]
PLACE = {"response_id": "r", "output_index": 0}
PART = {**PLACE, "item_id": "i", "content_index": 0}
ITEM = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
CALL = {"id": "i", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
BESIDE = Message("response.create", {"response": {"conversation": "none"}}, b"beside")


def event(kind: str, **fields: Any) -> Event:
    """An event of the response."""
    return {"type": f"response.{kind}", **fields}


ADDED = event("output_item.added", **PLACE, item=ITEM)
CALLED = event("output_item.added", **PLACE, item=CALL)
PART_ADDED = event("content_part.added", **PART, part={"type": "audio", "transcript": ""})
WORDS = event("output_audio_transcript.delta", **PART, delta="Good day")
AUDIO = event("output_audio.delta", **PART, delta="AAAA")
HALF = event("function_call_arguments.delta", **PLACE, delta='{"a"')
CALL_DONE = event("function_call_arguments.done", **PLACE, arguments="{}")


def opened(*events: Event, request: Message | None = None, **body: Any) -> Responses:
    """A response that got so far."""
    found = Responses()
    found.created({"id": "r", **body}, request)
    for one in events:
        found.see(one)
    return found


def closed(found: Responses, *, says_done: bool = True) -> list[Event]:
    """What closes the only one that is open."""
    ((_, events),) = found.close(says_done=says_done)
    return events


def kinds(events: list[Event]) -> list[str]:
    """Their types, in short."""
    return [one["type"].removeprefix("response.") for one in events]


@pytest.mark.parametrize(
    ("events", "is_added", "expected"),
    [
        ([], False, ["done"]),
        ([ADDED], False, ["conversation.item.added", "conversation.item.done",
                          "output_item.done", "done"]),
        ([ADDED], True, ["conversation.item.done", "output_item.done", "done"]),
        ([ADDED, PART_ADDED, WORDS], True, [
            "output_audio.done", "output_audio_transcript.done", "content_part.done",
            "conversation.item.done", "output_item.done", "done"]),
        ([CALLED, HALF], True, ["function_call_arguments.done", "conversation.item.done",
                                "output_item.done", "done"]),
        ([CALLED, HALF, CALL_DONE], True, ["conversation.item.done", "output_item.done", "done"]),
    ],
)  # fmt: skip
def test_everything_that_was_begun_is_ended(
    events: list[Event], is_added: bool, expected: list[str]
) -> None:
    """Each with the event that a client waits for, once and in order."""
    found = opened(*events)
    if is_added:
        assert found.item_added("i")
    made = closed(found)
    assert kinds(made) == expected
    assert made[-1]["response"]["status"] == "cancelled"
    assert list(found.close(says_done=True)) == []


def test_an_item_that_the_conversation_has_whole_is_that_item() -> None:
    """Even where the response had not said so."""
    found = opened(ADDED)
    found.item_added("i")
    whole = {**ITEM, "status": "completed"}
    found.item_done("i", whole)
    made = closed(found)
    assert kinds(made) == ["output_item.done", "done"]
    assert made[0]["item"] == whole
    assert made[1]["response"]["output"] == [whole]


@pytest.mark.parametrize(
    "found",
    [opened(ADDED, conversation_id=None), opened(ADDED, request=BESIDE)],
    ids=["as the provider says", "as the client said"],
)
def test_one_beside_the_conversation_has_no_items_there(found: Responses) -> None:
    """Its items are its own."""
    assert kinds(closed(found)) == ["output_item.done", "done"]


def test_xai_says_of_no_item_that_it_is_done() -> None:
    """So nor do we."""
    found = opened(ADDED)
    found.item_added("i")
    assert kinds(closed(found, says_done=False)) == ["output_item.done", "done"]


@pytest.mark.parametrize(
    ("events", "is_asked"),
    [
        ([], True), ([ADDED, PART_ADDED], True), ([CALLED, HALF], True),
        ([WORDS], False), ([AUDIO], False), ([CALL_DONE], False),
    ],
)  # fmt: skip
def test_what_was_heard_is_not_asked_for_again(events: list[Event], is_asked: bool) -> None:
    """Of a call, nothing is heard before it is whole."""
    ((response, _),) = opened(*events).close(says_done=True)
    assert (response.question is not None) is is_asked


def test_nor_is_what_was_cancelled() -> None:
    """By its name, or by none: then the conversation's is meant."""
    for request, cancel, is_asked in (
        (None, {}, False),
        (None, {"response_id": "r"}, False),
        (None, {"response_id": "other"}, True),
        (BESIDE, {}, True),
        (BESIDE, {"response_id": "r"}, False),
    ):
        found = opened(request=request)
        found.cancelled(cancel)
        ((response, _),) = found.close(says_done=True)
        assert (response.question is not None) is is_asked


def test_it_is_asked_for_as_it_was() -> None:
    """Where the provider had begun it by itself, plainly."""
    ((response, _),) = opened(request=BESIDE).close(says_done=True)
    assert response.question is not None
    assert response.question.raw == BESIDE.raw
    assert response.question.is_again
    ((response, _),) = opened().close(says_done=True)
    assert response.question is not None
    assert response.question.raw == b'{"type":"response.create"}'
