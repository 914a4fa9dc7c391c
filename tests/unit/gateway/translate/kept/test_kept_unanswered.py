"""What the client said and is not answered: which answer, or which error, is to which message."""

from typing import Any

import pytest
from msgspec import json

from gateway.translate.kept.unanswered import (
    BUSY,
    BYTES_MAX,
    MESSAGES_MAX,
    OUTLINE_BYTES_MAX,
    Message,
    Unanswered,
)

Event = dict[str, Any]
ASK: Event = {"type": "response.create"}
UPDATE: Event = {"type": "session.update", "session": {"instructions": "Hi"}}


def text(words: str, **fields: Any) -> Event:
    """A text of the user's."""
    content = [{"type": "input_text", "text": words}]
    item = {"type": "message", "role": "user", "content": content, **fields}
    return {"type": "conversation.item.create", "item": item}


def ask(**response: Any) -> Event:
    """For a response."""
    return {"type": "response.create", "response": response}


def about(verb: str, item_id: str) -> Event:
    """About an item."""
    return {"type": f"conversation.item.{verb}", "item_id": item_id}


def waiting(*events: Event) -> Unanswered:
    """These were said."""
    found = Unanswered()
    for number, event in enumerate(events):
        found.said(event, b"%d" % number)
    return found


def added(words: str, **fields: Any) -> Event:
    """The item that a provider makes of a text."""
    item: Event = {"id": "item_1", "status": "completed", **text(words)["item"], **fields}
    return item


@pytest.mark.parametrize(
    ("said", "item", "left"),
    [
        ([text("a"), text("b")], added("a"), [b"1"]),
        ([text("a"), text("b")], added("b"), [b"0"]),  # the first one was refused
        ([text("a", id="mine"), text("b")], added("a", id="mine"), [b"1"]),
        ([text("a"), text("a", id="mine")], added("a", id="mine"), [b"0"]),
        ([text("a", id="mine"), text("b")], added("a"), [b"1"]),  # it has another name there
        ([text("a"), text("b")], added("A", id="x"), [b"1"]),  # as the provider spells it
        ([text("a")], added("a", role="system"), [b"0"]),
        ([text("a")], added("", content=[{"type": "input_audio"}]), [b"0"]),
        ([UPDATE, ASK], added("a"), [b"0", b"1"]),
    ],
)
def test_an_item_answers_the_message_that_asked_for_it(
    said: list[Event], item: Event, left: list[bytes]
) -> None:
    """By its name, else by what it says, else the first that looks like it."""
    found = waiting(*said)
    found.created(item)
    assert found.raw == left


@pytest.mark.parametrize(
    ("said", "response", "left"),
    [
        ([ASK, ASK], {"id": "r"}, [b"1"]),
        ([ASK, ask(metadata={"a": 1})], {"metadata": {"a": 1}}, [b"0"]),
        ([ask(metadata={"a": 1})], {}, []),  # it does not say
        ([ask(metadata={"a": 1})], {"metadata": None}, [b"0"]),  # the provider began it itself
        ([ask(conversation="none"), ASK], {"conversation_id": "conv"}, [b"0"]),
        ([ASK, ask(conversation="none")], {"conversation_id": None}, [b"0"]),
        ([ask(conversation="none"), ASK], {}, [b"1"]),  # it does not say
    ],
)
def test_a_response_answers_the_message_that_asked_for_it(
    said: list[Event], response: Event, left: list[bytes]
) -> None:
    """By its metadata, and by whether it is beside the conversation."""
    found = waiting(*said)
    found.begun(response)
    assert found.raw == left


REFUSED = text("a", id="mine") | {"event_id": "one"}


