"""Where a turn of Gemini Live stands, and whether its usage is still missing. Pure.

A turn is two states, and every event moves both: how far the model's answer has come
(``ANSWERS``), and whether usage is missing (``USAGE_STATES``). A turn whose usage comes late:

==================================  ===================  ========  ========
message                             event                answer    usage
==================================  ===================  ========  ========
client: ``turnComplete``            ANNOUNCED            EXPECTED  COMPLETE
server: ``modelTurn``               BEGUN                SPEAKING  COMPLETE
server: ``turnComplete``, no usage  ENDED_WITHOUT_USAGE  IDLE      MISSING
server: ``usageMetadata``           REPORTED             IDLE      COMPLETE
==================================  ===================  ========  ========

An answer may come in parts: a ``turnComplete`` with ``interactionStatus`` IN_PROGRESS ends one of
them, and the turn stays open until the next ``turnComplete`` or until the status is IDLE.

The members are integers because those are hashed in C: tables are looked up for every turn.
"""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final


class Answer(IntEnum):
    """How far the model's answer has come."""

    IDLE = auto()  # nothing since the last turnComplete: an equal one repeats it
    EXPECTED = auto()  # asked for, or about to end: the next turnComplete ends another turn
    SPEAKING = auto()  # the model has begun
    BETWEEN_PARTS = auto()  # as IDLE, in a turn that stays open
    PART_EXPECTED = auto()  # as EXPECTED, in a turn that stays open
    SPEAKING_PART = auto()  # as SPEAKING, in a turn that stays open


class UsageState(IntEnum):
    """Whether the usage of the turns that have ended was reported."""

    COMPLETE = auto()  # all of it
    MISSING = auto()  # a turn ended without its usage, which may still come
    EARLY = auto()  # a usage was charged when the answer began: the turn may end without one


class TurnEvent(IntEnum):
    """What moves a turn."""

    ANNOUNCED = auto()  # the client asks, or the server says that it is about to end the turn
    BEGUN = auto()  # the model says the first thing of an answer, or of a part
    BEGUN_AFTER_USAGE = auto()  # the same, behind a usage that came between the turns
    PART_ENDED = auto()  # turnComplete, IN_PROGRESS
    ENDED = auto()  # the turn is over and lacks no usage
    ENDED_WITHOUT_USAGE = auto()  # the turn is over, and no usage came with its end
    REPORTED = auto()  # a usage was charged


# However far the answer had come.
_ENDS: Final = {
    TurnEvent.PART_ENDED: Answer.BETWEEN_PARTS,
    TurnEvent.ENDED: Answer.IDLE,
    TurnEvent.ENDED_WITHOUT_USAGE: Answer.IDLE,
}
_BEGINS: Final = {TurnEvent.BEGUN: Answer.SPEAKING, TurnEvent.BEGUN_AFTER_USAGE: Answer.SPEAKING}
_BEGINS_PART: Final = dict.fromkeys(_BEGINS, Answer.SPEAKING_PART)

# What is not in these tables cannot happen. An answer begins once, and a usage that comes while the
# model speaks is charged when the answer has ended.
ANSWERS: Final[Mapping[Answer, Mapping[TurnEvent, Answer]]] = {
    Answer.IDLE: {
        TurnEvent.ANNOUNCED: Answer.EXPECTED,
        TurnEvent.REPORTED: Answer.IDLE,
        **_BEGINS,
        **_ENDS,
    },
    Answer.EXPECTED: {
        TurnEvent.ANNOUNCED: Answer.EXPECTED,
        TurnEvent.REPORTED: Answer.EXPECTED,
        **_BEGINS,
        **_ENDS,
    },
    Answer.SPEAKING: {TurnEvent.ANNOUNCED: Answer.SPEAKING, **_ENDS},
    Answer.BETWEEN_PARTS: {
        TurnEvent.ANNOUNCED: Answer.PART_EXPECTED,
        TurnEvent.REPORTED: Answer.BETWEEN_PARTS,
        **_BEGINS_PART,
        **_ENDS,
    },
    Answer.PART_EXPECTED: {
        TurnEvent.ANNOUNCED: Answer.PART_EXPECTED,
        TurnEvent.REPORTED: Answer.PART_EXPECTED,
        **_BEGINS_PART,
        **_ENDS,
    },
    Answer.SPEAKING_PART: {TurnEvent.ANNOUNCED: Answer.SPEAKING_PART, **_ENDS},
}
# What is missing stays so while later turns come and go, until the next usage. A usage between two
# turns comes before the second one begins, so nothing is MISSING then, when that one is EARLY.
USAGE_STATES: Final[Mapping[UsageState, Mapping[TurnEvent, UsageState]]] = {
    UsageState.COMPLETE: {
        TurnEvent.ANNOUNCED: UsageState.COMPLETE,
        TurnEvent.BEGUN: UsageState.COMPLETE,
        TurnEvent.BEGUN_AFTER_USAGE: UsageState.EARLY,
        TurnEvent.PART_ENDED: UsageState.COMPLETE,
        TurnEvent.ENDED: UsageState.COMPLETE,
        TurnEvent.ENDED_WITHOUT_USAGE: UsageState.MISSING,
        TurnEvent.REPORTED: UsageState.COMPLETE,
    },
    UsageState.MISSING: {
        TurnEvent.ANNOUNCED: UsageState.MISSING,
        TurnEvent.BEGUN: UsageState.MISSING,
        TurnEvent.PART_ENDED: UsageState.MISSING,
        TurnEvent.ENDED: UsageState.MISSING,
        TurnEvent.ENDED_WITHOUT_USAGE: UsageState.MISSING,
        TurnEvent.REPORTED: UsageState.COMPLETE,
    },
    UsageState.EARLY: {
        TurnEvent.ANNOUNCED: UsageState.EARLY,
        TurnEvent.PART_ENDED: UsageState.COMPLETE,
        TurnEvent.ENDED: UsageState.COMPLETE,
        TurnEvent.ENDED_WITHOUT_USAGE: UsageState.COMPLETE,
    },
}


class Turn:
    """The turn of one session: ``answer`` and ``usage``, and what follows from them.

    ``is_speaking``: the model has begun an answer, or a part, that has not ended. It is kept
    because every frame of audio asks for it.
    """

    __slots__ = ("answer", "is_speaking", "usage")

    def __init__(self) -> None:
        self.answer = Answer.IDLE
        self.usage = UsageState.COMPLETE
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
        return self.is_speaking or self.is_open or self.usage is UsageState.MISSING

    def ended(self, *, is_told: bool, is_asked: bool) -> TurnEvent:
        """What the end of a turn is: ``is_told`` with a usage, ``is_asked`` after a question.

        Without a question, and without a word of the model, there was no turn that could
        lack its usage: the server repeats an earlier ``turnComplete``.
        """
        was_turn = self.is_speaking or is_asked
        return TurnEvent.ENDED_WITHOUT_USAGE if was_turn and not is_told else TurnEvent.ENDED

    def move(self, event: TurnEvent) -> None:
        """Move both states, as the tables say."""
        answers, usages = ANSWERS[self.answer], USAGE_STATES[self.usage]
        assert event in answers, f"{self.answer!r}: {event!r}"
        assert event in usages, f"{self.usage!r}: {event!r}"
        self.answer, self.usage = answers[event], usages[event]
        self.is_speaking = self.answer in (Answer.SPEAKING, Answer.SPEAKING_PART)
