"""The journal against a model: recovery finds what was written, pruning removes what may go."""

import contextlib
import copy
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.delivery import journal as journals
from gateway.delivery.journal import Journal
from gateway.delivery.journal_format import (
    Damage,
    MeteredRecord,
    SealedRecord,
    encode_sealed,
    read_records,
)
from tests.support.memory_store import MemoryStore

PRODUCER = b"p" * 16
SEGMENT_BYTES = 300  # a few records


class JournalMachine(RuleBasedStateMachine):
    """A gateway's own journal: notes, seals, syncs, a full disk, retention."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.now = 0.0
        self.unsealed: dict[int, bytes] = {}
        self.sealed: dict[int, bytes] = {}
        self.covers: dict[int, tuple[int, ...]] = {}
        self.noted = self.durable = 0
        with self.small_segments():
            self.journal = Journal(self.store, PRODUCER, now=0.0)

    def small_segments(self) -> "mock._patch[int]":
        """Segments that a few records fill."""
        return mock.patch.object(journals, "SEGMENT_BYTES_MAX", SEGMENT_BYTES)

    @rule(size=st.integers(0, 80))
    def note(self, size: int) -> None:
        """A response is metered."""
        payload = b"r" * size
        with self.small_segments():
            assert self.journal.note(payload, now=self.now) == self.noted + 1
        self.noted += 1
        self.unsealed[self.noted] = payload

    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        """A message covers some of the responses, in whatever order."""
        open_numbers = sorted(self.unsealed)
        chosen = data.draw(st.sets(st.sampled_from(open_numbers)) if open_numbers else st.just(()))
        covers, sequence = tuple(sorted(chosen)), len(self.sealed) + 1
        payload = b"message %d" % sequence
        with self.small_segments():
            self.journal.seal(sequence, covers, payload, now=self.now)
        self.sealed[sequence] = payload
        self.covers[sequence] = covers
        for number in covers:
            del self.unsealed[number]

    @rule()
    def sync(self) -> None:
        """An fsync returns: everything sealed is synced."""
        self.journal.synced(len(self.sealed))

    @precondition(lambda self: self.sealed)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """A watermark arrives, for messages that were released for sending."""
        self.durable = data.draw(st.integers(self.durable, max(self.durable, self.synced)))

    @property
    def synced(self) -> int:
        """What was released for sending."""
        return self.journal.synced_through

    @rule(seconds=st.integers(0, 5_000))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds

    @rule(
        keep_s=st.sampled_from([0.0, 100.0, 10_000.0]),
        keep_bytes=st.sampled_from([0, 500, 1 << 30]),
    )
    def prune(self, keep_s: float, keep_bytes: int) -> None:
        """Retention removes whole segments from the front, until the rest is small enough."""
        before, size = self.journal._segments[:], self.journal.size
        self.journal.prune(self.durable, now=self.now, keep_s=keep_s, keep_bytes=keep_bytes)
        assert self.journal.size <= sum(map(len, self.store.files.values()))
        is_young = self.now - self.oldest_closed_at() < keep_s
        if self.journal.size > keep_bytes or not is_young:
            assert self.is_needed(min(self.store.files, default=0))
        for segment in before[: len(before) - len(self.journal._segments)]:
            assert size > keep_bytes or self.now - segment.closed_at >= keep_s
            size -= segment.size

    def oldest_closed_at(self) -> float:
        """When the first segment was closed; an open one is never old."""
        return self.journal._segments[0].closed_at if self.journal._segments else self.now

    def is_needed(self, segment: int) -> bool:
        """Whether a segment must stay, whatever its age and size: judged by its bytes alone."""
        if segment in (0, self.journal._current and self.journal._current.number):
            return True
        open_numbers = set(self.unsealed).union(
            *(c for sequence, c in self.covers.items() if sequence > self.synced)
        )
        records = [r for r in read_records(self.store.files[segment]) if not isinstance(r, Damage)]
        noted = [r.number for r in records if isinstance(r, MeteredRecord)]
        sealed = [r.sequence for r in records if isinstance(r, SealedRecord)]
        return (
            max(sealed, default=0) > self.durable
            or max(sealed, default=0) >= (self.synced or len(self.sealed)) > 0
            or max(noted, default=0) >= min(open_numbers, default=self.noted + 1)
        )

    @rule(space=st.integers(0, 70), is_seal=st.booleans())
    def fail(self, space: int, is_seal: bool) -> None:
        """The disk is full: nothing counts as written, whatever stays there."""
        self.store.space = space
        sequence = len(self.sealed) + 1
        # Never the whole record: a write that was complete did not fail.
        self.store.space = min(space, len(encode_sealed(sequence, (), b"x")) - 1)
        try:
            with self.small_segments():
                if is_seal:
                    self.journal.seal(sequence, (), b"x" * 50, now=self.now)
                else:
                    self.journal.note(b"x" * 50, now=self.now)
        except OSError:
            pass
        else:
            raise AssertionError("a full disk took a record")
        finally:
            self.store.space = None

    @invariant()
    def a_recovery_finds_what_was_written(self) -> None:
        """After a kill at any moment: what is unsealed, what is sealed, and no damage."""
        found = Journal(copy.deepcopy(self.store), PRODUCER, now=self.now)
        recovered = found.recovered
        assert recovered.unsealed == self.unsealed
        assert not recovered.is_damaged
        assert recovered.last_sequence == len(self.sealed)
        assert recovered.last_payload == self.sealed.get(len(self.sealed), b"")
        for sequence in range(self.durable + 1, len(self.sealed) + 1):
            assert found.payload(sequence) == self.sealed[sequence]
            assert self.journal.payload(sequence) == self.sealed[sequence]
        for sequence in range(1, self.durable + 1):
            assert found.payload(sequence) in (None, self.sealed[sequence])

    @invariant()
    def it_knows_its_size(self) -> None:
        """Files that a failed write left are known too, so that retention removes them."""
        assert {s.number for s in self.journal._segments} >= set(self.store.files)


TestJournal = JournalMachine.TestCase


@given(st.integers(1, 12), st.integers(0, 12), st.data())
def test_power_loss_takes_only_what_was_not_synced(
    messages: int, synced: int, data: st.DataObject
) -> None:
    """Cut at any byte after what is synced: all synced messages are there."""
    store, synced = MemoryStore(), min(messages, synced)
    size = 0
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1 << 20):
        journal = Journal(store, PRODUCER, now=0.0)
        for sequence in range(1, messages + 1):
            number = journal.note(b"response", now=0.0)
            journal.seal(sequence, (number,), b"message %d" % sequence, now=0.0)
            if sequence == synced:
                size = len(store.files[1])
    cut = data.draw(st.integers(size, len(store.files[1])))
    store.files[1] = store.files[1][:cut]
    found = Journal(store, PRODUCER, now=0.0)
    assert found.recovered.last_sequence >= synced
    assert not found.recovered.is_damaged
    for sequence in range(1, found.recovered.last_sequence + 1):
        assert found.payload(sequence) == b"message %d" % sequence
    assert set(found.recovered.unsealed.values()) <= {b"response"}


@given(st.integers(2, 15), st.integers(0, 2_000))
def test_the_bound_in_bytes_is_reached_and_no_more(messages: int, keep_bytes: int) -> None:
    """The oldest durable segments go, and the first that need not go stays."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):  # one record in each
        journal = Journal(store, PRODUCER, now=0.0)
        for sequence in range(1, messages + 1):
            journal.seal(sequence, (), b"message", now=0.0)
    journal.synced(messages)
    sizes = [len(data) for data in store.files.values()]
    journal.prune(messages, now=1.0, keep_s=100.0, keep_bytes=keep_bytes)
    fitting = [n for n in range(len(sizes)) if sum(sizes[n:]) <= keep_bytes]
    # The last one is open, and tells where the numbering stands.
    assert len(store.files) == len(sizes) - min(fitting, default=len(sizes) - 1)
    assert journal.size == sum(map(len, store.files.values()))


