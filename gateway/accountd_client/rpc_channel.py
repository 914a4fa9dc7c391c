"""Carries requests to accountd and their answers. Owns the DEALER socket; used by ``rpc_client``.

Requests are answered in any order: each carries an id. Pings go out all the time, so whether
accountd is reachable is known without waiting, and its release is checked at each of its boots. It
promises that a request ends by its deadline, in an answer or in ``UnreachableError``.

The socket is a plain one, watched by the event loop: pyzmq's asyncio sockets cost twice as much for
each request. ZeroMQ signals only once that something has happened, and a send may take the signal,
so after each of both the socket is read until nothing is left.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from typing import Final

import structlog
import zmq
import zmq.asyncio

from gateway import background_tasks
from gateway.limits import AUTHORIZATIONS_MAX
from shared import zmq_sockets
from shared.errors import UnreachableError
from shared.fields import WireError
from shared.requests import Reply, Request, decode_reply, encode_request
from shared.wire import LEVEL

log = structlog.get_logger()

PING_S: Final = 1.0
PING_DEADLINE_S: Final = 1.5
# Answers taken in one turn of the event loop, so that a burst does not delay open sessions.
BURST_MAX: Final = 50
_REQUEST_ID_BYTES: Final = 8
_POLLIN: Final = int(zmq.POLLIN)  # an enum of flags costs as much as asking


class RpcChannel:
    """Requests and answers over one socket. ``start`` before use, ``close`` at the end."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        # A plain socket of the same ZeroMQ context: one that does not wait.
        plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(context)
        self._socket = plain.socket(zmq.DEALER)
        zmq_sockets.configure(self._socket)
        # At the end, requests that were not sent are dropped: nobody waits for their answers.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._request_ids = itertools.count(1)
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._answered_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._is_reading_soon = False
        self._level = LEVEL  # the wire's level that accountd understands
        self._checked: object = None  # (level, epoch) of the boot for which that was checked last

    def start(self) -> None:
        """Begin to receive answers and to send pings."""
        self._loop.add_reader(self._socket.FD, self._receive)
        self._tasks = [
            background_tasks.start(self._wait_for_failure()),
            background_tasks.start(self._ping()),
        ]

    async def close(self) -> None:
        """Stop. Requests that still wait for an answer are cancelled."""
        await background_tasks.stop(self._tasks)
        for pending in self._pending.values():
            pending.cancel()
        self._loop.remove_reader(self._socket.FD)
        self._socket.close()

    def has_answered_within(self, seconds: float) -> bool:
        """Whether accountd answered any request, a ping too, in the last ``seconds``."""
        return self._answered_at is not None and self._loop.time() - self._answered_at < seconds

    @property
    def is_reachable(self) -> bool:
        """Whether accountd answered lately. It costs nothing to ask."""
        return self.has_answered_within(zmq_sockets.RPC_DEADLINE_S)

    @property
    def is_outdated(self) -> bool:
        """Whether accountd is of an earlier release, which does not understand all of the usage."""
        return self._level < LEVEL

    async def call(self, request: Request, deadline_s: float = zmq_sockets.RPC_DEADLINE_S) -> Reply:
        """Send a request and wait for its answer.

        Raises ``UnreachableError``: at once where accountd is not reachable or too many requests
        wait, and else when there is no answer within ``deadline_s``.
        """
        if not self.is_reachable:
            raise UnreachableError
        return await self._call(request, deadline_s)

    # --- helpers ----------------------------------------------------------------------------------

    async def _call(self, request: Request, deadline_s: float) -> Reply:
        if len(self._pending) >= AUTHORIZATIONS_MAX:
            raise UnreachableError("too many requests wait for accountd")
        request_id = next(self._request_ids).to_bytes(_REQUEST_ID_BYTES, "big")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending[request_id] = future
        deadline = self._loop.call_later(deadline_s, _expire, future)
        try:
            self._send([request_id, encode_request(request)])
            return await future
        finally:
            deadline.cancel()
            del self._pending[request_id]

    def _send(self, frames: list[bytes]) -> None:
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:  # the queue is full of pings that nobody took
            raise UnreachableError from None
        finally:
            self._read_soon()  # a send that is refused may have taken the signal, too

    def _read_soon(self) -> None:
        if not self._is_reading_soon:
            self._is_reading_soon = True
            self._loop.call_soon(self._receive)

    def _receive(self) -> None:
        """Something has happened at the socket: take the answers that are there."""
        self._is_reading_soon = False
        if self._socket.closed or self._failed.done():
            return
        try:
            for _ in range(BURST_MAX):
                if not self._has_answer():
                    return
                self._take(self._socket.recv_multipart(zmq.DONTWAIT))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends the background task
            self._failed.set_exception(exc)
        else:
            self._read_soon()

    def _has_answer(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        assert isinstance(events, int)
        return bool(events & _POLLIN)

    def _take(self, frames: list[bytes]) -> None:
        self._answered_at = self._loop.time()
        try:
            request_id, payload = frames
            reply = decode_reply(payload)
        except (ValueError, WireError) as exc:
            log.error("unreadable answer from accountd", detail=str(exc))
            return
        pending = self._pending.get(request_id)
        if pending is not None and not pending.done():
            pending.set_result(reply)

    async def _wait_for_failure(self) -> None:
        """Fail as soon as answers cannot be received."""
        await self._failed

    async def _ping(self) -> None:
        was_reachable = False
        while True:
            with contextlib.suppress(UnreachableError):
                self._check_level(await self._call(Request("ping"), PING_DEADLINE_S))
            if self.is_reachable and not was_reachable:
                log.info("accountd reachable", endpoint=self._endpoint)
            elif was_reachable and not self.is_reachable:
                log.warning("accountd unreachable", endpoint=self._endpoint)
                self._checked = None  # the accountd that answers next may be of another release
            was_reachable = self.is_reachable
            await asyncio.sleep(PING_S)

    def _check_level(self, answer: Reply) -> None:
        """Check, once for each boot of accountd, that it understands this gateway's usage.

        An accountd that is older than levels names none: it counts as level 0. An error says
        nothing of its release.
        """
        if answer.error is not None:
            return
        result = answer.result if isinstance(answer.result, Mapping) else {}
        level, epoch = result.get("level", 0), result.get("epoch", 0)
        if (level, epoch) == self._checked:
            return
        self._checked = level, epoch
        self._level = level if isinstance(level, int) else 0
        if self.is_outdated:
            log.error(
                "accountd outdated",
                found=self._level,
                expected=LEVEL,
                hint="it drops what it does not know of usage, and what it drops is never charged:"
                " upgrade accountd now; accountd first, then gateways",
            )


def _expire(pending: asyncio.Future[Reply]) -> None:
    if not pending.done():
        pending.set_exception(UnreachableError())
