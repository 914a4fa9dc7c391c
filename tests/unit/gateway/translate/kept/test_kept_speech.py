"""The user's speech that is not an item yet, and how it is closed."""

from typing import Any

import pytest

from gateway.translate.kept.speech import CLEARED, ITEMS_MAX, Speech

ITEM = {"id": "u", "type": "message", "role": "user"}


def closed(speech: Speech, *, is_manual: bool = False, says_done: bool = True) -> list[Any]:
    """The types of the events that close it, with the item's id."""
    events = speech.close(is_manual=is_manual, says_done=says_done)
    return [(event["type"], event.get("item", {}).get("id")) for event in events]


@pytest.mark.parametrize(("is_manual", "expected"), [(True, [(CLEARED, None)]), (False, [])])
def test_what_was_sent_is_open_where_the_client_ends_its_turns(
    is_manual: bool, expected: list[Any]
) -> None:
    """Where the provider ends them it may be silence."""
    speech = Speech()
    speech.sent()
    assert speech.waits(is_manual=is_manual) is is_manual
    assert closed(speech, is_manual=is_manual) == expected
    assert closed(speech, is_manual=is_manual) == []


def test_speech_is_open_until_it_is_committed_or_cleared() -> None:
    """Then the client hears that the buffer is empty."""
    speech = Speech()
    for end in (speech.cleared, lambda: speech.committed({"item_id": "u"})):
        speech.started()
        assert speech.is_heard
        end()
        assert not speech.is_heard
    speech.started()
    assert closed(speech)[0] == (CLEARED, None)


def test_an_item_that_was_committed_is_added_and_done() -> None:
    """By whoever comes to it: the provider, or the end."""
    speech = Speech()
    speech.committed({"item_id": "u"})
    assert speech.is_announced
    assert speech.announces("u")
    assert closed(speech) == [("conversation.item.added", "u"), ("conversation.item.done", "u")]
    speech.committed({"item_id": "u"})
    speech.added("u", ITEM)
    assert not speech.is_announced
    assert closed(speech) == [("conversation.item.done", "u")]
    speech.added("u", ITEM)
    speech.done("u")
    assert closed(speech) == []


def test_xai_adds_an_item_before_it_is_committed_and_says_of_none_that_it_is_done() -> None:
    """So nothing is added twice, and nothing said to be done."""
    speech = Speech()
    speech.started()
    speech.added("u", ITEM)
    speech.committed({"item_id": "u"})
    assert not speech.is_announced
    assert closed(speech, says_done=False) == []


def test_items_that_are_never_done_fill_no_memory() -> None:
    """The oldest are not closed."""
    speech = Speech()
    for number in range(ITEMS_MAX + 5):
        speech.added(f"u{number}", {"id": f"u{number}"})
    assert len(closed(speech)) == ITEMS_MAX


def test_an_odd_name_is_no_name() -> None:
    """Nothing that a provider says raises."""
    speech = Speech()
    speech.committed({"item_id": ["odd"]})
    assert not speech.announces("u")
    speech.committed({})
    assert len(closed(speech)) == 2


def test_only_speech_and_its_commit_begin_a_turn() -> None:
    """A buffer that is cleared, or anything else, begins none."""
    kinds = ("speech_started", "committed", "cleared", "speech_stopped")
    found = [Speech().see(f"input_audio_buffer.{kind}", {"item_id": "u"}) for kind in kinds]
    assert found == [True, True, False, False]
