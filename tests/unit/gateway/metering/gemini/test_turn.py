"""How a turn of Gemini moves: the two tables, and what follows from where it stands."""

import pytest

from gateway.metering.gemini.turn import ANSWERS, USAGE_STATES, Answer, Turn, TurnEvent, UsageState

ANNOUNCED, REPORTED = TurnEvent.ANNOUNCED, TurnEvent.REPORTED
BEGUN, BEGUN_AFTER = TurnEvent.BEGUN, TurnEvent.BEGUN_AFTER_USAGE
PART_ENDED, ENDED, NO_USAGE = TurnEvent.PART_ENDED, TurnEvent.ENDED, TurnEvent.ENDED_WITHOUT_USAGE
COMPLETE, MISSING, EARLY = UsageState.COMPLETE, UsageState.MISSING, UsageState.EARLY

BEGINS = {BEGUN, BEGUN_AFTER}
SPEAKING = {Answer.SPEAKING, Answer.SPEAKING_PART}


def after(*events: TurnEvent) -> Turn:
    """A turn to which all that has happened."""
    turn = Turn()
    for event in events:
        turn.move(event)
    return turn


def test_every_state_says_what_may_happen_in_it() -> None:
    """A table that is not complete would fail in the middle of a session."""
    assert set(ANSWERS) == set(Answer)
    assert set(USAGE_STATES) == set(UsageState)
    for answer, moves in ANSWERS.items():
        left_out = {*BEGINS, REPORTED} if answer in SPEAKING else set()
        assert set(TurnEvent) - set(moves) == left_out
    assert set(TurnEvent) - set(USAGE_STATES[COMPLETE]) == set()
    assert set(TurnEvent) - set(USAGE_STATES[MISSING]) == {BEGUN_AFTER}
    assert set(TurnEvent) - set(USAGE_STATES[EARLY]) == {*BEGINS, REPORTED}


def test_every_state_is_reached_and_only_a_spoken_answer_has_an_early_usage() -> None:
    """Of 18 pairs of an answer and a usage 14 are reached by what both tables allow."""
    seen = {(Answer.IDLE, COMPLETE)}
    waiting = [*seen]
    while waiting:
        answer, usage = waiting.pop()
        legal = ANSWERS[answer].keys() & USAGE_STATES[usage].keys()
        found = {(ANSWERS[answer][each], USAGE_STATES[usage][each]) for each in legal}
        waiting += found - seen
        seen |= found
    any_time = {(answer, usage) for answer in Answer for usage in (COMPLETE, MISSING)}
    assert seen == any_time | {(answer, EARLY) for answer in SPEAKING}


# What happened; where the turn stands; whether it is due, surely another one, and open.
WALKS: list[tuple[str, list[TurnEvent], Answer, UsageState, tuple[bool, bool, bool]]] = [
    ("nothing", [], Answer.IDLE, COMPLETE, (False, False, False)),
    ("a question", [ANNOUNCED], Answer.EXPECTED, COMPLETE, (False, True, False)),
    ("two questions", [ANNOUNCED, ANNOUNCED], Answer.EXPECTED, COMPLETE, (False, True, False)),
    ("an answer", [BEGUN], Answer.SPEAKING, COMPLETE, (True, True, False)),
    ("a question while it is spoken", [BEGUN, ANNOUNCED], Answer.SPEAKING, COMPLETE,
     (True, True, False)),
    ("its end, with usage", [BEGUN, ENDED, REPORTED], Answer.IDLE, COMPLETE,
     (False, False, False)),
    ("its end, without", [BEGUN, NO_USAGE], Answer.IDLE, MISSING, (True, False, False)),
    ("the usage later", [BEGUN, NO_USAGE, REPORTED], Answer.IDLE, COMPLETE,
     (False, False, False)),
    ("the usage after the next question", [BEGUN, NO_USAGE, ANNOUNCED, REPORTED], Answer.EXPECTED,
     COMPLETE, (False, True, False)),
    ("the next answer before the usage", [BEGUN, NO_USAGE, BEGUN], Answer.SPEAKING, MISSING,
     (True, True, False)),
    ("the end of that one", [BEGUN, NO_USAGE, BEGUN, ENDED], Answer.IDLE, MISSING,
     (True, False, False)),
    ("the usage before the answer", [REPORTED, BEGUN_AFTER], Answer.SPEAKING, EARLY,
     (True, True, False)),
    ("its end, without another", [REPORTED, BEGUN_AFTER, NO_USAGE], Answer.IDLE, COMPLETE,
     (False, False, False)),
    ("a part", [BEGUN, PART_ENDED], Answer.BETWEEN_PARTS, COMPLETE, (True, False, True)),
    ("a part whose usage was early", [BEGUN_AFTER, PART_ENDED], Answer.BETWEEN_PARTS, COMPLETE,
     (True, False, True)),
    ("a question between parts", [BEGUN, PART_ENDED, ANNOUNCED], Answer.PART_EXPECTED,
     COMPLETE, (True, True, True)),
    ("the next part", [BEGUN, PART_ENDED, BEGUN, ANNOUNCED], Answer.SPEAKING_PART, COMPLETE,
     (True, True, True)),
    ("the next part, its usage early", [BEGUN, PART_ENDED, REPORTED, BEGUN_AFTER],
     Answer.SPEAKING_PART, EARLY, (True, True, True)),
    ("the last part", [BEGUN, PART_ENDED, BEGUN, ENDED], Answer.IDLE, COMPLETE,
     (False, False, False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "events", "answer", "usage", "expected"), WALKS, ids=[walk[0] for walk in WALKS]
)
def test_where_a_turn_stands(
    what: str,
    events: list[TurnEvent],
    answer: Answer,
    usage: UsageState,
    expected: tuple[bool, bool, bool],
) -> None:
    """Answer and usage move by the same events, and what follows from them agrees."""
    turn = after(*events)
    assert (turn.answer, turn.usage) == (answer, usage), what
    assert (turn.is_due, turn.expects_end, turn.is_open) == expected
    assert turn.is_speaking == (answer in SPEAKING)


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ([BEGUN], BEGUN),
        ([BEGUN], REPORTED),
        ([BEGUN, PART_ENDED, BEGUN_AFTER], BEGUN),
        ([BEGUN, NO_USAGE], BEGUN_AFTER),
    ],
)
def test_what_cannot_happen_is_an_error_of_ours(events: list[TurnEvent], wrong: TurnEvent) -> None:
    """It is noticed where it happens, and neither state has moved."""
    turn = after(*events)
    before = turn.answer, turn.usage
    with pytest.raises(AssertionError):
        turn.move(wrong)
    assert (turn.answer, turn.usage) == before


ENDS = [
    # spoken, told, asked
    (True, True, True, ENDED),
    (True, True, False, ENDED),
    (True, False, True, NO_USAGE),
    (True, False, False, NO_USAGE),
    (False, True, True, ENDED),
    (False, False, True, NO_USAGE),  # interrupted before the model's first word
    (False, True, False, ENDED),
    (False, False, False, ENDED),  # a repetition
]


@pytest.mark.parametrize(("is_spoken", "is_told", "is_asked", "expected"), ENDS)
def test_what_the_end_of_a_turn_is(
    is_spoken: bool, is_told: bool, is_asked: bool, expected: TurnEvent
) -> None:
    """Only a turn that was asked for, or in which the model spoke, can lack its usage."""
    turn = after(BEGUN) if is_spoken else Turn()
    assert turn.ended(is_told=is_told, is_asked=is_asked) is expected
