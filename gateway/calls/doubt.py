"""Responses whose end may have gone by while no sideband heard the call. Pure.

What was being said when a sideband broke is in doubt: its usage may have been sent in the gap. It
certainly was once the next response begins, and is taken for that after ``CALL_DOUBT_S``.
"""

from gateway.limits import CALL_DOUBT_S


class Doubt:
    """The responses of one call that are in doubt. ``now`` is monotonic seconds."""

    __slots__ = ("_names", "_until")

    def __init__(self) -> None:
        self._names = frozenset[str]()
        self._until = 0.0

    def begin(self, streaming: frozenset[str], *, now: float) -> None:
        """The call is heard again; ``streaming`` are the responses that were being said before."""
        self._names, self._until = streaming, now + CALL_DOUBT_S

    def settle(self, streaming: frozenset[str], *, now: float) -> frozenset[str]:
        """The responses that certainly ended unheard; they are in doubt no more."""
        self._names &= streaming
        has_next = bool(streaming - self._names)
        if not self._names or not (has_next or now > self._until):
            return frozenset()
        lost, self._names = self._names, frozenset()
        return lost
