"""A numbered stream of usage: its outbox and, with a spool, its journal. Pure.

Every message is sealed (given its sequence, and noted in the journal) in one step, and released for
sending once the journal is on the disk itself. A producer that was *recovered* from the journal of
a process that was killed first hears what is durable, then seals what was metered and not sealed,
then ends.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.delivery.spool import Spool
from gateway.metering.batching import MeteredResponse, OnSealed, ignore_sealed, merge
from shared.announcements import Watermark
from shared.usage import EndOfProducer, Kind, UsageBatch
from shared.wire import WireError, decode_usage, encode_usage

END = encode_usage(EndOfProducer())


class Producer:
    """What one producer has said and has yet to say. ``now`` is the wall clock in seconds."""

    def __init__(self, outbox: Outbox, spool: Spool | None = None) -> None:
        self.outbox = outbox
        self.spool = spool
        self._unsealed: deque[tuple[bytes, Sequence[int], OnSealed]] = deque()
        self._has_ended = False

    @classmethod
    def recovered(cls, spool: Spool, *, chance: Callable[[], float]) -> "Producer":
        """The producer whose journal was found."""
        through = spool.recovered.last_sequence
        outbox = Outbox(
            spool.producer, chance=chance, load=spool.payload, recovered_through=through
        )
        # The caller has brought what was found to the disk itself.
        spool.synced(through)
        producer = cls(outbox, spool)
        producer._has_ended = spool.recovered.last_payload == END
        return producer

    @property
    def is_settled(self) -> bool:
        """Whether everything is sealed and durable."""
        outbox = self.outbox
        return not (outbox.is_waiting or self._unsealed or len(outbox))

    @property
    def is_over(self) -> bool:
        """Whether it has ended and everything is durable."""
        return self._has_ended and self.is_settled

    @property
    def unsealed(self) -> int:
        """Messages that could not be noted in the journal, and wait for it."""
        return len(self._unsealed)

    @property
    def wants_sync(self) -> bool:
        """Whether messages wait for the journal to be on the disk itself."""
        return self.spool is not None and self.spool.sealed_through > self.spool.synced_through

    def note(self, payload: bytes, *, now: float) -> int:
        """Note one metered response before its event is forwarded. Raises ``OSError``.

        The answer is its number in the journal; 0 without one.
        """
        return 0 if self.spool is None else self.spool.note(payload, now=now)

    def seal(
        self,
        payload: bytes,
        covers: Sequence[int] = (),
        *,
        now: float,
        on_sealed: OnSealed = ignore_sealed,
    ) -> None:
        """Number a message, in its turn. Raises ``OSError``: then it waits for ``seal_waiting``."""
        self._unsealed.append((payload, covers, on_sealed))
        self.seal_waiting(now=now)

    def lose_journal(self) -> None:
        """The journal is gone: go on in memory. No recovery can number anything otherwise now."""
        self.spool = None
        self.seal_waiting(now=0.0)

    def seal_waiting(self, *, now: float) -> None:
        """Seal what waits. Raises ``OSError`` while the journal cannot be written."""
        while self._unsealed:
            payload, covers, on_sealed = self._unsealed[0]
            if self.spool is not None:
                self.spool.seal(self.outbox.last_sequence + 1, covers, payload, now=now)
            sequence = self.outbox.seal(payload)
            self._unsealed.popleft()
            on_sealed(self.outbox.producer, sequence)
        self.release()

    def release(self) -> None:
        """Let everything be sent whose numbering no crash can change any more."""
        if self.spool is None:
            self.outbox.release(self.outbox.last_sequence)
        else:
            self.outbox.release(min(self.spool.synced_through, self.outbox.last_sequence))

    def end(self, *, now: float) -> None:
        """Say that nothing follows. Raises ``OSError`` like ``seal``."""
        if not self._has_ended and (self.outbox.last_sequence or self._unsealed):
            self._has_ended = True
            self.seal(END, now=now)

    def heard(
        self, watermark: Watermark, *, monotonic: float, now: float, is_answer: bool = False
    ) -> AckOutcome:
        """Take in what accountd says is durable. Raises ``OSError`` like ``seal``."""
        was_waiting = self.outbox.is_waiting
        if was_waiting:
            self.outbox.skip_to(watermark.applied_through)
        heard = self.outbox.heard(watermark, monotonic, is_answer=is_answer)
        if was_waiting and not self.outbox.is_waiting:
            self._finish(is_doubtful=self._is_doubtful(watermark), now=now)
        return heard

    # --- recovery ---------------------------------------------------------------------------------

    def _is_doubtful(self, watermark: Watermark) -> bool:
        """Whether a journal with holes leaves it open what was charged already."""
        assert self.spool is not None
        found = self.spool.recovered
        return found.is_damaged or watermark.applied_through > found.last_sequence

    def _finish(self, *, is_doubtful: bool, now: float) -> None:
        """Seal what a killed process had metered and not sealed, then end for it."""
        assert self.spool is not None
        unsealed = self.spool.recovered.unsealed
        if self.spool.recovered.is_bare and self.is_settled:
            self._has_ended = True  # only then everything was removed, the end too
        parts = [(p, (n,)) for n, p in unsealed.items()] if is_doubtful else _merged(unsealed)
        for payload, covers in parts:
            message = _doubtful(payload) if is_doubtful else payload
            self._unsealed.append((message, covers, ignore_sealed))
        if not self._has_ended and (self.outbox.last_sequence or self._unsealed):
            self._unsealed.append((END, (), ignore_sealed))
        self._has_ended = True
        self.seal_waiting(now=now)


def _merged(unsealed: dict[int, bytes]) -> list[tuple[bytes, tuple[int, ...]]]:
    """Single responses as batches, with the numbers that each covers."""
    singles: list[MeteredResponse] = []
    others: list[tuple[bytes, tuple[int, ...]]] = []
    for number, payload in unsealed.items():
        try:
            single = decode_usage(payload)
        except WireError:  # of another version of ours: accountd decides
            others.append((payload, (number,)))
            continue
        assert isinstance(single, UsageBatch)
        singles.append(MeteredResponse(single, number))
    return [(encode_usage(batch), covers) for batch, covers, _ in merge(singles)] + others


def _doubtful(payload: bytes) -> bytes:
    """A response that may have been charged already: for the quarantine, whole."""
    try:
        single = decode_usage(payload)
    except WireError:  # of another version of ours
        single = None
    if not isinstance(single, UsageBatch) or single.kind == Kind.DOUBTFUL:
        return payload
    return encode_usage(replace(single, kind=Kind.DOUBTFUL, doubtful_kind=single.kind))
