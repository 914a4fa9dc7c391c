"""A numbered stream of usage: its outbox and, with a spool, its journal. Pure.

Sealing gives a message its sequence and writes it to the journal in one step; it is released for
sending once the journal is synced (fsync). A producer that was *recovered* from the journal of a
killed process waits for its first watermark, then seals what was metered and not sealed, then ends.
Called by ``usage_sender`` and ``spool_manager``; ``now`` is the wall clock in seconds.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from gateway.delivery.journal import Journal
from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.metering.batching import MeteredResponse, OnSealed, ignore_sealed, merge
from shared.announcements import Watermark
from shared.fields import WireError
from shared.usage import EndOfProducer, Kind, UsageBatch
from shared.wire import decode_usage, encode_usage

END = encode_usage(EndOfProducer())


@dataclass(frozen=True, slots=True)
class _Unsealed:
    """A message that has no sequence yet, with the responses of the journal that it covers."""

    payload: bytes
    covers: Sequence[int] = ()
    on_sealed: OnSealed = ignore_sealed


class Producer:
    """One producer: everything goes through its journal first, then through its outbox."""

    def __init__(self, outbox: Outbox, journal: Journal | None = None) -> None:
        self.outbox = outbox
        self.journal = journal
        self._unsealed: deque[_Unsealed] = deque()
        self._has_ended = False

    @classmethod
    def recovered(cls, journal: Journal, *, chance: Callable[[], float]) -> "Producer":
        """The producer of a journal that was found; all of it is synced to the disk already."""
        through = journal.recovered.last_sequence
        outbox = Outbox(
            journal.producer, chance=chance, load=journal.payload, recovered_through=through
        )
        journal.synced(through)
        producer = cls(outbox, journal)
        producer._has_ended = journal.recovered.last_payload == END
        return producer

    @property
    def is_durable(self) -> bool:
        """Whether everything is sealed and durable."""
        outbox = self.outbox
        return not (outbox.awaits_watermark or self._unsealed or len(outbox))

    @property
    def is_over(self) -> bool:
        """Whether it has ended and everything is durable."""
        return self._has_ended and self.is_durable

    @property
    def unsealed(self) -> int:
        """How many messages wait until the journal can be written again."""
        return len(self._unsealed)

    @property
    def wants_sync(self) -> bool:
        """Whether sealed messages wait for an fsync of the journal."""
        journal = self.journal
        return journal is not None and journal.sealed_through > journal.synced_through

    def note(self, payload: bytes, *, now: float) -> int:
        """Note one metered response before its event is forwarded. Raises ``OSError``.

        The answer is its number in the journal; 0 without one.
        """
        return 0 if self.journal is None else self.journal.note(payload, now=now)

    def seal(
        self,
        payload: bytes,
        covers: Sequence[int] = (),
        *,
        now: float,
        on_sealed: OnSealed = ignore_sealed,
    ) -> None:
        """Seal a message behind those that wait. Raises ``OSError``: then it waits, too, for
        ``seal_waiting``. ``on_sealed`` is called with its producer and sequence.
        """
        self._unsealed.append(_Unsealed(payload, covers, on_sealed))
        self.seal_waiting(now=now)

    def lose_journal(self) -> None:
        """The journal was removed: continue in memory. Everything sealed may be sent now: without a
        journal no recovery can give it another sequence.
        """
        self.journal = None
        self.seal_waiting(now=0.0)

    def seal_waiting(self, *, now: float) -> None:
        """Seal the messages that wait. Raises ``OSError`` while the journal cannot be written."""
        while self._unsealed:
            first = self._unsealed[0]
            if self.journal is not None:
                sequence = self.outbox.last_sequence + 1
                self.journal.seal(sequence, first.covers, first.payload, now=now)
            sequence = self.outbox.seal(first.payload)
            self._unsealed.popleft()
            first.on_sealed(self.outbox.producer, sequence)
        self.release()

    def release(self) -> None:
        """Let every message be sent whose sequence no crash can change: the journal is synced."""
        if self.journal is None:
            self.outbox.release(self.outbox.last_sequence)
        else:
            self.outbox.release(min(self.journal.synced_through, self.outbox.last_sequence))

    def end(self, *, now: float) -> None:
        """Seal the end marker: nothing follows. Raises ``OSError`` like ``seal``."""
        if not self._has_ended and (self.outbox.last_sequence or self._unsealed):
            self._has_ended = True
            self.seal(END, now=now)

    def acknowledge(
        self, watermark: Watermark, *, monotonic: float, now: float, is_answer: bool = False
    ) -> AckOutcome:
        """Apply a watermark; the first completes a recovery. Raises ``OSError`` like ``seal``."""
        was_awaiting = self.outbox.awaits_watermark
        if was_awaiting:
            self.outbox.skip_to(watermark.applied_through)
        outcome = self.outbox.acknowledge(watermark, monotonic, is_answer=is_answer)
        if was_awaiting and not self.outbox.awaits_watermark:
            self._finish_recovery(is_doubtful=self._is_doubtful(watermark), now=now)
        return outcome

    # --- recovery ---------------------------------------------------------------------------------

    def _is_doubtful(self, watermark: Watermark) -> bool:
        """Whether unsealed responses may have been charged already, in messages that are missing
        from the journal.
        """
        assert self.journal is not None
        found = self.journal.recovered
        return found.is_damaged or watermark.applied_through > found.last_sequence

    def _finish_recovery(self, *, is_doubtful: bool, now: float) -> None:
        """Seal what the killed process had metered and not sealed, then end in its place."""
        assert self.journal is not None
        unsealed = self.journal.recovered.unsealed
        if self.journal.recovered.is_bare and self.is_durable:
            # All messages are durable and none is left: they were removed, the end marker too.
            self._has_ended = True
        if is_doubtful:
            self._unsealed.extend(_Unsealed(_doubtful(p), (n,)) for n, p in unsealed.items())
        else:
            self._unsealed.extend(_merged(unsealed))
        if not self._has_ended and (self.outbox.last_sequence or self._unsealed):
            self._unsealed.append(_Unsealed(END))
        self._has_ended = True
        self.seal_waiting(now=now)


def _merged(unsealed: dict[int, bytes]) -> list[_Unsealed]:
    """Single responses, by their numbers, merged to batches."""
    singles: list[MeteredResponse] = []
    others: list[_Unsealed] = []
    for number, payload in unsealed.items():
        try:
            single = decode_usage(payload)
        except WireError:  # written by another release of the gateway: accountd decides
            others.append(_Unsealed(payload, (number,)))
            continue
        assert isinstance(single, UsageBatch)
        singles.append(MeteredResponse(single, number))
    batches = [_Unsealed(encode_usage(batch), covers) for batch, covers, _ in merge(singles)]
    return batches + others


def _doubtful(payload: bytes) -> bytes:
    """A response that may have been charged already, marked so that accountd quarantines it."""
    try:
        single = decode_usage(payload)
    except WireError:  # written by another release of the gateway
        single = None
    if not isinstance(single, UsageBatch) or single.kind == Kind.DOUBTFUL:
        return payload
    return encode_usage(replace(single, kind=Kind.DOUBTFUL, doubtful_kind=single.kind))
