"""What a journal gives back when its files are gone or damaged while it is open."""

from unittest import mock

import pytest

from gateway.delivery import journal as journals
from gateway.delivery.journal import Journal
from gateway.limits import SEGMENT_S_MAX
from tests.support.memory_store import MemoryStore

PRODUCER = bytes(range(16))


def sealed(*payloads: bytes) -> tuple[Journal, MemoryStore]:
    """A journal with these messages, each in a segment of its own."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        journal = Journal(store, PRODUCER, now=0.0)
        for sequence, payload in enumerate(payloads, start=1):
            journal.seal(sequence, (), payload, now=0.0)
    return journal, store


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_message_that_cannot_be_read_is_counted(is_removed: bool) -> None:
    """Somebody removed its file, or the disk changed a byte of it; the others are read."""
    journal, store = sealed(b"one", b"two")
    if is_removed:
        del store.files[1]
    else:
        store.files[1] = store.files[1][:-1] + b"X"
    assert journal.payload(1) is None
    assert journal.unreadable == 1
    assert journal.payload(2) == b"two"
    assert journal.unreadable == 1


def test_another_message_in_its_place_is_not_taken_for_it() -> None:
    """A file that was restored from elsewhere: its record is whole, and has another sequence."""
    journal, store = sealed(b"one", b"two")
    store.files[1] = store.files[2]
    assert journal.payload(1) is None
    assert journal.unreadable == 1


@pytest.mark.parametrize("sequence", [0, 3, 99])
def test_a_message_that_never_was_is_not_damaged(sequence: int) -> None:
    """It is just not there."""
    journal, _ = sealed(b"one", b"two")
    assert journal.payload(sequence) is None
    assert journal.unreadable == 0


@pytest.mark.parametrize(("age_s", "segments"), [(SEGMENT_S_MAX, 1), (SEGMENT_S_MAX + 1, 2)])
def test_a_segment_is_closed_by_its_age(age_s: float, segments: int) -> None:
    """A quiet gateway must be able to remove what is old, too."""
    store = MemoryStore()
    journal = Journal(store, PRODUCER, now=0.0)
    journal.seal(1, (), b"one", now=0.0)
    journal.prune(0, now=age_s, keep_s=1e9, keep_bytes=1 << 30)
    journal.seal(2, (), b"two", now=age_s)
    assert len(store.files) == segments
