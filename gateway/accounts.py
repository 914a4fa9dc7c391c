"""Asks accountd who may talk: the RPC client. Owns the DEALER socket."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
import zmq
import zmq.asyncio

from gateway.limits import AUTHORIZATIONS_MAX
from shared import transport
from shared.errors import UnreachableError
from shared.wire import Reply, Request, WireError, decode_reply, encode_request

log = structlog.get_logger()

PING_S: Final = 1.0
_REQUEST_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to open a session."""

    account_id: str
    key_indicator: str
    token_remaining: int
    topup_remaining: int


@dataclass(frozen=True, slots=True)
class Denial:
    """accountd said no: ``code`` as in its RPC interface."""

    code: str
    message: str


class Accounts:
    """Requests to accountd. ``start`` before use, ``close`` at the end."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._socket = context.socket(zmq.DEALER)
        transport.configure(self._socket)
        self._socket.setsockopt(zmq.LINGER, 0)  # a question that nobody waits for any more
        self._socket.connect(endpoint)
        self._request_ids = itertools.count(1)
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._answered_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_reachable(self) -> bool:
        """Whether accountd answered anything lately. Free to ask: pings go out all the time."""
        if self._answered_at is None:
            return False
        return self._loop.time() - self._answered_at < transport.RPC_DEADLINE_S

    def start(self) -> None:
        """Begin to receive answers and to send pings."""
        self._tasks = [
            self._loop.create_task(self._receive()),
            self._loop.create_task(self._ping()),
        ]

    async def close(self) -> None:
        """Stop; whoever still waits is told that accountd is unreachable."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pending in self._pending.values():
            pending.cancel()
        self._socket.close()

    async def authorize(self, key_hash: str) -> Grant | Denial:
        """May the owner of this key talk? Raises ``UnreachableError``."""
        if not self.is_reachable:
            raise UnreachableError
        reply = await self._call(Request("authorize", {"key_hash": key_hash}))
        if reply.error is not None:
            return Denial(*reply.error)
        return _grant(reply.result)

    async def _call(self, request: Request) -> Reply:
        if len(self._pending) >= AUTHORIZATIONS_MAX:
            raise UnreachableError("too many requests wait for accountd")
        request_id = next(self._request_ids).to_bytes(_REQUEST_ID_BYTES, "big")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending[request_id] = future
        try:
            async with asyncio.timeout(transport.RPC_DEADLINE_S):
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
            try:
                await self._call(Request("ping"))
            except UnreachableError:
                if was_reachable:
                    log.warning("accountd unreachable", endpoint=self._endpoint)
            if self.is_reachable and not was_reachable:
                log.info("accountd reachable", endpoint=self._endpoint)
            was_reachable = self.is_reachable
            await asyncio.sleep(PING_S)


def _grant(result: object) -> Grant:
    if not isinstance(result, Mapping):
        raise UnreachableError("accountd answered nonsense to authorize")
    values: Mapping[str, Any] = result
    return Grant(
        account_id=str(values["account_id"]),
        key_indicator=str(values["key_indicator"]),
        token_remaining=int(values["token_remaining"]),
        topup_remaining=int(values["topup_remaining"]),
    )
