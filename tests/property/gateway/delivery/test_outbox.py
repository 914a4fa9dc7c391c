"""The outbox against a model of it: what is sent, kept, and acknowledged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.delivery.outbox import AckOutcome, Outbox
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
from shared.wire import encode_usage

PRODUCER = b"p" * 16
LOST = encode_usage(LostBatch())


def watermark(epoch: int, through: int) -> Watermark:
    """A watermark of the producer."""
    return Watermark(PRODUCER, epoch, through)


def filled(messages: int, *, chance: float = 0.5) -> Outbox:
    """An outbox with so many messages that may be sent."""
    outbox = Outbox(PRODUCER, chance=lambda: chance)
    for n in range(1, messages + 1):
        assert outbox.seal(b"%d" % n) == n
    outbox.release(messages)
    return outbox


def send_all(outbox: Outbox, now: float = 0.0) -> list[int]:
    """Send what is to be sent now; the sequences."""
    sent = []
    while (frames := outbox.next_frames(now)) is not None:
        outbox.sent(now)
        sent.append(int.from_bytes(frames[1], "big"))
    return sent


class OutboxMachine(RuleBasedStateMachine):
    """Everything that can happen to an outbox whose spool keeps every message."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[int, bytes] = {}
        self.outbox = Outbox(PRODUCER, chance=lambda: 0.5, load=self.stored.get)
        self.now = 0.0
        self.released = self.acknowledged = self.epoch = self.highest_sent = 0
        self.expected = 1  # the sequence that is sent next

    @rule()
    def seal(self) -> None:
        """Sequences have no holes."""
        sequence = self.outbox.seal(b"payload %d" % (len(self.stored) + 1))
        assert sequence == len(self.stored) + 1
        self.stored[sequence] = b"payload %d" % sequence

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Up to any message that is sealed."""
        through = data.draw(st.integers(0, len(self.stored)))
        self.outbox.release(through)
        self.released = max(self.released, through)

    @rule(is_taken=st.booleans())
    def send(self, is_taken: bool) -> None:
        """In order, never beyond what is released, with the content that was sealed."""
        if self.outbox.wakes_at is not None and self.now >= self.outbox.wakes_at:
            self.expected = self.acknowledged + 1
        frames = self.outbox.next_frames(self.now)
        if self.expected > self.released:
            assert frames is None
            return
        assert frames == [
            PRODUCER, self.expected.to_bytes(8, "big"), self.stored[self.expected]
        ]  # fmt: skip
        if is_taken:
            self.outbox.sent(self.now)
            self.highest_sent = max(self.highest_sent, self.expected)
            self.expected += 1

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def reconnect(self) -> None:
        """Everything from the watermark on is sent again."""
        self.outbox.reconnected()
        self.expected = self.acknowledged + 1

    @precondition(lambda self: self.epoch)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        """The same boot says that more is durable, or repeats itself."""
        through = data.draw(st.integers(0, self.highest_sent))
        outcome = self.outbox.acknowledge(watermark(self.epoch, through), self.now)
        if through > self.acknowledged:
            assert outcome is AckOutcome.ADVANCED
            self.acknowledged = through
            self.expected = max(self.expected, through + 1)
        else:
            assert outcome is AckOutcome.NOTHING_NEW

    @rule(data=st.data(), jump=st.integers(1, 9))
    def boot(self, data: st.DataObject, jump: int) -> None:
        """The watermark of a new boot counts, also when accountd lost messages."""
        is_first, self.epoch = not self.epoch, self.epoch + jump
        through = data.draw(st.integers(0, self.highest_sent))
        outcome = self.outbox.acknowledge(watermark(self.epoch, through), self.now)
        assert (outcome is AckOutcome.REGRESSED) == (through < self.acknowledged)
        self.acknowledged = through
        self.expected = max(self.expected, through + 1) if is_first else through + 1

    @precondition(lambda self: self.epoch > 1)
    @rule(data=st.data())
    def stale(self, data: st.DataObject) -> None:
        """An older boot changes nothing."""
        epoch = data.draw(st.integers(1, self.epoch - 1))
        through = data.draw(st.integers(0, self.highest_sent))
        assert self.outbox.acknowledge(watermark(epoch, through), self.now) is AckOutcome.STALE

    @rule(beyond=st.integers(1, 2**40), epoch=st.integers(1, 2**40))
    def forged(self, beyond: int, epoch: int) -> None:
        """A message that was never sent cannot be durable, whatever the watermark says."""
        through = self.highest_sent + beyond
        assert self.outbox.acknowledge(watermark(epoch, through), self.now) is AckOutcome.FORGED

    @invariant()
    def nothing_is_dropped_early(self) -> None:
        """What is in memory is exactly what is not known to be durable, and what was sealed."""
        outbox = self.outbox
        assert (outbox.acknowledged, outbox.epoch) == (self.acknowledged, self.epoch)
        assert len(outbox) == len(self.stored) - self.acknowledged
        never_durable = range(self.highest_sent + 1, len(self.stored) + 1)
        assert all(sequence in outbox._payloads for sequence in never_durable)


TestOutbox = OutboxMachine.TestCase


def test_the_window_bounds_what_is_in_flight() -> None:
    """A watermark opens the window by as much as it moved."""
    outbox = filled(UNACKNOWLEDGED_MAX + 10)
    assert send_all(outbox) == list(range(1, UNACKNOWLEDGED_MAX + 1))
    outbox.acknowledge(watermark(1, 4), 0.1)
    assert send_all(outbox, 0.1) == list(range(UNACKNOWLEDGED_MAX + 1, UNACKNOWLEDGED_MAX + 5))


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_resends_back_off_within_their_bounds(chance: float) -> None:
    """Each pause is twice the one before, give or take the jitter, up to the longest."""
    outbox, now = filled(3, chance=chance), 0.0
    factor = 1 - RESEND_JITTER + 2 * RESEND_JITTER * chance
    for attempt in range(12):
        assert send_all(outbox, now) == [1, 2, 3]
        assert outbox.wakes_at is not None
        pause = outbox.wakes_at - now
        assert pause == pytest.approx(min(RESEND_S * 2**attempt, RESEND_S_MAX) * factor)
        assert send_all(outbox, now + 0.99 * pause) == []
        now = outbox.wakes_at


@given(st.integers(1, 9), st.integers(0, 9), st.booleans())
def test_a_regression_is_refilled(lost_from: int, kept: int, has_spool: bool) -> None:
    """With the message from the spool, otherwise with a placeholder: never a hole."""
    outbox = filled(10)
    stored = {n: b"%d" % n for n in range(1, 11)}
    if has_spool:
        outbox._load = stored.get
    send_all(outbox)
    outbox.acknowledge(watermark(1, 10), 1.0)
    assert not outbox._payloads
    through = min(lost_from, kept)
    assert outbox.acknowledge(watermark(2, through), 2.0) is AckOutcome.REGRESSED
    for sequence in range(through + 1, 11):
        frames = outbox.next_frames(2.0)
        assert frames is not None
        assert int.from_bytes(frames[1], "big") == sequence
        if has_spool:
            assert frames[2] == stored[sequence]
        else:
            assert frames[2] == LOST
        outbox.sent(2.0)


def test_an_older_boot_is_believed_when_it_answers() -> None:
    """The database and the clock of accountd were both set back."""
    outbox = filled(5)
    send_all(outbox)
    outbox.acknowledge(watermark(9, 4), 0.0)
    assert outbox.acknowledge(watermark(7, 2), 0.0) is AckOutcome.STALE
    assert outbox.acknowledge(watermark(7, 2), 0.0, is_answer=True) is AckOutcome.REGRESSED
    assert send_all(outbox) == [3, 4, 5]


def test_a_recovered_producer_says_nothing_before_it_has_heard() -> None:
    """Then it sends what is not durable, from the spool."""
    outbox = Outbox(PRODUCER, chance=lambda: 0.5, load=lambda n: b"%d" % n, recovered_through=4)
    assert outbox.next_frames(0.0) is None
    assert len(outbox) == 0
    outbox.acknowledge(watermark(3, 1), 0.0)
    assert send_all(outbox) == [2, 3, 4]


def test_a_recovered_producer_does_not_count_up_to_any_number() -> None:
    """More than any journal can lose: ignored at no cost, and a true watermark counts later."""
    outbox = Outbox(PRODUCER, chance=lambda: 0.5, load=lambda n: b"%d" % n, recovered_through=4)
    forged = watermark(3, 4 + OUTBOX_BATCHES_MAX + 1)
    outbox.skip_to(forged.applied_through)
    assert outbox.acknowledge(forged, 0.0) is AckOutcome.FORGED
    assert outbox.awaits_watermark
    outbox.skip_to(3)
    assert outbox.acknowledge(watermark(3, 3), 0.0) is AckOutcome.ADVANCED
    assert send_all(outbox) == [4]


@pytest.mark.parametrize(("failures", "is_lost"), [(0, False), (3, False), (LOAD_TRIES_MAX, True)])
def test_a_message_that_cannot_be_read_is_tried_again(failures: int, is_lost: bool) -> None:
    """With pauses; the placeholder goes only after ``LOAD_TRIES_MAX``."""
    tries = 0

    def load(_sequence: int) -> bytes:
        nonlocal tries
        tries += 1
        if tries <= failures:
            raise OSError
        return b"content"

    outbox = Outbox(PRODUCER, chance=lambda: 0.5, load=load, recovered_through=1)
    outbox.acknowledge(watermark(1, 0), 0.0)
    now, frames = 0.0, outbox.next_frames(0.0)
    while frames is None:
        assert outbox.next_frames(now) is None
        assert outbox.wakes_at is not None
        assert outbox.wakes_at > now
        now = outbox.wakes_at
        frames = outbox.next_frames(now)
    assert tries == min(failures + 1, LOAD_TRIES_MAX)
    assert frames[2] == (LOST if is_lost else b"content")
    assert bool(failures) == (now > 0)
