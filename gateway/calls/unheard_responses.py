"""Responses that may have ended while the gateway had no sideband to the call. Pure.

A response that was streaming when a sideband broke is in doubt: its usage may have been sent while
nobody listened. That is certain once another response begins, and assumed after ``CALL_DOUBT_S``.
``call`` then records an estimate.
"""

from gateway.limits import CALL_DOUBT_S


class UnheardResponses:
    """The responses of one call that are in doubt. ``now`` is monotonic seconds."""

    __slots__ = ("_names", "_until")

    def __init__(self) -> None:
        self._names = frozenset[str]()
        self._until = 0.0

    def begin(self, streaming: frozenset[str], *, now: float) -> None:
        """There is a sideband again; ``streaming`` are the responses that had begun before."""
        self._names, self._until = streaming, now + CALL_DOUBT_S

    def lost_unheard(self, streaming: frozenset[str], *, now: float) -> frozenset[str]:
        """The responses that are taken to have ended unheard; each is returned once."""
        self._names &= streaming
        has_next = bool(streaming - self._names)
        if not self._names or not (has_next or now > self._until):
            return frozenset()
        lost, self._names = self._names, frozenset()
        return lost
