"""Hands usage to accountd: the shell around the outbox. Owns the PUSH socket.

Sending never waits. What the socket does not take at once stays in the outbox and is tried again.
"""

import asyncio
import secrets
from typing import Final

import structlog
import zmq

from gateway.outbox import Outbox
from shared import transport
from shared.wire import PRODUCER_BYTES, InvalidUsage, UsageBatch, encode_usage

log = structlog.get_logger()

RETRY_S: Final = 0.1


class UsageSender:
    """Numbers messages and pushes them to accountd."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self.outbox = Outbox(secrets.token_bytes(PRODUCER_BYTES))
        self._socket = context.socket(zmq.PUSH)
        transport.configure(self._socket)
        self._socket.connect(endpoint)
        log.info("producer started", producer=self.outbox.producer.hex())

    def send(self, message: UsageBatch | InvalidUsage) -> None:
        """Take responsibility for ``message``: it is numbered and sent, now or later."""
        self.outbox.seal(encode_usage(message))
        self._push()

    async def close(self, deadline_s: float) -> int:
        """Push what is left for at most ``deadline_s``; how many messages found no taker."""
        try:
            async with asyncio.timeout(deadline_s):
                while self.outbox:
                    self._push()
                    await asyncio.sleep(RETRY_S if self.outbox else 0)
        except TimeoutError:
            log.error("usage not delivered", batches=len(self.outbox))
        if self._retry is not None:
            self._retry.cancel()
        self._socket.close()
        return len(self.outbox)

    def _push(self) -> None:
        while (frames := self.outbox.oldest()) is not None:
            try:
                self._socket.send_multipart(frames, zmq.DONTWAIT)
            except zmq.Again:
                self._push_later()
                return
            self.outbox.sent()

    def _push_later(self) -> None:
        if self._retry is None:
            self._retry = self._loop.call_later(RETRY_S, self._push_again)

    def _push_again(self) -> None:
        self._retry = None
        self._push()
