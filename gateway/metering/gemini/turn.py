"""Where a turn of Gemini Live stands, and whether its usage is still owed. Pure.

A turn is two states, and everything that happens to it moves both: how far the model's answer has
come (``ANSWERS``), and what of its usage is missing (``DEBTS``). A turn whose usage comes late:

======================================  ============  =========  ==========
message                                 happening     answer     debt
======================================  ============  =========  ==========
client: ``turnComplete``                ANNOUNCED     EXPECTED   SETTLED
server: ``modelTurn``                   BEGUN         SPEAKING   SETTLED
server: ``turnComplete``, no usage      ENDED_UNPAID  IDLE       OWED
server: ``usageMetadata``               REPORTED      IDLE       SETTLED
======================================  ============  =========  ==========

An answer may come in parts: a ``turnComplete`` with ``interactionStatus`` IN_PROGRESS ends one of
them, and the turn stays open until the next ``turnComplete`` or until the status is IDLE.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Answer(Enum):
    """How far the model's answer has come."""

    IDLE = auto()  # nothing since the last turnComplete: an equal one repeats it
    EXPECTED = auto()  # asked for, or about to end: the next turnComplete ends another turn
    SPEAKING = auto()  # the model has begun
    BETWEEN_PARTS = auto()  # as IDLE, in a turn that stays open
    PART_EXPECTED = auto()  # as EXPECTED, in a turn that stays open
    SPEAKING_PART = auto()  # as SPEAKING, in a turn that stays open


class Debt(Enum):
    """What usage is owed for turns that have ended."""

    SETTLED = auto()  # nothing
    OWED = auto()  # a turn ended without its usage, which may still come
    PAID_AHEAD = auto()  # a usage was charged when the answer began: the turn may end without one


class Happening(Enum):
    """What moves a turn."""

    ANNOUNCED = auto()  # the client asks, or the server says that it is about to end the turn
    BEGUN = auto()  # the model says the first thing of an answer, or of a part
    BEGUN_PAID = auto()  # the same, behind a usage that came between the turns
    PART_ENDED = auto()  # turnComplete, IN_PROGRESS
    ENDED = auto()  # the turn is over and owes nothing
    ENDED_UNPAID = auto()  # the turn is over, and no usage came with its end
    REPORTED = auto()  # a usage was charged


# However far the answer had come.
_ENDS: Final = {
    Happening.PART_ENDED: Answer.BETWEEN_PARTS,
    Happening.ENDED: Answer.IDLE,
    Happening.ENDED_UNPAID: Answer.IDLE,
}
_BEGINS: Final = {Happening.BEGUN: Answer.SPEAKING, Happening.BEGUN_PAID: Answer.SPEAKING}
_BEGINS_PART: Final = dict.fromkeys(_BEGINS, Answer.SPEAKING_PART)

# What is not in these tables cannot happen. An answer begins once, and a usage that comes while the
# model speaks is charged when the answer has ended.
ANSWERS: Final[Mapping[Answer, Mapping[Happening, Answer]]] = {
    Answer.IDLE: {
        Happening.ANNOUNCED: Answer.EXPECTED,
        Happening.REPORTED: Answer.IDLE,
        **_BEGINS,
        **_ENDS,
    },
    Answer.EXPECTED: {
        Happening.ANNOUNCED: Answer.EXPECTED,
        Happening.REPORTED: Answer.EXPECTED,
        **_BEGINS,
        **_ENDS,
    },
    Answer.SPEAKING: {Happening.ANNOUNCED: Answer.SPEAKING, **_ENDS},
    Answer.BETWEEN_PARTS: {
        Happening.ANNOUNCED: Answer.PART_EXPECTED,
        Happening.REPORTED: Answer.BETWEEN_PARTS,
        **_BEGINS_PART,
        **_ENDS,
    },
    Answer.PART_EXPECTED: {
        Happening.ANNOUNCED: Answer.PART_EXPECTED,
        Happening.REPORTED: Answer.PART_EXPECTED,
        **_BEGINS_PART,
        **_ENDS,
    },
    Answer.SPEAKING_PART: {Happening.ANNOUNCED: Answer.SPEAKING_PART, **_ENDS},
}
# An older debt stays while later turns come and go; the next usage settles it. The usage between
# two turns settles it before the second one begins, so that one is not OWED when it is PAID_AHEAD.
DEBTS: Final[Mapping[Debt, Mapping[Happening, Debt]]] = {
    Debt.SETTLED: {
        Happening.ANNOUNCED: Debt.SETTLED,
        Happening.BEGUN: Debt.SETTLED,
        Happening.BEGUN_PAID: Debt.PAID_AHEAD,
        Happening.PART_ENDED: Debt.SETTLED,
        Happening.ENDED: Debt.SETTLED,
        Happening.ENDED_UNPAID: Debt.OWED,
        Happening.REPORTED: Debt.SETTLED,
    },
    Debt.OWED: {
        Happening.ANNOUNCED: Debt.OWED,
        Happening.BEGUN: Debt.OWED,
        Happening.PART_ENDED: Debt.OWED,
        Happening.ENDED: Debt.OWED,
        Happening.ENDED_UNPAID: Debt.OWED,
        Happening.REPORTED: Debt.SETTLED,
    },
    Debt.PAID_AHEAD: {
        Happening.ANNOUNCED: Debt.PAID_AHEAD,
        Happening.PART_ENDED: Debt.SETTLED,
        Happening.ENDED: Debt.SETTLED,
        Happening.ENDED_UNPAID: Debt.SETTLED,
    },
}


class Turn:
    """The turn of one session: ``answer`` and ``debt``, and what follows from them.

    ``is_speaking``: the model has begun an answer, or a part, that has not ended. It is kept
    because every frame of audio asks for it.
    """

    __slots__ = ("answer", "debt", "is_speaking")

    def __init__(self) -> None:
        self.answer = Answer.IDLE
        self.debt = Debt.SETTLED
        self.is_speaking = False

    @property
    def is_open(self) -> bool:
        """Whether a part of the answer has ended, and the turn has not."""
        return self.answer in (Answer.BETWEEN_PARTS, Answer.PART_EXPECTED, Answer.SPEAKING_PART)

    @property
    def expects_end(self) -> bool:
        """Whether the next ``turnComplete`` ends another turn, and does not repeat the last one."""
        return self.answer not in (Answer.IDLE, Answer.BETWEEN_PARTS)

    @property
    def is_due(self) -> bool:
        """Whether a usage is certain to come, also if the client asks for nothing more."""
        return self.is_speaking or self.is_open or self.debt is Debt.OWED

    def ended(self, *, is_told: bool, is_asked: bool) -> Happening:
        """What the end of a turn is: ``is_told`` with a usage, ``is_asked`` after a question.

        Without a question, and without a word of the model, there was no turn that could owe a
        usage: the server repeats an earlier ``turnComplete``.
        """
        was_turn = self.is_speaking or is_asked
        return Happening.ENDED_UNPAID if was_turn and not is_told else Happening.ENDED

    def move(self, happening: Happening) -> None:
        """Move both states, as the tables say."""
        answers, debts = ANSWERS[self.answer], DEBTS[self.debt]
        assert happening in answers, f"{self.answer}: {happening}"
        assert happening in debts, f"{self.debt}: {happening}"
        self.answer, self.debt = answers[happening], debts[happening]
        self.is_speaking = self.answer in (Answer.SPEAKING, Answer.SPEAKING_PART)
