"""Whether a peer is still there, by when it last sent and took bytes. Pure.

``Connection`` writes down what happens and asks once a second what is due. A peer that takes
nothing for ``STALLED_S`` or sends nothing for ``IDLE_S`` is lost; one that is quiet for ``PING_S``
is pinged. One that is spoken to has to answer a ping sooner (``due_when_addressed``).
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.limits import (
    ADDRESSED_PING_S,
    CATCH_UP_S,
    CLOSE_S,
    IDLE_S,
    PING_S,
    PONG_S,
    STALLED_S,
)


class PeerAction(Enum):
    """What is to be done about a peer."""

    NOTHING = auto()
    PING = auto()
    CUT_STALLED = auto()
    CUT_SILENT = auto()
    CUT_UNANSWERING = auto()


LOST: Final = {
    PeerAction.CUT_STALLED: f"took nothing for {STALLED_S:g} s",
    PeerAction.CUT_SILENT: f"silent for {IDLE_S:g} s",
    PeerAction.CUT_UNANSWERING: f"no answer to a ping for {PONG_S:g} s",
}
"""What ends the connection, and the reason that its end is given."""


@dataclass(slots=True)
class Liveness:
    """When a peer last sent something and was pinged, and since when it takes nothing.

    All times are monotonic seconds.
    """

    heard_at: float
    pinged_at: float
    stalled_since: float | None = None

    def due(self, now: float, *, is_reading: bool) -> PeerAction:
        """What is due. While nothing is read (not ``is_reading``), silence says nothing about the
        peer: it counts from when reading goes on.
        """
        if self.stalled_since is not None and now - self.stalled_since > STALLED_S:
            return PeerAction.CUT_STALLED
        if not is_reading:
            self.heard_at = now
            return PeerAction.NOTHING
        if now - self.heard_at > IDLE_S:
            return PeerAction.CUT_SILENT
        is_quiet = now - max(self.heard_at, self.pinged_at) > PING_S
        return PeerAction.PING if is_quiet else PeerAction.NOTHING

    def due_when_addressed(self, now: float, *, is_reading: bool) -> PeerAction:
        """The same of a peer that was told something since it was heard last: it is pinged after
        ``ADDRESSED_PING_S``, and is lost when nothing comes for ``PONG_S`` after that. What lies in
        a full buffer has not reached it yet, nor has the ping behind it.
        """
        if not is_reading or self.stalled_since is not None:
            return PeerAction.NOTHING
        if self.pinged_at <= self.heard_at:
            is_quiet = now - self.heard_at > ADDRESSED_PING_S
            return PeerAction.PING if is_quiet else PeerAction.NOTHING
        return PeerAction.CUT_UNANSWERING if now - self.pinged_at > PONG_S else PeerAction.NOTHING


class CatchUp:
    """How long a client that has not answered our close may go on, in steps of ``CLOSE_S``.

    A client plays what was sent before the close at the pace of speech, and answers it after that.
    To cut the connection while bytes of the client are unread would reset it, and the client would
    lose the rest.
    """

    __slots__ = ("_unsent", "_until")

    def __init__(self, now: float) -> None:
        """``now``: when the close was first found overdue, ``CLOSE_S`` after it was sent."""
        self._until = now + CATCH_UP_S - CLOSE_S
        self._unsent: float = math.inf

    def goes_on(self, now: float, *, unsent: int, heard_at: float) -> bool:
        """Whether to wait another ``CLOSE_S``: the client took some of the ``unsent`` bytes since
        the last time, or sent something itself.
        """
        is_taking = 0 < unsent < self._unsent
        self._unsent = unsent
        return now < self._until and (is_taking or now - heard_at < CLOSE_S)
