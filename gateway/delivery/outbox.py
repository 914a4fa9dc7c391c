"""One producer's messages on their way to accountd, until it says that they are durable. Pure.

A producer numbers its messages 1, 2, 3… without holes. The outbox sends them in that order, at most
``IN_FLIGHT_MAX`` beyond the watermark, and goes back to the watermark (go-back-N) when the oldest
has waited too long, when accountd was started anew, or when the connection was. It drops a message
only when a watermark says that it is durable. Whoever calls it passes ``now``, monotonic seconds.
"""

from collections.abc import Callable
from enum import Enum, auto

from gateway.limits import (
    IN_FLIGHT_MAX,
    LOAD_TRIES_MAX,
    OUTBOX_BATCHES_MAX,
    RESEND_JITTER,
    RESEND_S,
    RESEND_S_MAX,
)
from shared.announcements import Watermark
from shared.usage import LostBatch
from shared.wire import PRODUCER_BYTES, encode_envelope, encode_usage

# What a spool still has of a message; None when it has it no more. It may raise ``OSError``.
Load = Callable[[int], bytes | None]


class AckOutcome(Enum):
    """What a watermark meant."""

    NOTHING_NEW = auto()
    ADVANCED = auto()
    NEW_EPOCH = auto()  # accountd was started anew
    REGRESSED = auto()  # and it lost what it had: a restored backup, a damaged file
    STALE = auto()  # an older boot of accountd said so; ignored
    FORGED = auto()  # beyond what was ever sent; ignored


class Outbox:
    """The messages of one producer.

    ``chance`` gives numbers from 0 to 1 for the jitter; ``load`` finds messages that are not held
    in memory any more. An outbox that was *recovered* from a spool does not know what is durable:
    it sends nothing before it has heard the first watermark.
    """

    def __init__(
        self,
        producer: bytes,
        *,
        chance: Callable[[], float],
        load: Load = lambda _sequence: None,
        recovered_through: int | None = None,
    ) -> None:
        assert len(producer) == PRODUCER_BYTES
        self.producer = producer
        self.epoch = 0
        self.acknowledged = 0
        self.last_sequence = recovered_through or 0
        self.is_waiting = recovered_through is not None
        self.resends = 0
        self._chance = chance
        self._load = load
        self._held: dict[int, bytes] = {}
        self._released_through = self.last_sequence
        self._sent_through = self.last_sequence
        self._next = 1
        self._attempts = 0
        self._load_tries = 0
        self._resend_at: float | None = None

    def __len__(self) -> int:
        """Messages that are not durable, as far as is known."""
        return 0 if self.is_waiting else self.last_sequence - self.acknowledged

    @property
    def held(self) -> int:
        """Messages in memory. After a regression others are on the disk only."""
        return len(self._held)

    @property
    def wakes_at(self) -> float | None:
        """When ``take`` should be asked again although nothing happened."""
        return self._resend_at

    def seal(self, payload: bytes) -> int:
        """Give ``payload`` the next number, which is returned. It is sent once it is released."""
        self.last_sequence += 1
        self._held[self.last_sequence] = payload
        return self.last_sequence

    def skip_to(self, sequence: int) -> None:
        """Number on from ``sequence``: a recovered journal lost messages that were applied.

        A number that no journal can have lost so many messages for is left to ``heard`` to refuse.
        """
        assert self.is_waiting
        if sequence > self.last_sequence + OUTBOX_BATCHES_MAX:
            return
        self.last_sequence = self._sent_through = max(self.last_sequence, sequence)

    def release(self, through: int) -> None:
        """Messages up to ``through`` may be sent: a crash can no longer number them otherwise."""
        assert through <= self.last_sequence
        self._released_through = max(self._released_through, through)

    def take(self, now: float) -> list[bytes] | None:
        """The frames to send now, or None. Call ``sent`` when the socket took them.

        A message that cannot be read from the spool is tried again later: what is sent in its place
        can never be taken back.
        """
        if self.is_waiting:
            return None
        if self._resend_at is not None and now >= self._resend_at:
            self._go_back()
        elif self._resend_at is not None and self._load_tries:
            return None
        if self._next > min(self._released_through, self.acknowledged + IN_FLIGHT_MAX):
            return None
        try:
            payload = self._payload(self._next)
        except OSError:
            self._load_tries += 1
            self._resend_at = now + self._patience_s()
            return None
        self._load_tries = 0
        return encode_envelope(self.producer, self._next, payload)

    def sent(self, now: float) -> None:
        """The socket took what ``take`` returned."""
        self._sent_through = max(self._sent_through, self._next)
        self._next += 1
        if self._resend_at is None:
            self._resend_at = now + self._patience_s()

    def reconnected(self) -> None:
        """The connection is new: what was under way may be gone."""
        if self._next > self.acknowledged + 1:
            self._go_back()

    def heard(self, watermark: Watermark, now: float, *, is_answer: bool = False) -> AckOutcome:
        """Take in what accountd says is durable.

        An announcement of an older epoch is ignored. ``is_answer`` marks an answer to a question
        that was asked after the newest epoch was heard of: it counts whatever its epoch, so that
        an accountd whose clock and database both went back is believed at last.
        """
        assert watermark.producer == self.producer
        if watermark.applied_through > self._sent_through:
            return AckOutcome.FORGED
        if watermark.epoch < self.epoch and not is_answer:
            return AckOutcome.STALE
        if watermark.epoch != self.epoch or self.is_waiting:
            return self._adopt(watermark, now)
        if watermark.applied_through <= self.acknowledged:
            return AckOutcome.NOTHING_NEW
        self._acknowledge(watermark.applied_through, now)
        return AckOutcome.ADVANCED

    # --- helpers ----------------------------------------------------------------------------------

    def _adopt(self, watermark: Watermark, now: float) -> AckOutcome:
        """A boot of accountd that was not heard of before."""
        is_first, self.epoch = not self.epoch, watermark.epoch
        has_regressed = watermark.applied_through < self.acknowledged
        is_advance = watermark.applied_through > self.acknowledged
        self._acknowledge(watermark.applied_through, now)
        if self.is_waiting or not is_first:
            self.is_waiting = False
            self._go_back()
            self._attempts = 0
        if has_regressed:
            return AckOutcome.REGRESSED
        if is_first:
            return AckOutcome.ADVANCED if is_advance else AckOutcome.NOTHING_NEW
        return AckOutcome.NEW_EPOCH

    def _acknowledge(self, through: int, now: float) -> None:
        for sequence in range(self.acknowledged + 1, through + 1):
            self._held.pop(sequence, None)
        self.acknowledged = through
        self._next = max(self._next, through + 1)
        self._attempts = 0
        is_in_flight = self._next > through + 1
        self._resend_at = now + self._patience_s() if is_in_flight else None

    def _go_back(self) -> None:
        self.resends += int(self._next > self.acknowledged + 1)
        self._next = self.acknowledged + 1
        self._attempts += 1
        self._resend_at = None

    def _patience_s(self) -> float:
        patience_s = min(RESEND_S * 2.0 ** min(self._attempts, 16), RESEND_S_MAX)
        return patience_s * (1 - RESEND_JITTER + 2 * RESEND_JITTER * self._chance())

    def _payload(self, sequence: int) -> bytes:
        held = self._held.get(sequence)
        if held is not None:
            return held
        is_hopeless = self._load_tries >= LOAD_TRIES_MAX
        return (None if is_hopeless else self._load(sequence)) or _LOST


# Without it the hole would keep the watermark, and with it everything behind, back for ever.
_LOST = encode_usage(LostBatch())
