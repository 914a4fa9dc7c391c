"""Which answers of a provider are to what it was told in place of another one."""

from copy import copy
from typing import Any

import pytest

from gateway.translate.kept.retelling import NOTHING_TOLD, Retelling
from tests.support.kept_talk import KeptTalk

Event = dict[str, Any]
SESSION = {"type": "realtime", "instructions": "Hi"}
ITEMS = [{"id": "a", "type": "message"}, {"id": "b", "type": "message"}]


def begun(*, items: list[Event] = ITEMS, session: Event = SESSION) -> tuple[Retelling, list[Event]]:
    """A provider was told all that."""
    found = Retelling("5eed")
    return found, found.begin(session, items, is_announced=True)


def test_it_is_told_once_and_in_order() -> None:
    """The configuration, then the items; the ids of the events are ours."""
    _, told = begun()
    assert [event["type"] for event in told] == [
        "session.update", "conversation.item.create", "conversation.item.create",
    ]  # fmt: skip
    assert [event["item"]["id"] for event in told[1:]] == ["a", "b"]
    assert all(event["event_id"].startswith("told_5eed_") for event in told)


def test_all_answers_are_known() -> None:
    """Those to what is told; the next ones are to the client."""
    found, _ = begun()
    assert found.is_open
    assert found.created()
    assert not found.created()
    assert found.updated()
    for name in ("a", "b"):
        assert found.added(name, is_new=False)
        assert found.done(name)
    assert not found.is_open
    assert not found.updated()
    assert not found.added("c", is_new=False)
    assert not found.done("c")


def test_what_was_refused_is_waited_for_no_more() -> None:
    """Else the client's next item would be taken for ours."""
    found, told = begun()
    for event in (told[0], told[1]):
        assert found.refused({"event_id": event["event_id"]})
    assert not found.updated()
    assert found.added("b", is_new=False)
    assert not found.added("c", is_new=False)
    assert not found.refused({"event_id": "client_1"})
    assert not found.refused({"event_id": ["odd"]})


def test_an_item_may_get_another_name() -> None:
    """It is known by its turn, and the client hears the name that it knows."""
    found, _ = begun()
    assert found.added("x", is_new=False)
    assert found.added("y", is_new=False)
    assert not found.added("z", is_new=False)
    event = {"type": "conversation.item.added", "previous_item_id": "y", "item": {"id": "z"}}
    assert found.renamed(event)["previous_item_id"] == "b"
    other = {"type": "conversation.item.added", "previous_item_id": ["odd"]}
    assert found.renamed(other) is other


def test_the_next_thing_that_happens_ends_it() -> None:
    """A provider that did not answer will not."""
    found, _ = begun()
    assert found.added("a", is_new=False)
    found.end()
    assert not found.updated()
    assert not found.added("c", is_new=False)
    assert found.done("a")


def test_an_item_that_is_new_is_not_ours() -> None:
    """Whatever is still to come."""
    found, _ = begun()
    assert not found.added("mine", is_new=True)


def test_what_a_provider_does_not_have_is_known() -> None:
    """What it was told is text there, and what was open is lost."""
    found, _ = begun(items=[])
    assert not found.has("cut")
    found.lost({"cut"})
    found.begin(SESSION, ITEMS, is_announced=True)
    assert all(found.has(name) for name in ("a", "b", "cut"))
    assert not found.has("c")
    assert not found.has(["odd"])


def test_nothing_to_tell_is_nothing_to_wait_for() -> None:
    """But for the session of one who was told of a session."""
    found, told = begun(items=[], session={})
    assert told == []
    assert found.is_open
    found.created()
    assert not found.is_open


@pytest.mark.parametrize("is_xai", [True, False])
def test_what_sessions_share_at_their_first_provider_stays_as_it_is(is_xai: bool) -> None:
    """Whatever is said there, one session tells another nothing by it."""
    before = shared()
    talk = KeptTalk(is_xai=is_xai, resumes=is_xai)
    talk.write(is_named=True)
    talk.ask()
    talk.speak()
    talk.rest()
    talk.about_item("truncate", 0)
    talk.about_item("delete", 0)
    talk.update(is_refused=True)
    talk.rest()
    talk.cut()
    talk.rest()
    assert shared() == before
    assert not NOTHING_TOLD.refused({"event_id": "told__1"}), "it has told nothing"


def shared() -> dict[str, Any]:
    """All that it holds; of what can change, a copy."""
    names = [name for name in Retelling.__slots__ if name != "_ids"]
    return {name: copy(getattr(NOTHING_TOLD, name)) for name in names}
