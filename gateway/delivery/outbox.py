"""One producer's messages on their way to accountd, until a watermark says they are durable. Pure.

A producer numbers its messages 1, 2, 3… without holes. The outbox sends them in that order, at most
``UNACKNOWLEDGED_MAX`` beyond the watermark. It goes back to the watermark and sends again from
there (go-back-N) when the oldest unacknowledged message has waited too long, when accountd was
restarted, and when the connection is new. It forgets a message only when a watermark covers it.

The caller seals messages, releases those that may be sent, and then repeats: ``next_frames``, write
them, ``sent``. ``now`` is monotonic seconds.
"""

from collections.abc import Callable
from enum import Enum, auto

from gateway.limits import (
    LOAD_TRIES_MAX,
    OUTBOX_BATCHES_MAX,
    RESEND_JITTER,
    RESEND_S,
    RESEND_S_MAX,
    UNACKNOWLEDGED_MAX,
)
from shared.announcements import Watermark
from shared.usage import LostBatch
from shared.wire import PRODUCER_BYTES, encode_envelope, encode_usage

# Reads a sealed message from the spool by its sequence; None when it is no longer there. It may
# raise ``OSError``.
Load = Callable[[int], bytes | None]


class AckOutcome(Enum):
    """What a watermark meant."""

    NOTHING_NEW = auto()
    ADVANCED = auto()
    NEW_EPOCH = auto()  # accountd was restarted
    REGRESSED = auto()  # it was restarted and lost messages: a restored backup, a damaged file
    STALE = auto()  # from an older boot of accountd; ignored
    FORGED = auto()  # beyond what was ever sent; ignored