@pytest.mark.parametrize(
    ("said", "error", "left"),
    [
        ([ASK, REFUSED], {"event_id": "one"}, [b"0"]),
        ([ASK, REFUSED], {"event_id": "other"}, [b"0", b"1"]),
        ([ASK, ASK], {"code": "conversation_already_has_active_response"}, [b"1"]),
        ([ASK, UPDATE], {"param": "session.audio.output"}, [b"0"]),
        ([UPDATE, text("a")], {"param": "item.content[0].text"}, [b"0"]),
        ([text("a"), about("delete", "x")], {"param": "item_id"}, [b"0"]),
        ([text("a"), about("truncate", "x")], {"code": "item_truncate_invalid_item_id"}, [b"0"]),
        ([text("a"), about("retrieve", "x")], {"code": "item_retrieve_invalid_item_id"}, [b"0"]),
        ([ASK, text("a")], {"param": "previous_item_id"}, [b"0"]),
        ([ASK], {"code": "response_cancel_not_active", "param": "response_id"}, [b"0"]),
        ([ASK], {"code": ["odd"], "param": {"odd": 1}, "event_id": {}}, [b"0"]),
        ([REFUSED], {"param": "item.id"}, [b"0"]),  # it would have been named
        ([{**ASK, "event_id": "one"}], {"code": "conversation_already_has_active_response"}, []),
    ],
)
def test_an_error_answers_the_message_that_it_is_about(
    said: list[Event], error: Event, left: list[bytes]
) -> None:
    """By the name that the client gave it, else by what the error names."""
    found = waiting(*said)
    found.refused(error)
    assert found.raw == left


def test_an_error_about_nothing_ends_what_stands_before_an_answer() -> None:
    """Answers come in order: what stands before one that is answered was refused."""
    found = waiting(UPDATE, text("a"), ASK)
    found.refused({"code": "server_error"})
    assert len(found.raw) == 3
    found.created(added("a"))
    assert found.raw == [b"2"]
    found.begun({})
    assert found.raw == []


def test_xai_does_not_say_which_event_it_refuses() -> None:
    """So an error that names none may be about one that has a name."""
    found = waiting(REFUSED, ASK)
    found.names_events = False
    found.refused({"param": "item.id"})
    assert found.raw == [b"1"]


def test_as_many_messages_were_refused_as_there_were_errors() -> None:
    """So what is answered stands behind as many; and where there are no more, nothing is waited
    for, though it is told the next provider.
    """
    found = waiting(UPDATE, ASK, UPDATE)
    for _ in range(2):
        found.refused({})
    assert found.asks
    assert found.updated() is not None
    assert found.raw == []
    found = waiting(ASK, ASK)
    found.refused({})
    found.refused({"code": "response_cancel_not_active"})  # about nothing that is waited for
    assert found.asks
    found.refused({})
    assert not found.asks
    assert found.raw == [b"0", b"1"]
    found.said(UPDATE, b"2")
    assert found.asks
    assert found.updated() is not None
    assert found.raw == []


def test_what_is_held_is_waited_for_all_the_same() -> None:
    """It was not told, so no error is about it."""
    found = waiting(ASK, ask(metadata={"a": 1}))
    assert found.hold({"code": "conversation_already_has_active_response"}, is_open=True)
    found.refused({})
    assert found.asks
    assert not found.asks_again


def test_what_is_refused_for_what_is_asked_again_is_held() -> None:
    """Until the provider is free; another error ends it no more than another answer does."""
    busy = {"code": "conversation_already_has_active_response"}
    found = waiting(ASK, ask(metadata={"a": 1}), ask(metadata={"b": 1}))
    assert found.hold(busy, is_open=True)
    assert found.hold(busy, is_open=True)
    assert not found.hold({"code": "server_error"}, is_open=True)
    assert not found.hold({**busy, "event_id": "other"}, is_open=True)
    found.refused({"code": "server_error"})
    found.begun({"metadata": {"b": 1}})
    assert not found.asks_again
    assert found.release() == [b"0"]
    assert found.asks_again
    assert not found.hold(busy, is_open=False), "it would be refused for ever"
    assert found.hold(busy, is_open=True), "a response that was asked for elsewhere is to end first"
    assert found.release() == [b"0"]
    found.cancelled({})
    assert found.hold(busy, is_open=True)
    assert found.release() == []
    assert found.raw == []