def test_a_segment_without_any_readable_record_is_damaged() -> None:
    """It is not torn: its first record was complete when the next one was written."""
    store = MemoryStore()
    journal = Journal(store, PRODUCER, now=0.0)
    journal.note(b"response", now=0.0)
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        journal.note(b"another", now=0.0)
    store.files[1] = store.files[1][:30] + bytes(len(store.files[1]) - 30)
    recovered = Journal(store, PRODUCER, now=0.0).recovered
    assert recovered.is_damaged
    assert list(recovered.unsealed.values()) == [b"another"]


def test_an_over_producer_leaves_nothing() -> None:
    """Its last segment is pruned too, once all is durable and the retention is over."""
    store = MemoryStore()
    journal = Journal(store, PRODUCER, now=0.0)
    journal.seal(1, (), b"end", now=0.0)
    journal.synced(1)
    assert journal.prune(1, now=1.0, keep_s=0, keep_bytes=0) == 0
    journal.close(1.0)
    assert journal.prune(1, now=1.0, keep_s=0, keep_bytes=0) == 1
    assert journal.is_empty
    assert not store.files


def test_probing_a_full_disk_for_hours_leaves_no_files() -> None:
    """A segment whose file was never made is forgotten, and does not stop retention."""
    store = MemoryStore()
    journal = Journal(store, PRODUCER, now=0.0)
    journal.seal(1, (), b"one", now=0.0)
    journal.synced(1)
    for second, space in ((n, n % 2 * 10) for n in range(100)):
        store.space = space
        with contextlib.suppress(OSError):
            journal.probe(now=float(second))
    store.space = None
    journal.probe(now=100.0)
    assert len(store.files) == 2
    journal.close(100.0)
    assert journal.prune(1, now=200.0, keep_s=0, keep_bytes=0) == 2


def test_a_seal_lost_at_the_end_of_a_closed_segment_is_missed() -> None:
    """It looks like a torn tail, but the base of the next segment names it."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):  # one record in each
        journal = Journal(store, PRODUCER, now=0.0)
        number = journal.note(b"response", now=0.0)
        journal.seal(1, (number,), b"message", now=0.0)
        journal.note(b"another", now=0.0)
    store.files[2] = store.files[2][:-1]
    recovered = Journal(store, PRODUCER, now=0.0).recovered
    assert recovered.missing_sequences == 1
    assert recovered.is_damaged
    assert recovered.last_sequence == 1
