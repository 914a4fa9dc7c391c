"""What a producer seals, releases and ends, and what it sends for a gateway that was killed."""

from unittest import mock

import pytest
from msgspec.structs import replace

from gateway.delivery import journal as journals
from gateway.delivery.journal import Journal
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import END, Producer
from shared.announcements import Watermark
from shared.usage import ESTIMATES, Kind, LostBatch, Usage, UsageBatch
from shared.wire import decode_usage, encode_usage
from tests.support.memory_store import MemoryStore

NAME = b"p" * 16


def response(name: str) -> bytes:
    """One metered response."""
    usage = Usage(1, 1, 2)
    return encode_usage(UsageBatch("a", "s", "openai", "m", "response", 1, (name,), usage, 0))


def started(store: MemoryStore) -> Producer:
    """A gateway's own producer."""
    journal = Journal(store, NAME, now=0.0)
    return Producer(Outbox(NAME, chance=lambda: 0.5, load=journal.payload), journal)


def adopted(store: MemoryStore, *, applied_through: int) -> list[bytes]:
    """What the adopter sends once it knows what is durable."""
    producer = Producer.recovered(Journal(store, NAME, now=100.0), chance=lambda: 0.5)
    producer.acknowledge(Watermark(NAME, 1, applied_through), monotonic=0.0, now=100.0)
    assert producer.journal is not None
    producer.journal.synced(producer.journal.sealed_through)
    producer.release()
    sent = []
    while (frames := producer.outbox.next_frames(0.0)) is not None:
        producer.outbox.sent(0.0)
        sent.append(frames[2])
    return sent


def seal(producer: Producer, name: str) -> None:
    """Note, seal and sync one response."""
    number = producer.note(response(name), now=0.0)
    producer.seal(response(name), (number,), now=0.0)
    assert producer.journal is not None
    producer.journal.synced(producer.journal.sealed_through)


def prune(producer: Producer, through: int) -> None:
    """Prune everything that is durable and not needed."""
    assert producer.journal is not None
    producer.journal.prune(through, now=50.0, keep_s=0, keep_bytes=0)


def test_fresh_usage_behind_a_pruned_journal_is_charged() -> None:
    """Retention leaves enough of the journal to know that it was never charged."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        for name in ("one", "two", "three"):
            seal(producer, name)
        producer.note(response("fresh"), now=0.0)
        prune(producer, 3)
    fresh, end = adopted(store, applied_through=3)
    message = decode_usage(fresh)
    assert isinstance(message, UsageBatch)
    assert message.response_ids == ("fresh",)
    assert end == END


LOST = encode_usage(LostBatch())


def test_retention_leaves_the_last_sealed_message_that_is_synced() -> None:
    """The last sealed message stays unless a later one is synced."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        seal(producer, "one")
        producer.end(now=0.0)
        prune(producer, 1)
    store.files.popitem()  # the end, which was not synced
    assert Journal(store, NAME, now=0.0).recovered.last_sequence == 1


@pytest.mark.parametrize(("applied_through", "sent"), [(2, []), (0, [LOST, LOST, END])])
def test_a_bare_journal_ends_once(applied_through: int, sent: list[bytes]) -> None:
    """All messages durable: the end marker was pruned too. None: a power failure took them."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        seal(producer, "one")
        producer.end(now=0.0)
        assert producer.journal is not None
        producer.journal.synced(2)
        producer.journal.probe(now=1.0)
    store.files = {max(store.files): store.files[max(store.files)]}
    assert adopted(store, applied_through=applied_through) == sent


def test_a_journal_with_a_hole_charges_nothing_twice() -> None:
    """Responses that the missing message may have charged go to quarantine, by name."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        seal(producer, "one")
        producer.note(response("two"), now=0.0)
    store.files[2] = store.files[2][:-1]  # the seal of the first
    *doubtful, end = adopted(store, applied_through=1)
    whole = replace(decode_usage(response("one")), kind=Kind.DOUBTFUL, doubtful_kind=Kind.RESPONSE)
    assert [decode_usage(payload) for payload in doubtful] == [
        whole, replace(whole, response_ids=("two",))
    ]  # fmt: skip
    assert end == END


@pytest.mark.parametrize("kind", [Kind.TRANSCRIPTION, Kind.DURATION, *sorted(ESTIMATES)])
def test_a_doubtful_response_names_its_kind(kind: Kind) -> None:
    """Of every kind, estimates too: none may be charged twice."""
    store = MemoryStore()
    single = replace(decode_usage(response("two")), kind=kind)
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        seal(producer, "one")
        producer.note(encode_usage(single), now=0.0)
    store.files[2] = store.files[2][:-1]  # the seal of the first
    *_, found, _ = adopted(store, applied_through=1)
    assert decode_usage(found) == replace(single, kind=Kind.DOUBTFUL, doubtful_kind=kind)


