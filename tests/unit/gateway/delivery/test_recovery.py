"""What is sent for the journal of a killed gateway: single cases, as tables."""

from dataclasses import replace
from unittest import mock

import pytest

from gateway.delivery import journal as spools
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
    with mock.patch.object(spools, "SEGMENT_BYTES_MAX", 1):
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
    with mock.patch.object(spools, "SEGMENT_BYTES_MAX", 1):
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
    with mock.patch.object(spools, "SEGMENT_BYTES_MAX", 1):
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
    with mock.patch.object(spools, "SEGMENT_BYTES_MAX", 1):
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
    with mock.patch.object(spools, "SEGMENT_BYTES_MAX", 1):
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
