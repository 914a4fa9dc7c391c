"""What all connections hold together, and who gives way beyond the bounds."""

from gateway.connections.held_bytes import QueuedBytes, UnfinishedBytes
from gateway.limits import (
    RECEIVE_QUEUES_BYTES_LOW,
    RECEIVE_QUEUES_BYTES_MAX,
    UNFINISHED_BYTES_MAX,
    UNFINISHED_LONG_BYTES,
)


class Reader:
    """One that asks for its place again, as a connection does."""

    def __init__(self, queued: QueuedBytes) -> None:
        self._queued = queued
        self.reviews: list[bool] = []

    def review_reading(self) -> None:
        """See ``held_bytes.Reader``."""
        self._queued.note(self, waits=True)
        self.reviews.append(self._queued.is_full)


class Sender:
    """One that is refused."""

    is_refused = False

    def refuse_unfinished(self) -> None:
        """See ``held_bytes.Sender``."""
        self.is_refused = True


def test_nobody_who_waits_is_read_while_too_much_is_queued() -> None:
    """All are told once, at the bound, and once when a part of it is gone."""
    queued = QueuedBytes()
    one, two, gone = (Reader(queued) for _ in range(3))
    for reader in (one, two, gone):
        queued.note(reader, waits=True)
    queued.note(gone, waits=False)
    steps = [
        # bytes more; whether it is full then
        (RECEIVE_QUEUES_BYTES_MAX, False),
        (1, True),
        (100, True),
        (-101, True),
        (RECEIVE_QUEUES_BYTES_LOW - RECEIVE_QUEUES_BYTES_MAX, False),
    ]
    for count, is_full in steps:
        queued.add(count)
        queued.note(one, waits=True)
        assert queued.is_full is is_full
    assert one.reviews == two.reviews == [True, False]
    assert gone.reviews == []


def test_the_long_message_that_began_first_is_refused() -> None:
    """Not the longest, nor the newest; a short one, and one that is complete, is none."""
    unfinished = UnfinishedBytes()
    complete, first, second, third, short = (Sender() for _ in range(5))
    unfinished.note(complete, UNFINISHED_BYTES_MAX)
    unfinished.note(complete, 0)
    unfinished.note(first, UNFINISHED_LONG_BYTES + 1)
    unfinished.note(second, UNFINISHED_BYTES_MAX - UNFINISHED_LONG_BYTES - 1)
    unfinished.note(short, UNFINISHED_LONG_BYTES)
    assert unfinished.total == UNFINISHED_BYTES_MAX
    unfinished.note(third, UNFINISHED_LONG_BYTES + 1)
    assert (first.is_refused, second.is_refused, third.is_refused) == (True, False, False)
    unfinished.note(third, UNFINISHED_LONG_BYTES + 2)
    assert (first.is_refused, second.is_refused, third.is_refused) == (True, True, False)
    assert not complete.is_refused
    assert not short.is_refused
    assert unfinished.refused == 2
    unfinished.forget(third)
    assert unfinished.total == 0
