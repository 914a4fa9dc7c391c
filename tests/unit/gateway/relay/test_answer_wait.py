"""How long a user waits for an answer."""

import pytest

from gateway.relay.answer_wait import WAIT_S_MAX, AnswerWait
from gateway.translate.marks import Mark

STOPPED, HEARD, BEGUN = Mark.STOPPED, Mark.TRANSCRIBED, Mark.BEGUN
ENDED, FORGOTTEN, FAILED = Mark.ENDED, Mark.FORGOTTEN, Mark.FAILED


def _ended(_is_failed: bool) -> None:
    """What follows from it is the dialer's."""


@pytest.mark.parametrize(
    ("marks", "waits"),
    [
        ([STOPPED, None, BEGUN, ENDED], [2.0]),
        ([STOPPED, None, BEGUN, BEGUN, ENDED, STOPPED, BEGUN], [2.0, 1.0]),
        ([BEGUN, ENDED], []),
        ([FORGOTTEN, STOPPED, FORGOTTEN, BEGUN], []),
        ([STOPPED, None, ENDED, None, BEGUN], []),
        ([STOPPED, FORGOTTEN, None, BEGUN], []),
        ([STOPPED, STOPPED, BEGUN], [1.0]),
        ([HEARD, HEARD, None, BEGUN, ENDED], [2.0]),
        ([STOPPED, HEARD, BEGUN], [2.0]),
        ([HEARD, STOPPED, BEGUN], [1.0]),
        ([HEARD, BEGUN, HEARD, BEGUN, HEARD, ENDED, BEGUN], [1.0]),
        ([STOPPED, BEGUN, STOPPED, BEGUN, ENDED, STOPPED, BEGUN], [1.0, 1.0]),
        ([STOPPED, BEGUN, FORGOTTEN, ENDED, STOPPED, BEGUN], [1.0, 1.0]),
    ],
    ids=[
        "an answer", "two answers", "nothing was said", "the user goes on", "a function is called",
        "the client takes its time", "speech that stops again", "by its transcript",
        "a transcript behind the end", "a transcript before the end",
        "a transcript beside the answer", "a question beside the answer", "an interruption",
    ],
)  # fmt: skip
def test_a_wait_is_from_the_end_of_speech_to_the_begin_of_its_answer(
    marks: list[Mark | None], waits: list[float]
) -> None:
    """Each message comes a second after the one before."""
    now, found = 0.0, list[float]()
    wait = AnswerWait(lambda: now, found.append, _ended)
    for now, mark in enumerate(marks):  # noqa: B007 - the clock reads it
        wait.note(mark)
    assert found == waits


@pytest.mark.parametrize(("waited_s", "count"), [(WAIT_S_MAX, 1), (WAIT_S_MAX + 1, 0)])
def test_what_nobody_answered_is_not_taken_for_what_is_answered_at_last(
    waited_s: float, count: int
) -> None:
    """Noise was transcribed, and much later somebody spoke."""
    now, found = 0.0, list[float]()
    wait = AnswerWait(lambda: now, found.append, _ended)
    wait.note(HEARD)
    now = waited_s
    wait.note(BEGUN)
    assert len(found) == count


@pytest.mark.parametrize("before", [[STOPPED], [STOPPED, BEGUN]])
def test_what_was_said_to_a_connection_that_is_gone_has_no_answer(before: list[Mark]) -> None:
    """The next one is told of it, and takes longer; what is said to that one has its own."""
    found = list[float]()
    wait = AnswerWait(lambda: 0.0, found.append, _ended)
    for mark in before:
        wait.note(mark)
    found.clear()
    wait.forget()
    wait.note(BEGUN)
    assert found == []
    wait.note(ENDED)
    wait.note(STOPPED)
    wait.note(BEGUN)
    assert found == [0.0]


def test_each_end_says_whether_the_answer_failed() -> None:
    """Also of one of which nothing was heard; a wait that ends so is none."""
    waits, ends = list[float](), list[bool]()
    wait = AnswerWait(lambda: 0.0, waits.append, ends.append)
    for mark in (STOPPED, FAILED, BEGUN, FORGOTTEN, ENDED, STOPPED, BEGUN, FAILED):
        wait.note(mark)
    assert (waits, ends) == ([0.0], [True, False, True])