class Outbox:
    """The messages of one producer.

    ``chance`` gives numbers from 0 to 1 for the jitter; ``load`` reads messages that are no longer
    in memory. An outbox that was *recovered* from a spool (``recovered_through``: its highest
    sequence) does not know what is durable: it sends nothing before its first watermark.
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
        self.seen_durable = 0  # the highest watermark, also of an accountd that lost it since
        self.last_sequence = recovered_through or 0
        self.awaits_watermark = recovered_through is not None
        self.resends = 0
        self._chance = chance
        self._load = load
        self._payloads: dict[int, bytes] = {}
        self._released_through = self.last_sequence
        self._sent_through = self.last_sequence
        self._next = 1
        self._attempts = 0
        self._load_tries = 0
        self._resend_at: float | None = None

    def __len__(self) -> int:
        """Messages that are not known to be durable."""
        return 0 if self.awaits_watermark else self.last_sequence - self.acknowledged

    @property
    def in_memory(self) -> int:
        """Messages held in memory. After a regression the older ones are on the disk only."""
        return len(self._payloads)

    @property
    def wakes_at(self) -> float | None:
        """When ``next_frames`` must be called again even if nothing else happens; None: never."""
        return self._resend_at

    def seal(self, payload: bytes) -> int:
        """Give ``payload`` the next sequence, and return that. It is sent once it is released."""
        self.last_sequence += 1
        self._payloads[self.last_sequence] = payload
        return self.last_sequence

    def skip_to(self, sequence: int) -> None:
        """Continue the numbering after ``sequence``: a recovered journal lost applied messages.

        A jump of more than ``OUTBOX_BATCHES_MAX``, more than any journal can have lost, is not
        followed: ``acknowledge`` then refuses that watermark as FORGED.
        """
        assert self.awaits_watermark
        if sequence > self.last_sequence + OUTBOX_BATCHES_MAX:
            return
        self.last_sequence = self._sent_through = max(self.last_sequence, sequence)

    def release(self, through: int) -> None:
        """Let messages up to ``through`` be sent: no crash can give them another sequence now."""
        assert through <= self.last_sequence
        self._released_through = max(self._released_through, through)

    def next_frames(self, now: float) -> list[bytes] | None:
        """The frames to send now, or None. Call ``sent`` when the socket accepted them.

        A message that cannot be read from the spool is tried again later, ``LOAD_TRIES_MAX`` times,
        before a ``LostBatch`` takes its sequence: that replacement could never be undone.
        """
        if self.awaits_watermark:
            return None
        if self._resend_at is not None and now >= self._resend_at:
            self._go_back()
        elif self._resend_at is not None and self._load_tries:
            return None
        if self._next > min(self._released_through, self.acknowledged + UNACKNOWLEDGED_MAX):
            return None
        try:
            payload = self._payload(self._next)
        except OSError:
            self._load_tries += 1
            self._resend_at = now + self._backoff_s()
            return None
        self._load_tries = 0
        return encode_envelope(self.producer, self._next, payload)

    def sent(self, now: float) -> None:
        """The socket accepted what ``next_frames`` returned."""
        self._sent_through = max(self._sent_through, self._next)
        self._next += 1
        if self._resend_at is None:
            self._resend_at = now + self._backoff_s()

    def reconnected(self) -> None:
        """The connection is new: unacknowledged messages may be lost, so they are sent again."""
        if self._next > self.acknowledged + 1:
            self._go_back()

    def acknowledge(
        self, watermark: Watermark, now: float, *, is_answer: bool = False
    ) -> AckOutcome:
        """Apply a watermark: what accountd says is durable.

        An announcement of an older epoch is ignored. ``is_answer`` marks the answer to a request
        that was sent after the newest known epoch appeared: it counts whatever its epoch, so that
        an accountd whose clock and database were both set back is believed in the end.
        """
        assert watermark.producer == self.producer
        if watermark.applied_through > self._sent_through:
            return AckOutcome.FORGED
        if watermark.epoch < self.epoch and not is_answer:
            return AckOutcome.STALE
        if watermark.epoch != self.epoch or self.awaits_watermark:
            return self._enter_epoch(watermark, now)
        if watermark.applied_through <= self.acknowledged:
            return AckOutcome.NOTHING_NEW
        self._advance(watermark.applied_through, now)
        return AckOutcome.ADVANCED

    # --- helpers ----------------------------------------------------------------------------------

    def _enter_epoch(self, watermark: Watermark, now: float) -> AckOutcome:
        """The first watermark of a boot of accountd, or of this outbox."""
        is_first, self.epoch = not self.epoch, watermark.epoch
        has_regressed = watermark.applied_through < self.acknowledged
        is_advance = watermark.applied_through > self.acknowledged
        self._advance(watermark.applied_through, now)
        if self.awaits_watermark or not is_first:
            self.awaits_watermark = False
            self._go_back()
            self._attempts = 0
        if has_regressed:
            return AckOutcome.REGRESSED
        if is_first:
            return AckOutcome.ADVANCED if is_advance else AckOutcome.NOTHING_NEW
        return AckOutcome.NEW_EPOCH

    def _advance(self, through: int, now: float) -> None:
        for sequence in range(self.acknowledged + 1, through + 1):
            self._payloads.pop(sequence, None)
        self.acknowledged = through
        self.seen_durable = max(self.seen_durable, through)
        self._next = max(self._next, through + 1)
        self._attempts = 0
        has_unacknowledged = self._next > through + 1
        self._resend_at = now + self._backoff_s() if has_unacknowledged else None

    def _go_back(self) -> None:
        self.resends += int(self._next > self.acknowledged + 1)
        self._next = self.acknowledged + 1
        self._attempts += 1
        self._resend_at = None

    def _backoff_s(self) -> float:
        backoff_s = min(RESEND_S * 2.0 ** min(self._attempts, 16), RESEND_S_MAX)
        return backoff_s * (1 - RESEND_JITTER + 2 * RESEND_JITTER * self._chance())

    def _payload(self, sequence: int) -> bytes:
        payload = self._payloads.get(sequence)
        if payload is not None:
            return payload
        gives_up = self._load_tries >= LOAD_TRIES_MAX
        return (None if gives_up else self._load(sequence)) or _LOST


# Sent in place of a message that cannot be read any more: a hole in the sequences would hold the
# watermark, and with it every later message, back for ever.
_LOST = encode_usage(LostBatch())
