"""How a turn of Gemini moves: the two tables, and what follows from where it stands."""

import pytest

from gateway.metering.gemini.turn import ANSWERS, DEBTS, Answer, Debt, Happening, Turn

ANNOUNCED, BEGUN, BEGUN_PAID = Happening.ANNOUNCED, Happening.BEGUN, Happening.BEGUN_PAID
PART_ENDED, ENDED, UNPAID = Happening.PART_ENDED, Happening.ENDED, Happening.ENDED_UNPAID
REPORTED = Happening.REPORTED

BEGINS = {BEGUN, BEGUN_PAID}
SPEAKING = {Answer.SPEAKING, Answer.SPEAKING_PART}


def after(*happenings: Happening) -> Turn:
    """A turn to which all that has happened."""
    turn = Turn()
    for happening in happenings:
        turn.move(happening)
    return turn


def test_every_state_says_what_may_happen_in_it() -> None:
    """A table that is not complete would fail in the middle of a session."""
    assert set(ANSWERS) == set(Answer)
    assert set(DEBTS) == set(Debt)
    for answer, moves in ANSWERS.items():
        left_out = {*BEGINS, REPORTED} if answer in SPEAKING else set()
        assert set(Happening) - set(moves) == left_out
    assert set(Happening) - set(DEBTS[Debt.SETTLED]) == set()
    assert set(Happening) - set(DEBTS[Debt.OWED]) == {BEGUN_PAID}
    assert set(Happening) - set(DEBTS[Debt.PAID_AHEAD]) == {*BEGINS, REPORTED}


def test_every_state_is_reached_and_only_a_spoken_answer_is_paid_ahead() -> None:
    """Of 18 pairs of an answer and a debt 14 are reached by what both tables allow."""
    seen = {(Answer.IDLE, Debt.SETTLED)}
    waiting = [*seen]
    while waiting:
        answer, debt = waiting.pop()
        legal = ANSWERS[answer].keys() & DEBTS[debt].keys()
        found = {(ANSWERS[answer][each], DEBTS[debt][each]) for each in legal}
        waiting += found - seen
        seen |= found
    any_time = {(answer, debt) for answer in Answer for debt in (Debt.SETTLED, Debt.OWED)}
    assert seen == any_time | {(answer, Debt.PAID_AHEAD) for answer in SPEAKING}


# What happened; where the turn stands; whether it is due, surely another one, and open.
WALKS: list[tuple[str, list[Happening], Answer, Debt, tuple[bool, bool, bool]]] = [
    ("nothing", [], Answer.IDLE, Debt.SETTLED, (False, False, False)),
    ("a question", [ANNOUNCED], Answer.EXPECTED, Debt.SETTLED, (False, True, False)),
    ("two questions", [ANNOUNCED, ANNOUNCED], Answer.EXPECTED, Debt.SETTLED, (False, True, False)),
    ("an answer", [BEGUN], Answer.SPEAKING, Debt.SETTLED, (True, True, False)),
    ("a question while it is spoken", [BEGUN, ANNOUNCED], Answer.SPEAKING, Debt.SETTLED,
     (True, True, False)),
    ("its end, with usage", [BEGUN, ENDED, REPORTED], Answer.IDLE, Debt.SETTLED,
     (False, False, False)),
    ("its end, without", [BEGUN, UNPAID], Answer.IDLE, Debt.OWED, (True, False, False)),
    ("the usage later", [BEGUN, UNPAID, REPORTED], Answer.IDLE, Debt.SETTLED,
     (False, False, False)),
    ("the usage after the next question", [BEGUN, UNPAID, ANNOUNCED, REPORTED], Answer.EXPECTED,
     Debt.SETTLED, (False, True, False)),
    ("the next answer before the usage", [BEGUN, UNPAID, BEGUN], Answer.SPEAKING, Debt.OWED,
     (True, True, False)),
    ("the end of that one", [BEGUN, UNPAID, BEGUN, ENDED], Answer.IDLE, Debt.OWED,
     (True, False, False)),
    ("the usage before the answer", [REPORTED, BEGUN_PAID], Answer.SPEAKING, Debt.PAID_AHEAD,
     (True, True, False)),
    ("its end, without another", [REPORTED, BEGUN_PAID, UNPAID], Answer.IDLE, Debt.SETTLED,
     (False, False, False)),
    ("a part", [BEGUN, PART_ENDED], Answer.BETWEEN_PARTS, Debt.SETTLED, (True, False, True)),
    ("a part that was paid ahead", [BEGUN_PAID, PART_ENDED], Answer.BETWEEN_PARTS, Debt.SETTLED,
     (True, False, True)),
    ("a question between parts", [BEGUN, PART_ENDED, ANNOUNCED], Answer.PART_EXPECTED,
     Debt.SETTLED, (True, True, True)),
    ("the next part", [BEGUN, PART_ENDED, BEGUN, ANNOUNCED], Answer.SPEAKING_PART, Debt.SETTLED,
     (True, True, True)),
    ("the next part, paid ahead", [BEGUN, PART_ENDED, REPORTED, BEGUN_PAID], Answer.SPEAKING_PART,
     Debt.PAID_AHEAD, (True, True, True)),
    ("the last part", [BEGUN, PART_ENDED, BEGUN, ENDED], Answer.IDLE, Debt.SETTLED,
     (False, False, False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "happenings", "answer", "debt", "expected"), WALKS, ids=[walk[0] for walk in WALKS]
)
def test_where_a_turn_stands(
    what: str,
    happenings: list[Happening],
    answer: Answer,
    debt: Debt,
    expected: tuple[bool, bool, bool],
) -> None:
    """Answer and debt move by the same happenings, and what follows from them agrees."""
    turn = after(*happenings)
    assert (turn.answer, turn.debt) == (answer, debt), what
    assert (turn.is_due, turn.expects_end, turn.is_open) == expected
    assert turn.is_speaking == (answer in SPEAKING)


@pytest.mark.parametrize(
    ("happenings", "wrong"),
    [
        ([BEGUN], BEGUN),
        ([BEGUN], REPORTED),
        ([BEGUN, PART_ENDED, BEGUN_PAID], BEGUN),
        ([BEGUN, UNPAID], BEGUN_PAID),
    ],
)
def test_what_cannot_happen_is_an_error_of_ours(
    happenings: list[Happening], wrong: Happening
) -> None:
    """It is noticed where it happens, and neither state has moved."""
    turn = after(*happenings)
    before = turn.answer, turn.debt
    with pytest.raises(AssertionError):
        turn.move(wrong)
    assert (turn.answer, turn.debt) == before


ENDS = [
    # spoken, told, asked
    (True, True, True, ENDED),
    (True, True, False, ENDED),
    (True, False, True, UNPAID),
    (True, False, False, UNPAID),
    (False, True, True, ENDED),
    (False, False, True, UNPAID),  # interrupted before the model's first word
    (False, True, False, ENDED),
    (False, False, False, ENDED),  # a repetition
]


@pytest.mark.parametrize(("is_spoken", "is_told", "is_asked", "expected"), ENDS)
def test_what_the_end_of_a_turn_is(
    is_spoken: bool, is_told: bool, is_asked: bool, expected: Happening
) -> None:
    """Only a turn that was asked for, or in which the model spoke, can owe its usage."""
    turn = after(BEGUN) if is_spoken else Turn()
    assert turn.ended(is_told=is_told, is_asked=is_asked) is expected
