"""Announces on PUB what is durable: the watermark of each producer, under its own topic.

Called by the daemon's loop, after a COMMIT has returned and never before. A lost announcement is
harmless, because watermarks are cumulative and those of recent producers are repeated.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import zmq

from shared.wire import Watermark, encode_watermark

# A gateway that missed an announcement learns it half a second later, before it sends again.
REPEAT_S: Final = 0.5
# A gateway whose usage is unacknowledged sends again within this time and is recent once more.
RECENT_S: Final = 60.0
# Far more gateways than one accountd serves; a round of repetitions then costs about 10 ms.
RECENT_PRODUCERS_MAX: Final = 4_096


class Announcer:
    """Publishes watermarks, and repeats those of recent producers. ``now`` is any clock in s."""

    def __init__(self, socket: "zmq.Socket[Any]", *, epoch: int) -> None:
        self._socket = socket
        self._epoch = epoch
        # producer -> (watermark, when it was heard of), the longest silent first
        self._recent: dict[bytes, tuple[int, float]] = {}
        self._repeat_at = 0.0

    def announce(self, watermarks: Mapping[bytes, int], *, now: float) -> None:
        """Publish what a group has made durable."""
        if not self._recent:
            self._repeat_at = now + REPEAT_S
        for producer, applied_through in watermarks.items():
            self._recent.pop(producer, None)
            self._recent[producer] = (applied_through, now)
            self._publish(producer, applied_through)
        while len(self._recent) > RECENT_PRODUCERS_MAX:
            del self._recent[next(iter(self._recent))]

    def repeat(self, *, now: float) -> None:
        """Publish the watermarks of recent producers again, when it is time for that."""
        if now < self._repeat_at:
            return
        self._repeat_at = now + REPEAT_S
        silent = [p for p, (_, heard_at) in self._recent.items() if now - heard_at > RECENT_S]
        for producer in silent:
            del self._recent[producer]
        for producer, (applied_through, _) in self._recent.items():
            self._publish(producer, applied_through)

    def wait_s(self, *, now: float) -> float | None:
        """How long until the next repetition; None when nobody is recent."""
        return max(0.0, self._repeat_at - now) if self._recent else None

    def _publish(self, producer: bytes, applied_through: int) -> None:
        # PUB drops for a subscriber that does not read; the repetition reaches it later.
        with contextlib.suppress(zmq.Again):
            frames = encode_watermark(Watermark(producer, self._epoch, applied_through))
            self._socket.send_multipart(frames, zmq.DONTWAIT)
