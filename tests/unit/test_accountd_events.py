"""Who hears which watermark when; the socket records, the clock is a number."""

from typing import Any

import pytest
import zmq

from accountd.events import RECENT_PRODUCERS_MAX, RECENT_S, REPEAT_S, Announcer
from shared.announcements import Watermark, decode_watermark

EPOCH = 7
P, Q = b"p" * 16, b"q" * 16


class Recorder:
    """A PUB socket that remembers; ``is_full`` makes it refuse like one at its high-water mark."""

    def __init__(self) -> None:
        self.sent: list[Watermark] = []
        self.is_full = False

    def send_multipart(self, frames: list[bytes], flags: int) -> None:
        """Take one announcement, without waiting."""
        assert flags == zmq.DONTWAIT
        if self.is_full:
            raise zmq.Again
        self.sent.append(decode_watermark(frames))

    def take(self) -> list[tuple[bytes, int]]:
        """Producer and watermark of what was sent since the last call."""
        taken, self.sent = self.sent, []
        assert all(w.epoch == EPOCH for w in taken)
        return [(w.producer, w.applied_through) for w in taken]


@pytest.fixture
def socket() -> Recorder:
    """The recording socket."""
    return Recorder()


@pytest.fixture
def announcer(socket: Recorder) -> Announcer:
    """An announcer of epoch 7."""
    recorder: Any = socket
    return Announcer(recorder, epoch=EPOCH)


def test_every_producer_of_a_group_is_announced(announcer: Announcer, socket: Recorder) -> None:
    """At once, whether the watermark moved or not."""
    announcer.announce({P: 1, Q: 5}, now=0)
    announcer.announce({P: 1}, now=0.1)
    assert socket.take() == [(P, 1), (Q, 5), (P, 1)]


def test_recent_watermarks_are_repeated(announcer: Announcer, socket: Recorder) -> None:
    """The newest of each producer, twice a second, until the producer is silent for a minute."""
    announcer.announce({P: 1}, now=0)
    announcer.announce({P: 2}, now=0.2)
    socket.take()
    announcer.repeat(now=REPEAT_S - 0.01)
    assert socket.take() == []
    announcer.repeat(now=REPEAT_S)
    assert socket.take() == [(P, 2)]
    announcer.repeat(now=REPEAT_S + 0.01)
    assert socket.take() == []
    announcer.announce({Q: 9}, now=RECENT_S)
    socket.take()
    announcer.repeat(now=RECENT_S + 0.3)
    assert socket.take() == [(Q, 9)]


def test_it_says_how_long_to_wait(announcer: Announcer) -> None:
    """The poll sleeps until the next repetition, and as long as it likes when nobody is recent."""
    assert announcer.wait_s(now=0) is None
    announcer.announce({P: 1}, now=10)
    assert announcer.wait_s(now=10.1) == pytest.approx(REPEAT_S - 0.1)
    assert announcer.wait_s(now=99) == 0
    announcer.repeat(now=99)
    assert announcer.wait_s(now=99) is None


def test_the_number_of_repetitions_is_bounded(announcer: Announcer, socket: Recorder) -> None:
    """The longest silent producers are left out; everybody is still announced once."""
    many = [n.to_bytes(16, "big") for n in range(RECENT_PRODUCERS_MAX + 2)]
    announcer.announce(dict.fromkeys(many, 1), now=0)
    assert len(socket.take()) == len(many)
    announcer.announce({many[2]: 2}, now=0.1)
    socket.take()
    announcer.repeat(now=1)
    assert [p for p, _ in socket.take()] == [*many[3:], many[2]]


def test_a_subscriber_that_does_not_read_holds_nobody_up(
    announcer: Announcer, socket: Recorder
) -> None:
    """What PUB refuses is said again later."""
    socket.is_full = True
    announcer.announce({P: 1}, now=0)
    socket.is_full = False
    announcer.repeat(now=1)
    assert socket.take() == [(P, 1)]
