"""Carries requests to accountd and their answers. Owns the DEALER socket; used by ``rpc_client``.

Requests are answered in any order: each carries an id. Pings go out all the time, so whether
accountd is reachable is known without waiting, and its release is checked at each of its boots. It
promises that a request ends by its deadline, in an answer or in ``UnreachableError``.
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
from shared.wire import LEVEL, Reply, Request, WireError, decode_reply, encode_request

log = structlog.get_logger()

PING_S: Final = 1.0
PING_DEADLINE_S: Final = 1.5
_REQUEST_ID_BYTES: Final = 8


class RpcChannel:
    """Requests and answers over one socket. ``start`` before use, ``close`` at the end."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._socket = context.socket(zmq.DEALER)
        zmq_sockets.configure(self._socket)
        # At the end, requests that were not sent are dropped: nobody waits for their answers.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._request_ids = itertools.count(1)
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._answered_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._level = LEVEL  # the wire's level that accountd understands
        self._checked: object = None  # (level, epoch) of the boot for which that was checked last

    def start(self) -> None:
        """Begin to receive answers and to send pings."""
        self._tasks = [
            background_tasks.start(self._receive()),
            background_tasks.start(self._ping()),
        ]

    async def close(self) -> None:
        """Stop. Requests that still wait for an answer are cancelled."""
        await background_tasks.stop(self._tasks)
        for pending in self._pending.values():
            pending.cancel()
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
        try:
            async with asyncio.timeout(deadline_s):
                await self._socket.send_multipart([request_id, encode_request(request)])
                return await future
        except TimeoutError:
            raise UnreachableError from None
        finally:
            del self._pending[request_id]

    async def _receive(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            self._answered_at = self._loop.time()
            try:
                request_id, payload = frames
                reply = decode_reply(payload)
            except (ValueError, WireError) as exc:
                log.error("unreadable answer from accountd", detail=str(exc))
                continue
            pending = self._pending.get(request_id)
            if pending is not None and not pending.done():
                pending.set_result(reply)

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
