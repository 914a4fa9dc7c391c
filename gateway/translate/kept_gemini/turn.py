"""How far the model's turn has come towards the client, and how it is closed there. Pure.

A question that the client wrote, and whose answer breaks off:

=====================================  =========  ============  ===================================
what happens                           event      turn          the provider is gone then
=====================================  =========  ============  ===================================
client: content, ``turnComplete``      ASKED      ASKED         another one is asked
server: ``toolCall``                   CALLED     CALLING       another one is told with the answer
client: ``toolResponse``               ASKED      ASKED         another one is asked
server: ``modelTurn``                  SAID       SPEAKING      ``interrupted``, ``turnComplete``
server: ``generationComplete``         GENERATED  GENERATED     ``turnComplete``
server: ``turnComplete``               ENDED      IDLE          nothing
=====================================  =========  ============  ===================================
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

from gateway.translate.kept.keeping import Json

_INTERRUPTED: Final[Json] = {"serverContent": {"interrupted": True}}
_COMPLETE: Final[Json] = {"serverContent": {"turnComplete": True}}


class Turn(Enum):
    """The states of the turn."""

    IDLE = auto()  # nothing since the last end
    ASKED = auto()  # in writing, and nothing was heard since
    UNREPEATABLE = auto()  # the same, but spoken, too large to be kept, or taken back
    CALLING = auto()  # the model waits for the answers of functions
    SPEAKING = auto()  # something was heard
    GENERATED = auto()  # all of it was; its end is to come
    INTERRUPTED = auto()  # its end is to come


class TurnEvent(Enum):
    """What moves it."""

    ASKED = auto()
    ASKED_ALOUD = auto()  # so that it cannot be asked again
    CANCELLED = auto()  # the client took back what it had asked for
    SAID = auto()  # the model says something
    CALLED = auto()  # the model calls functions
    GENERATED = auto()  # ``generationComplete``, or the end of a part
    CUT = auto()  # ``interrupted``
    ENDED = auto()  # ``turnComplete``


_SERVER: Final = {
    TurnEvent.SAID: Turn.SPEAKING,
    TurnEvent.CALLED: Turn.CALLING,
    TurnEvent.GENERATED: Turn.GENERATED,
    TurnEvent.CUT: Turn.INTERRUPTED,
    TurnEvent.ENDED: Turn.IDLE,
}
_ASKS: Final = {TurnEvent.ASKED: Turn.ASKED, TurnEvent.ASKED_ALOUD: Turn.UNREPEATABLE}
# What is not in these tables changes nothing. A question in the middle of an answer is remembered
# beside them, as the end of that answer comes first.
TURNS: Final[Mapping[Turn, Mapping[TurnEvent, Turn]]] = {
    Turn.IDLE: {
        **_ASKS,
        TurnEvent.SAID: Turn.SPEAKING,
        TurnEvent.CALLED: Turn.CALLING,
    },
    Turn.ASKED: {
        **_SERVER,
        TurnEvent.ASKED_ALOUD: Turn.UNREPEATABLE,
        TurnEvent.CANCELLED: Turn.UNREPEATABLE,
    },
    Turn.UNREPEATABLE: _SERVER,
    Turn.CALLING: {**_SERVER, **_ASKS},
    Turn.SPEAKING: _SERVER,
    Turn.GENERATED: _SERVER,
    Turn.INTERRUPTED: {TurnEvent.SAID: Turn.SPEAKING, TurnEvent.ENDED: Turn.IDLE},
}
_CLOSINGS: Final[Mapping[Turn, Sequence[Json]]] = {
    Turn.UNREPEATABLE: (_INTERRUPTED, _COMPLETE),
    Turn.SPEAKING: (_INTERRUPTED, _COMPLETE),
    Turn.GENERATED: (_COMPLETE,),
    Turn.INTERRUPTED: (_COMPLETE,),
}
_BEGINS: Final = frozenset({TurnEvent.SAID, TurnEvent.CALLED})
_QUESTIONS: Final = frozenset(_ASKS)
_WAITS: Final = frozenset({Turn.ASKED, Turn.UNREPEATABLE})
_SETTLES: Final = _BEGINS | _QUESTIONS | {TurnEvent.CUT, TurnEvent.ENDED}


class Turns:
    """The turns of one session. ``state`` is that of the one that is open, or IDLE.

    Each question interrupts the answer to the one before, which ends its turn. But where two were
    asked before the first was answered, nobody says whether the second has a turn of its own
    (``is_doubtful``). Nor does anybody say which one an interruption ends of several that were
    asked before any was answered: the newest is taken to be open still.
    """

    __slots__ = ("_has_older", "_is_next_doubtful", "_next", "is_doubtful", "state")

    def __init__(self) -> None:
        self.state = Turn.IDLE
        self.is_doubtful = False
        self._next: TurnEvent | None = None  # asked since the open one was
        self._is_next_doubtful = False
        self._has_older = False  # what was interrupted may be the answer to an older question

    @property
    def is_open(self) -> bool:
        """Whether anything is being said, or was asked for."""
        return self.state is not Turn.IDLE and not self.is_doubtful

    @property
    def has_question(self) -> bool:
        """Whether the next question begins another turn than the one that is open."""
        return self.state not in (Turn.IDLE, Turn.CALLING) and not self.is_doubtful

    def move(self, event: TurnEvent) -> None:
        """Something happens."""
        was, is_next = self.state, self.has_question
        self.state = TURNS[was].get(event, was)
        if event in _QUESTIONS and is_next:
            self._next = event
        elif event is TurnEvent.CANCELLED:
            self._next = None
        if event in _BEGINS and was in _WAITS:
            self._is_next_doubtful = self._next is not None
        if event is TurnEvent.CUT and was is Turn.ASKED and self._next is None:
            self._next, self._has_older = TurnEvent.ASKED, True
        if event in _SETTLES:
            self.is_doubtful = False
        if event is TurnEvent.ENDED and self._next is not None:
            is_doubtful = self._is_next_doubtful and was is not Turn.INTERRUPTED
            asked, is_doubtful = self._next, is_doubtful or self._has_older
            self._forget_next()
            self.move(asked)
            self.is_doubtful = is_doubtful

    def go_on(self, *, is_asked: bool, is_calling: bool) -> None:
        """Go on where another has left: what is still open then."""
        if is_asked:
            self.state = Turn.ASKED
        elif is_calling:
            self.state = Turn.CALLING

    def close(self) -> tuple[Sequence[Json], bool]:
        """The provider is gone: what closes the open turn towards the client, and whether another
        provider is to be asked. The calls of functions stay open: their answers are to come.
        """
        closing = _CLOSINGS.get(self.state, ())
        is_lost = self._next is TurnEvent.ASKED_ALOUD
        is_asked = self.state is Turn.ASKED or self._next is TurnEvent.ASKED
        if is_lost:
            closing, is_asked = closing or _CLOSINGS[Turn.UNREPEATABLE], False
        self.is_doubtful = False
        self._forget_next()
        if is_asked:
            self.state = Turn.ASKED
        elif self.state is not Turn.CALLING or is_lost:
            self.state = Turn.IDLE
        return closing, is_asked

    def _forget_next(self) -> None:
        self._next, self._is_next_doubtful, self._has_older = None, False, False
