"""The turn towards a Gemini client, and how it is closed."""

import pytest

from gateway.translate.kept_gemini.turn import TURNS, Turn, TurnEvent, Turns

ASKED, SAID, ENDED, CUT = TurnEvent.ASKED, TurnEvent.SAID, TurnEvent.ENDED, TurnEvent.CUT


def test_every_state_is_in_the_table() -> None:
    """And leads to states that are."""
    assert set(TURNS) == set(Turn)
    assert {there for events in TURNS.values() for there in events.values()} <= set(Turn)


@pytest.mark.parametrize(
    ("events", "is_asked"),
    [
        ([ASKED], True),
        ([ASKED, SAID], False),
        ([ASKED, TurnEvent.CANCELLED], False),
        ([ASKED, SAID, ASKED], True),
        ([ASKED, SAID, ASKED, CUT, ENDED], True),
        ([ASKED, SAID, ASKED, ENDED], True),
        ([ASKED, SAID, ASKED, ENDED, SAID, ENDED], False),
        ([ASKED, ASKED, SAID, CUT, ENDED], True),
        ([ASKED, ASKED, ASKED, CUT, ENDED, CUT], True),
        ([ASKED, ASKED, ASKED, CUT, ENDED, CUT, ENDED], True),
        ([ASKED, ASKED, TurnEvent.CANCELLED, ASKED, CUT, ENDED, CUT, ENDED], True),
        ([TurnEvent.CALLED], False),
        ([ASKED, TurnEvent.CALLED, ASKED], True),
        ([TurnEvent.ASKED_ALOUD], False),
        ([ASKED, SAID, TurnEvent.ASKED_ALOUD], False),
    ],
)
def test_what_was_asked_and_not_heard_is_asked_again(
    events: list[TurnEvent], is_asked: bool
) -> None:
    """Unless it was spoken, or taken back."""
    turns = Turns()
    for event in events:
        turns.move(event)
    assert turns.close()[1] is is_asked
    assert turns.close() == ((), is_asked)


def test_two_questions_before_an_answer_may_have_one() -> None:
    """Then the second is open no longer, but is asked again where the provider is lost."""
    turns = Turns()
    for event in (ASKED, ASKED, SAID, ENDED):
        turns.move(event)
    assert not turns.is_open
    assert turns.close() == ((), True)


def test_an_interruption_may_be_that_of_an_older_question() -> None:
    """The newest is asked again where the provider is lost; else nothing waits for its answer."""
    turns = Turns()
    for event in (ASKED, ASKED, ASKED, CUT, ENDED, CUT, ENDED):
        turns.move(event)
    assert not turns.is_open
    turns.move(SAID)
    assert turns.is_open
    turns.move(ENDED)
    assert not turns.is_open
    assert turns.close() == ((), False)