def test_an_end_waits_for_the_disk_with_its_messages() -> None:
    """A producer whose first message could not be written yet still gets its end marker."""
    store = MemoryStore()
    producer = started(store)
    store.space = 0
    with pytest.raises(OSError, match="No space"):
        producer.seal(response("one"), now=0.0)
    with pytest.raises(OSError, match="No space"):
        producer.end(now=0.0)
    store.space = None
    producer.seal_waiting(now=0.0)
    assert producer.outbox.last_sequence == 2
    assert producer.unsealed == 0


def in_memory() -> Producer:
    """A gateway that has no journal."""
    return Producer(Outbox(NAME, chance=lambda: 0.5))


def waiting(producer: Producer) -> list[bytes]:
    """What may be sent, in order."""
    found = []
    while (frames := producer.outbox.next_frames(0.0)) is not None:
        producer.outbox.sent(0.0)
        found.append(frames[2])
    return found


def test_without_a_journal_a_message_is_sent_at_once() -> None:
    """Nothing is noted, so nothing is waited for."""
    producer = in_memory()
    assert producer.note(response("one"), now=0.0) == 0
    producer.seal(response("one"), now=0.0)
    assert not producer.wants_sync
    assert waiting(producer) == [response("one")]


def test_with_a_journal_a_message_waits_for_the_sync() -> None:
    """A power failure must not give its sequence to another one."""
    producer = started(MemoryStore())
    producer.seal(response("one"), now=0.0)
    assert producer.wants_sync
    assert waiting(producer) == []
    assert producer.journal is not None
    producer.journal.synced(1)
    producer.release()
    assert not producer.wants_sync
    assert waiting(producer) == [response("one")]


def test_what_a_lost_journal_held_back_is_sent() -> None:
    """Nobody can recover it any more under another sequence; what comes then is sent at once."""
    store = MemoryStore()
    producer = started(store)
    producer.seal(response("one"), now=0.0)
    store.space = 0
    with pytest.raises(OSError, match="No space"):
        producer.seal(response("two"), now=0.0)
    producer.lose_journal()
    producer.seal(response("three"), now=0.0)
    assert waiting(producer) == [response("one"), response("two"), response("three")]


def test_who_sealed_a_message_is_told_its_sequence() -> None:
    """Once it has one, which may be later: the disk was full."""
    store, told = MemoryStore(), list[tuple[bytes, int]]()
    producer = started(store)
    producer.seal(response("one"), now=0.0, on_sealed=lambda *numbers: told.append(numbers))
    store.space = 0
    with pytest.raises(OSError, match="No space"):
        producer.seal(response("two"), now=0.0, on_sealed=lambda *numbers: told.append(numbers))
    assert told == [(NAME, 1)]
    store.space = None
    producer.seal_waiting(now=0.0)
    assert told == [(NAME, 1), (NAME, 2)]


def test_a_producer_is_over_when_its_end_is_durable() -> None:
    """It ends once, however often it is asked to."""
    producer = in_memory()
    producer.seal(response("one"), now=0.0)
    producer.end(now=0.0)
    producer.end(now=0.0)
    assert waiting(producer) == [response("one"), END]
    assert not producer.is_over
    producer.acknowledge(Watermark(NAME, 1, 1), monotonic=0.0, now=0.0)
    assert not producer.is_durable
    producer.acknowledge(Watermark(NAME, 1, 2), monotonic=0.0, now=0.0)
    assert producer.is_over


def test_a_producer_that_sent_nothing_needs_no_end() -> None:
    """accountd never heard of it."""
    producer = in_memory()
    producer.end(now=0.0)
    assert waiting(producer) == []
    assert producer.is_durable


FOREIGN = b"\xc1 of another release"


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_what_another_release_wrote_goes_on_as_it_is(is_doubtful: bool) -> None:
    """accountd decides what to do with it; what can be read stands before it."""
    store = MemoryStore()
    with mock.patch.object(journals, "SEGMENT_BYTES_MAX", 1):
        producer = started(store)
        seal(producer, "one")
        producer.note(FOREIGN, now=0.0)
        producer.note(response("two"), now=0.0)
    if is_doubtful:
        store.files[2] = store.files[2][:-1]  # the seal of the first
    sent = adopted(store, applied_through=1)
    assert sent.count(FOREIGN) == 1
    names = [found.response_ids for found in map(readable, sent) if isinstance(found, UsageBatch)]
    assert names == ([("one",), ("two",)] if is_doubtful else [("two",)])
    assert sent[-1] == END


def readable(payload: bytes) -> object:
    """The message in a payload; None when it is of another release."""
    return None if payload == FOREIGN else decode_usage(payload)
