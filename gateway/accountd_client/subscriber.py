"""Receives what accountd announces. Owns the SUB socket and hands each topic to its listener.

Used by ``delivery.watermarks`` and ``credit.balances``. An announcement may be lost, late or
repeated: its listener copes with that. One that cannot be read is logged and dropped.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
import zmq
import zmq.asyncio

from gateway import background_tasks
from shared import zmq_sockets
from shared.announcements import topic_of
from shared.fields import WireError

log = structlog.get_logger()

# Takes the frames of one announcement; raises ``WireError`` when they cannot be read.
Listener = Callable[[list[bytes]], None]


class Subscriber:
    """Subscriptions of this process. ``start`` before use, ``close`` at the end."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str) -> None:
        self._socket: zmq.asyncio.Socket = context.socket(zmq.SUB)
        zmq_sockets.configure(self._socket)
        self._socket.connect(endpoint)
        self._listeners: dict[bytes, Listener] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to receive."""
        self._tasks = [background_tasks.start(self._receive())]

    async def close(self) -> None:
        """Stop receiving."""
        await background_tasks.stop(self._tasks)
        self._socket.close(linger=0)

    def subscribe(self, topic: bytes, listener: Listener) -> None:
        """Call ``listener`` for every announcement under ``topic``. One listener for each topic."""
        if topic not in self._listeners:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._listeners[topic] = listener

    def unsubscribe(self, topic: bytes) -> None:
        """Receive no more announcements under ``topic``."""
        if self._listeners.pop(topic, None) is not None:
            self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    async def _receive(self) -> None:
        while True:
            frames: list[Any] = await self._socket.recv_multipart()
            listener = self._listeners.get(topic_of(frames))
            if listener is None:
                continue  # its topic was unsubscribed a moment ago
            try:
                listener(frames)
            except WireError as exc:
                log.warning("announcement unreadable", detail=str(exc))
