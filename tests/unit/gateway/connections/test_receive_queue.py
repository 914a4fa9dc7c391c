"""Frames that wait for a paused sink, without a socket."""

import pytest

from gateway.connections.receive_queue import TRANSITIONS, Intake, Pause, ReceiveQueue
from gateway.frames import Frame
from gateway.limits import RECEIVE_QUEUE_BYTES_MAX

ONE, TWO, THREE = (Frame(1, True, 2, b"\x81\x01" + name) for name in (b"1", b"2", b"3"))
CLOSE = Frame(8, True, 2, b"\x88\x00")


def queue_of(*frames: Frame, paused: Pause) -> ReceiveQueue:
    """A queue that is paused and in which ``frames`` wait."""
    queue = ReceiveQueue()
    queue.pause(paused)
    for frame in frames:
        queue.put(frame)
    return queue


def test_the_transition_table_is_complete() -> None:
    """Every state has an entry, every state can end, and the end is final."""
    assert set(TRANSITIONS) == set(Intake)
    assert TRANSITIONS[Intake.ENDED] == set()
    assert all(Intake.ENDED in TRANSITIONS[one] for one in Intake if one is not Intake.ENDED)


def test_it_drains_when_the_last_reason_is_gone() -> None:
    """Two reasons are independent: one that ends does not end the other."""
    queue = queue_of(ONE, TWO, paused=Pause.CREDIT | Pause.BACKPRESSURE)
    delivered: list[Frame] = []
    queue.resume(Pause.BACKPRESSURE, delivered.append)
    assert (delivered, queue.state) == ([], Intake.QUEUEING)
    queue.resume(Pause.CREDIT, delivered.append)
    assert (delivered, queue.state) == ([ONE, TWO], Intake.DIRECT)


def test_a_pause_while_it_drains_keeps_the_rest_in_order() -> None:
    """What arrives meanwhile goes behind what waits."""
    queue, delivered = queue_of(ONE, TWO, paused=Pause.CREDIT), list[Frame]()

    def deliver(frame: Frame) -> None:
        delivered.append(frame)
        if frame is ONE:
            queue.pause(Pause.BACKPRESSURE)
            queue.put(THREE)
            queue.resume(Pause.CREDIT, deliver)

    queue.resume(Pause.CREDIT, deliver)
    assert (delivered, queue.state, len(queue)) == ([ONE], Intake.QUEUEING, 2)
    queue.resume(Pause.BACKPRESSURE, deliver)
    assert (delivered, queue.state) == ([ONE, TWO, THREE], Intake.DIRECT)


BEFORE_THE_END = [
    # reasons to pause, what is delivered when the peer is gone
    (Pause.BACKPRESSURE, [ONE, TWO, CLOSE]),
    (Pause.PRE_OPEN, [ONE, TWO, CLOSE]),
    (Pause.CREDIT, [CLOSE]),
    (Pause.SETUP, [CLOSE]),
    (Pause.UNREAD, [CLOSE]),
    (Pause.OWNERSHIP, [CLOSE]),
    (Pause.BACKPRESSURE | Pause.CREDIT, [CLOSE]),
]


@pytest.mark.parametrize(("paused", "expected"), BEFORE_THE_END)
def test_what_had_leave_is_delivered_before_the_end(paused: Pause, expected: list[Frame]) -> None:
    """A response that waited for a slow client is metered; what was not allowed yet is dropped."""
    delivered: list[Frame] = []
    queue_of(ONE, TWO, CLOSE, paused=paused).empty_before_end(delivered.append)
    assert delivered == expected


@pytest.mark.parametrize("is_last", [False, True])
def test_nothing_is_delivered_after_the_end(is_last: bool) -> None:
    """A sink that ends the connection gets nothing that waited behind."""
    queue, delivered = queue_of(ONE, TWO, paused=Pause.BACKPRESSURE), list[Frame]()

    def deliver(frame: Frame) -> None:
        delivered.append(frame)
        queue.end()

    if is_last:
        queue.empty_before_end(deliver)
    else:
        queue.resume(Pause.BACKPRESSURE, deliver)
    assert (delivered, queue.state, len(queue)) == ([ONE], Intake.ENDED, 0)
    assert queue.is_over


def test_nothing_counts_behind_a_close() -> None:
    """RFC 6455 section 5.5.1: after a close frame no data frames are sent."""
    assert queue_of(ONE, CLOSE, paused=Pause.CREDIT).is_over
    assert not queue_of(ONE, paused=Pause.CREDIT).is_over


READING = [
    # reasons to pause, bytes of an incomplete frame, whether to read on
    (Pause(0), 2 * RECEIVE_QUEUE_BYTES_MAX, True),
    (Pause.BACKPRESSURE, RECEIVE_QUEUE_BYTES_MAX, True),
    (Pause.BACKPRESSURE, RECEIVE_QUEUE_BYTES_MAX + 1, False),
    (Pause.CREDIT, 0, True),
    (Pause.ADMISSION, 0, False),
    (Pause.ADMISSION | Pause.CREDIT, 0, False),
]


@pytest.mark.parametrize(("paused", "pending", "expected"), READING)
def test_reading_goes_on_while_there_is_room(paused: Pause, pending: int, expected: bool) -> None:
    """A paused peer is read for its pings; while admission is decided on nothing is read."""
    assert queue_of(paused=paused).wants_more(pending) is expected


def test_a_queue_in_which_nothing_waits_has_nothing_before_the_end() -> None:
    """What had come went straight to the sink; the connection may still be ended."""
    queue, delivered = ReceiveQueue(), list[Frame]()
    queue.empty_before_end(delivered.append)
    assert (delivered, queue.state) == ([], Intake.DIRECT)
    queue.end()
    assert queue.is_over


def test_what_was_put_back_is_delivered_first() -> None:
    """The sink took the first of a read alone: the rest comes before what arrived meanwhile."""
    queue, delivered = queue_of(THREE, paused=Pause.SETUP), list[Frame]()
    queue.put_back((ONE, TWO))
    queue.resume(Pause.SETUP, delivered.append)
    assert (delivered, queue.state) == ([ONE, TWO, THREE], Intake.DIRECT)


def test_nothing_can_be_put_back_at_the_end() -> None:
    """The peer is gone: what the sink does not take is dropped, and delivered once."""
    queue, delivered = queue_of(ONE, TWO, paused=Pause.BACKPRESSURE), list[Frame]()

    def deliver(frame: Frame) -> None:
        delivered.append(frame)
        queue.put_back((frame,))

    queue.empty_before_end(deliver)
    assert (delivered, len(queue)) == ([ONE, TWO], 0)
