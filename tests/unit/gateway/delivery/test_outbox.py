"""What the outbox does in the cases that a model of it would only repeat: one rule a test."""

import pytest

from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.limits import OUTBOX_BATCHES_MAX, RESEND_S
from shared.announcements import Watermark
from shared.wire import decode_envelope

PRODUCER = b"p" * 16


def outbox_with(messages: int, *, recovered_through: int | None = None) -> Outbox:
    """An outbox without jitter and spool, with so many messages that may be sent."""
    outbox = Outbox(PRODUCER, chance=lambda: 0.5, recovered_through=recovered_through)
    for number in range(messages):
        outbox.seal(b"message %d" % (number + 1))
    outbox.release(outbox.last_sequence)
    return outbox


def send(outbox: Outbox, *, now: float = 0.0, at_most: int = 1_000) -> list[tuple[int, bytes]]:
    """Send what is to be sent now: sequences and payloads."""
    found = []
    while len(found) < at_most and (frames := outbox.next_frames(now)) is not None:
        envelope = decode_envelope(frames)
        outbox.sent(now)
        found.append((envelope.sequence, envelope.payload))
    return found


def acknowledge(outbox: Outbox, epoch: int, through: int, *, now: float = 0.0) -> AckOutcome:
    """A watermark of accountd."""
    return outbox.acknowledge(Watermark(PRODUCER, epoch, through), now)


def test_what_was_sealed_is_what_is_sent() -> None:
    """Without a spool the payloads are in memory, each under its sequence."""
    outbox = outbox_with(2)
    assert send(outbox) == [(1, b"message 1"), (2, b"message 2")]
    assert outbox.in_memory == 2


def test_what_is_durable_is_forgotten_and_nothing_else() -> None:
    """A watermark covers messages up to its sequence."""
    outbox = outbox_with(3)
    send(outbox)
    assert acknowledge(outbox, 1, 2) is AckOutcome.ADVANCED
    assert (outbox.in_memory, len(outbox)) == (1, 1)


@pytest.mark.parametrize(
    ("in_flight", "resends", "sent_again"), [(0, 0, []), (1, 1, [1]), (2, 1, [1, 2])]
)
def test_a_new_connection_sends_again_what_was_in_flight(
    in_flight: int, resends: int, sent_again: list[int]
) -> None:
    """Where nothing was, there is nothing to count."""
    outbox = outbox_with(3)
    send(outbox, at_most=in_flight)
    outbox.reconnected()
    assert outbox.resends == resends
    assert [sequence for sequence, _ in send(outbox, at_most=in_flight)] == sent_again


def test_every_return_to_the_watermark_is_counted() -> None:
    """The number is for operators: it grows."""
    outbox = outbox_with(1)
    for _ in range(3):
        send(outbox)
        outbox.reconnected()
    assert outbox.resends == 3


def test_what_is_left_in_flight_is_due_again_later() -> None:
    """A watermark that covers a part gives the rest its whole time from then on."""
    outbox = outbox_with(3)
    send(outbox, now=0.0)
    acknowledge(outbox, 1, 2, now=0.75)
    assert outbox.wakes_at == 0.75 + RESEND_S
    acknowledge(outbox, 1, 3, now=0.8)
    assert outbox.wakes_at is None, "nothing is in flight"


def test_progress_ends_the_backoff() -> None:
    """The pause doubles while nothing is heard, and is short again once something was."""
    outbox, now = outbox_with(2), 0.0
    send(outbox, now=now)
    for pauses in (1, 2, 4):
        assert outbox.wakes_at == now + pauses * RESEND_S
        now = outbox.wakes_at or 0.0
        send(outbox, now=now)
    acknowledge(outbox, 1, 1, now=now)
    assert outbox.wakes_at == now + RESEND_S


def test_a_restart_of_accountd_ends_the_backoff() -> None:
    """Everything in flight is sent again at once, and is due after the shortest pause."""
    outbox = outbox_with(2)
    acknowledge(outbox, 1, 0)
    send(outbox, now=0.0)
    assert acknowledge(outbox, 2, 0, now=0.1) is AckOutcome.NEW_EPOCH
    assert [sequence for sequence, _ in send(outbox, now=0.2)] == [1, 2]
    assert outbox.wakes_at == 0.2 + RESEND_S


@pytest.mark.parametrize(
    ("epoch", "through", "outcome"),
    [
        (1, 2, AckOutcome.NOTHING_NEW),
        (1, 3, AckOutcome.ADVANCED),
        (1, 5, AckOutcome.FORGED),
        (2, 2, AckOutcome.NEW_EPOCH),
        (2, 3, AckOutcome.NEW_EPOCH),
        (2, 1, AckOutcome.REGRESSED),
    ],
)
def test_what_a_watermark_means(epoch: int, through: int, outcome: AckOutcome) -> None:
    """After two of three sent messages were acknowledged in the first epoch."""
    outbox = outbox_with(3)
    send(outbox)
    acknowledge(outbox, 1, 2)
    assert acknowledge(outbox, epoch, through) is outcome


def test_what_was_durable_is_remembered_beyond_a_restore() -> None:
    """A restored accountd is told; nothing that was merely sent, or forged, counts."""
    outbox = outbox_with(3)
    send(outbox)
    acknowledge(outbox, 1, 2)
    acknowledge(outbox, 1, 5)
    acknowledge(outbox, 2, 1)
    assert (outbox.acknowledged, outbox.seen_durable) == (1, 2)


@pytest.mark.parametrize(
    ("through", "outcome"), [(0, AckOutcome.NOTHING_NEW), (1, AckOutcome.ADVANCED)]
)
def test_the_first_watermark(through: int, outcome: AckOutcome) -> None:
    """It brings the epoch, and news only when it covers something."""
    outbox = outbox_with(1)
    send(outbox)
    assert acknowledge(outbox, 7, through) is outcome
    assert outbox.epoch == 7


def test_a_recovered_outbox_waits_for_its_first_watermark() -> None:
    """It does not know what is durable."""
    outbox = outbox_with(1, recovered_through=4)
    assert (send(outbox), len(outbox), outbox.awaits_watermark) == ([], 0, True)
    assert acknowledge(outbox, 1, 4) is AckOutcome.ADVANCED
    assert outbox.awaits_watermark is False
    assert send(outbox) == [(5, b"message 1")]


@pytest.mark.parametrize(
    ("jump", "last"), [(OUTBOX_BATCHES_MAX, 4 + OUTBOX_BATCHES_MAX), (OUTBOX_BATCHES_MAX + 1, 4)]
)
def test_a_jump_beyond_what_a_journal_can_lose_is_not_followed(jump: int, last: int) -> None:
    """The watermark says more than the journal knows: up to the bound it is believed."""
    outbox = outbox_with(0, recovered_through=4)
    outbox.skip_to(4 + jump)
    assert outbox.last_sequence == last


def test_a_jump_back_changes_nothing() -> None:
    """A watermark behind the journal is what is usual."""
    outbox = outbox_with(0, recovered_through=4)
    outbox.skip_to(1)
    assert outbox.last_sequence == 4
