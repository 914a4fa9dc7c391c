"""How far the provider's answer has come, and whether the client still wants it. Pure.

Gemini cannot cancel an answer, but it is interrupted by content, and then ends the turn. So what
comes of a cancelled turn until its end is dropped, also where the client asks for the next one
before that. An answer that was cancelled before its first word may end, or may never have begun:

=============================  ==========  ===========
what happens                   event       turn
=============================  ==========  ===========
client: ``response.create``    ASKED       IDLE
client: ``response.cancel``    CANCELLED   UNBEGUN
client: ``response.create``    ASKED       SUPERSEDED
server: ``interrupted``        CUT         OVER
server: ``turnComplete``       ENDED       IDLE
=============================  ==========  ===========
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Turn(Enum):
    """The states of the provider's turn."""

    IDLE = auto()  # nothing since the last end
    SPEAKING = auto()  # the model has begun
    INTERRUPTED = auto()  # by the user's speech; its end is to come
    UNBEGUN = auto()  # cancelled before the model began
    SUPERSEDED = auto()  # something was asked for since: it was cancelled, generated, or calls
    DROPPED = auto()  # cancelled while the model spoke
    OVER = auto()  # cancelled and interrupted; its end is to come


class TurnEvent(Enum):
    """What moves it."""

    SAID = auto()  # the model says something
    ASKED = auto()  # the client asks for a response
    ASKED_ANEW = auto()  # the same, so that its turn ends before: content, an activity; ``calls``
    CANCELLED = auto()
    CUT = auto()  # ``interrupted``
    ENDED = auto()  # ``turnComplete``


_ENDED: Final = {TurnEvent.ENDED: Turn.IDLE}
_ASKED: Final = (TurnEvent.ASKED, TurnEvent.ASKED_ANEW)
# What is not in these tables changes nothing. After an interruption, what the model says is the
# next turn's: the end of the interrupted one was not sent.
TURNS: Final[Mapping[Turn, Mapping[TurnEvent, Turn]]] = {
    Turn.IDLE: {
        TurnEvent.SAID: Turn.SPEAKING,
        TurnEvent.CANCELLED: Turn.UNBEGUN,
        TurnEvent.CUT: Turn.INTERRUPTED,
    },
    Turn.SPEAKING: {
        TurnEvent.CANCELLED: Turn.DROPPED,
        TurnEvent.CUT: Turn.INTERRUPTED,
        TurnEvent.ASKED_ANEW: Turn.SUPERSEDED,
        **_ENDED,
    },
    Turn.INTERRUPTED: {
        TurnEvent.SAID: Turn.SPEAKING,
        **dict.fromkeys(_ASKED, Turn.OVER),
        **_ENDED,
    },
    Turn.UNBEGUN: {
        TurnEvent.SAID: Turn.DROPPED,
        **dict.fromkeys(_ASKED, Turn.SUPERSEDED),
        TurnEvent.CUT: Turn.OVER,
        **_ENDED,
    },
    Turn.SUPERSEDED: {
        TurnEvent.SAID: Turn.SPEAKING,
        TurnEvent.CANCELLED: Turn.UNBEGUN,
        TurnEvent.CUT: Turn.OVER,
        **_ENDED,
    },
    Turn.DROPPED: {TurnEvent.CUT: Turn.OVER, **_ENDED},
    Turn.OVER: {TurnEvent.SAID: Turn.SPEAKING, **_ENDED},
}
# Turns whose interruption and end belong to a cancelled response, never to one asked for since.
CANCELLED_TURNS: Final = frozenset({Turn.UNBEGUN, Turn.SUPERSEDED, Turn.DROPPED, Turn.OVER})


def moved(turn: Turn, event: TurnEvent) -> Turn:
    """The turn after ``event``."""
    return TURNS[turn].get(event, turn)
