"""Sends the outboxes of all producers to accountd. Owns the PUSH socket; used by ``usage_sender``.

It never waits: what the socket does not accept is tried again ``RETRY_S`` later, and a timer wakes
it when an outbox has something to send again.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import zmq
import zmq.asyncio

from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from shared import zmq_sockets

RETRY_S: Final = 0.05
# Messages pushed in one turn of the event loop. The frames of all sessions wait meanwhile: a whole
# window of 1,000 takes 5 to 7 ms of CPU, so many take 0.3 ms.
BURST_MAX: Final = 50


class Pusher:
    """One PUSH socket for all producers. ``connect`` before use, ``close`` at the end."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        producers: Callable[[], Iterable[Producer]],
        *,
        overdue: Callable[[], None],
    ) -> None:
        """``overdue`` is called when messages were not acknowledged in time, before they are sent
        again: perhaps only the announcements do not arrive.
        """
        self._loop = asyncio.get_running_loop()
        self._producers = producers
        self._overdue = overdue
        # A plain socket of the same ZeroMQ context: one that does not wait.
        plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(context)
        self.socket = plain.socket(zmq.PUSH)
        zmq_sockets.configure(self.socket)
        # Without a connection messages stay in the outbox, not in a queue of the socket.
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self._timer: asyncio.TimerHandle | None = None
        self.messages_sent = 0  # resends included

    def connect(self, endpoint: str) -> None:
        """Begin to connect to accountd, again and again until that succeeds."""
        self.socket.connect(endpoint)

    def close(self) -> None:
        """Send nothing more; what the socket still holds is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        self.socket.close(linger=0)

    def push(self) -> None:
        """Send whatever is to be sent now, and set the timer for what comes later."""
        if self.socket.closed:
            return
        now, wakes_at = self._loop.time(), None
        for producer in self._producers():
            outbox = producer.outbox
            if outbox.wakes_at is not None and now >= outbox.wakes_at:
                self._overdue()
            if (pause_s := self._push_outbox(outbox, now)) is not None:
                wakes_at = now + pause_s
                break
            if outbox.wakes_at is not None:
                wakes_at = min(wakes_at or outbox.wakes_at, outbox.wakes_at)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if wakes_at is None else self._loop.call_at(wakes_at, self.push)

    def _push_outbox(self, outbox: Outbox, now: float) -> float | None:
        """Push a burst; the seconds until the next one, None when everything was sent."""
        for _ in range(BURST_MAX):
            if (frames := outbox.next_frames(now)) is None:
                return None
            try:
                self.socket.send_multipart(frames, zmq.DONTWAIT)
            except zmq.Again:
                return RETRY_S
            outbox.sent(now)
            self.messages_sent += 1
        return 0.0
