"""What all connections of this process hold of their peers, and who has to give way. Pure.

``QUEUED`` counts the frames that wait in receive queues; beyond its bound no connection with a
reason to pause is read. ``UNFINISHED`` counts messages whose end has not come; beyond its bound the
one that began first is refused. ``ReceiveQueue``, ``Connection`` and ``Downstream`` report to them.
"""

from typing import Final, Protocol

from gateway.limits import (
    RECEIVE_QUEUES_BYTES_LOW,
    RECEIVE_QUEUES_BYTES_MAX,
    UNFINISHED_BYTES_MAX,
    UNFINISHED_LONG_BYTES,
)


class Reader(Protocol):
    """A connection whose sink is paused."""

    def review_reading(self) -> None:
        """Whether it may be read may have changed."""


class Sender(Protocol):
    """A connection to a client."""

    def refuse_unfinished(self) -> None:
        """Its message takes too long."""


class QueuedBytes:
    """Bytes in receive queues, and who reads them."""

    def __init__(self) -> None:
        self.total = 0
        self.is_full = False
        self._readers: dict[Reader, None] = {}

    def add(self, count: int) -> None:
        """So many more, or fewer."""
        self.total += count

    def note(self, reader: Reader, *, waits: bool) -> None:
        """Whether frames of this one wait. Stop all readers where there is too much, and let them
        go on where there is room.
        """
        if waits:
            self._readers[reader] = None
        else:
            self._readers.pop(reader, None)
        most = RECEIVE_QUEUES_BYTES_LOW if self.is_full else RECEIVE_QUEUES_BYTES_MAX
        was_full, self.is_full = self.is_full, self.total > most
        if self.is_full is not was_full:
            for each in list(self._readers):
                each.review_reading()


class UnfinishedBytes:
    """Long messages that are not complete, in the order in which they began."""

    def __init__(self) -> None:
        self.total = 0
        self.refused = 0
        self._held: dict[Sender, int] = {}

    def note(self, sender: Sender, count: int) -> None:
        """So many bytes of its message are here; few are not counted."""
        before = self._held.get(sender, 0)
        if count <= UNFINISHED_LONG_BYTES:
            self.forget(sender)
            return
        self._held[sender] = count
        self.total += count - before
        while self.total > UNFINISHED_BYTES_MAX:
            first = next(iter(self._held))
            self.forget(first)
            self.refused += 1
            first.refuse_unfinished()

    def forget(self, sender: Sender) -> None:
        """Nothing is held of it any more."""
        self.total -= self._held.pop(sender, 0)


QUEUED: Final = QueuedBytes()
UNFINISHED: Final = UnfinishedBytes()