def test_what_keeps_a_provider_busy_may_have_yet_to_say_that_it_began() -> None:
    """The error about the next question comes before the beginning of the first."""
    found = Unanswered()
    found.add(Message("response.create", ASK, b"again", is_again=True))
    found.said(ask(metadata={"a": 1}), b"next")
    assert found.hold({"code": BUSY}, is_open=False)
    begun = found.begun({})
    assert begun is not None
    assert begun.is_again
    assert found.release() == [b"next"]


def test_what_is_cancelled_is_not_asked_for_again() -> None:
    """It is known, so that the response that begins all the same is."""
    found = waiting(ASK, ask(conversation="none"))
    assert found.asks
    found.cancelled({"response_id": "resp_1"})
    assert found.asks
    found.cancelled({})
    assert not found.asks
    assert found.raw == [b"1"]
    asked = found.begun({"conversation_id": "conv"})
    assert asked is not None
    assert asked.is_cancelled


def test_another_provider_is_told_no_truncation() -> None:
    """It is answered instead; nor is one told what was cancelled."""
    found = waiting(about("truncate", "item_1"), ASK, UPDATE)
    found.cancelled({})
    assert [message.event["item_id"] for message in found.closed()] == ["item_1"]
    assert found.raw == [b"2"]


def test_too_many_are_forgotten() -> None:
    """The oldest first, but no configuration: an agent tells a whole history right after it."""
    found = waiting(UPDATE, *[ASK] * (MESSAGES_MAX + 2))
    assert len(found.raw) == MESSAGES_MAX
    assert found.raw[:2] == [b"0", b"4"]
    assert found.updated() is not None


def test_what_is_large_takes_no_configuration_with_it() -> None:
    """It is not told again, and its answer is still known for what it is."""
    found = waiting(UPDATE, text("a"))
    found.said(text("large"), b"x" * (BYTES_MAX + 1))
    found.said(ASK, b"3")
    assert found.raw == [b"0", b"3"]
    assert found.created(added("a")) is not None
    assert found.created(added("large")) is not None
    assert found.created(added("large")) is None
    assert found.raw == [b"0", b"3"]


@pytest.mark.parametrize(
    "event",
    [
        ask(instructions="x" * BYTES_MAX, metadata={"a": "b"}),
        ask(metadata={"a": "x" * BYTES_MAX}),
        text("x" * BYTES_MAX),
        {**text("a"), "odd": "x" * BYTES_MAX},
        text("a", odd="x" * BYTES_MAX),
        {**about("delete", "x"), "odd": "x" * BYTES_MAX},
    ],
)
def test_of_a_large_message_little_is_kept(event: Event) -> None:
    """Its place, and what tells that it was answered."""
    found = Unanswered()
    found.said(event, json.encode(event))
    assert found.raw == []
    if event["type"] == "response.create":
        message = found.begun({"metadata": event["response"]["metadata"]}) or found.begun({})
    elif event["type"] == "conversation.item.create":
        message = found.created(added("a"))
    else:
        found.answered("conversation.item.delete", "x")
        return
    assert message is not None
    assert len(json.encode(message.event)) <= OUTLINE_BYTES_MAX


def test_a_large_question_is_not_held() -> None:
    """There is nothing to ask it with later: its client hears that the provider is busy."""
    found = Unanswered()
    question = ask(instructions="x" * BYTES_MAX)
    found.said({**question, "event_id": "e"}, json.encode(question))
    assert not found.hold({"code": BUSY, "event_id": "e"}, is_open=True)
    assert found.release() == []


def test_what_was_held_and_is_too_much_now_is_not_asked() -> None:
    """Nor is anything else said in its place."""
    found = Unanswered()
    for name in ("first", "second"):
        found.said({**ASK, "event_id": name}, name.encode())
        assert found.hold({"code": BUSY, "event_id": name}, is_open=False)
    found.said(UPDATE, b" " * (BYTES_MAX - len(b"second")))
    assert found.release() == [b"second"]
