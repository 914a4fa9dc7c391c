"""The batches of this gateway process on their way to accountd. Pure.

A batch gets its number in the same step that makes it sendable, so that numbers have no holes: the
receiver recognises a duplicate by its number and a loss by a hole.
"""

from collections import deque

from gateway.limits import OUTBOX_BATCHES_MAX
from shared.wire import PRODUCER_BYTES, encode_envelope


class Outbox:
    """Numbers payloads 1, 2, 3… and holds them until the socket took them.

    ``producer`` is drawn by the caller: 128 random bits per process, after any fork.
    """

    def __init__(self, producer: bytes, *, batches_max: int = OUTBOX_BATCHES_MAX) -> None:
        assert len(producer) == PRODUCER_BYTES
        self.producer = producer
        self._batches_max = batches_max
        self._last_sequence = 0
        self._unsent: deque[list[bytes]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether new sessions must be refused. What is metered is still taken: never dropped."""
        return len(self._unsent) >= self._batches_max

    @property
    def last_sequence(self) -> int:
        """The number of the newest batch; 0 before the first."""
        return self._last_sequence

    def __len__(self) -> int:
        """Batches that the socket has not taken."""
        return len(self._unsent)

    def seal(self, payload: bytes) -> int:
        """Give ``payload`` the next number, which is returned, and queue it."""
        self._last_sequence += 1
        self._unsent.append(encode_envelope(self.producer, self._last_sequence, payload))
        return self._last_sequence

    def oldest(self) -> list[bytes] | None:
        """The frames to send next; they stay until ``sent`` is called."""
        return self._unsent[0] if self._unsent else None

    def sent(self) -> None:
        """The socket took the oldest message."""
        self._unsent.popleft()
