"""When usage is sent, and how batches are numbered."""

from gateway.batching import Batcher, Party
from gateway.limits import BATCH_S
from gateway.metering import Metered
from gateway.outbox import Outbox
from shared.wire import Usage, UsageBatch, decode_envelope

PRODUCER = bytes(range(16))


def metered(number: int, model: str = "m") -> Metered:
    """One response that cost ``number`` tokens."""
    return Metered(f"resp_{number}", model, Usage(total_tokens=number))


def batcher() -> Batcher:
    """The batcher of one session."""
    return Batcher(Party("acct", "sess", "openai"))


def add_all(open_batch: Batcher, count: int, now: float = 0.0) -> list[UsageBatch]:
    """The batches that are complete after ``count`` responses."""
    return [b for i in range(count) for b in open_batch.add(metered(i), now=now, wall_ms=i)]


def test_twenty_responses_make_four_batches() -> None:
    """Five responses fill a batch."""
    open_batch = batcher()
    assert [b.responses for b in add_all(open_batch, 20)] == [5, 5, 5, 5]
    assert open_batch.flush() == []


def test_the_end_of_a_session_flushes_the_rest() -> None:
    """Seven responses are a full batch and a rest of two."""
    open_batch = batcher()
    full = add_all(open_batch, 7)
    rest = open_batch.flush()
    assert [b.responses for b in full + rest] == [5, 2]
    assert sum(b.usage.total_tokens for b in full + rest) == sum(range(7))
    assert rest[0].response_ids == ("resp_5", "resp_6")
    assert rest[0].metered_at_ms == 6


def test_a_batch_is_due_half_a_minute_after_its_first_response() -> None:
    """A slow conversation is charged while it goes on."""
    open_batch = batcher()
    assert open_batch.take_due(10**9) == []
    open_batch.add(metered(1), now=100.0, wall_ms=0)
    open_batch.add(metered(2), now=120.0, wall_ms=0)
    assert open_batch.take_due(100.0 + BATCH_S - 0.1) == []
    assert [b.responses for b in open_batch.take_due(100.0 + BATCH_S)] == [2]


def test_a_batch_has_one_model() -> None:
    """When the provider changes the model, what the first one used is sent on its own."""
    open_batch = batcher()
    open_batch.add(metered(1, "first"), now=0.0, wall_ms=0)
    (sent,) = open_batch.add(metered(2, "second"), now=0.0, wall_ms=0)
    assert (sent.model, sent.responses) == ("first", 1)
    assert [b.model for b in open_batch.flush()] == ["second"]


def test_sequences_have_no_holes() -> None:
    """Batches are numbered 1, 2, 3… in the order in which they are sealed, and sent in it."""
    outbox = Outbox(PRODUCER)
    assert [outbox.seal(b"x%d" % i) for i in range(3)] == [1, 2, 3]
    sent = []
    while (frames := outbox.oldest()) is not None:
        sent.append(decode_envelope(frames))
        outbox.sent()
    assert [(e.producer, e.sequence, e.payload) for e in sent] == [
        (PRODUCER, 1, b"x0"), (PRODUCER, 2, b"x1"), (PRODUCER, 3, b"x2"),
    ]  # fmt: skip


def test_a_full_outbox_says_so_and_drops_nothing() -> None:
    """Past its bound the outbox refuses new sessions, not usage."""
    outbox = Outbox(PRODUCER, batches_max=2)
    outbox.seal(b"a")
    assert not outbox.is_full
    outbox.seal(b"b")
    assert outbox.is_full
    outbox.seal(b"c")
    assert len(outbox) == 3
