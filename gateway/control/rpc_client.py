"""Asks accountd who may talk, and what is durable: the RPC client. Owns the DEALER socket.

While accountd is away, whoever was let in less than ``grant_cache_s`` ago is let in again.
"""

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
import zmq
import zmq.asyncio

from gateway import tasks
from gateway.limits import AUTHORIZATIONS_MAX, GRANTS_MAX
from shared import transport
from shared.announcements import Balance, decode_balance
from shared.errors import OutdatedError, UnreachableError
from shared.metrics import Metric
from shared.wire import (
    EPOCH_MAX,
    LEVEL,
    SEQUENCE_MAX,
    Reply,
    Request,
    WireError,
    decode_reply,
    encode_request,
)

log = structlog.get_logger()

PING_S: Final = 1.0
PING_DEADLINE_S: Final = 1.5
PRODUCERS_MAX: Final = 16  # in a question about balances: we speak as one or two
_REQUEST_ID_BYTES: Final = 8
_UNKNOWN_METHOD: Final = "unknown_method"


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


class RpcClient:
    """Requests to accountd. ``start`` before use, ``close`` at the end."""

    def __init__(
        self, context: zmq.asyncio.Context, endpoint: str, *, grant_cache_s: float
    ) -> None:
        """``grant_cache_s``: 0 to 60; 0 lets nobody in without accountd."""
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._socket = context.socket(zmq.DEALER)
        transport.configure(self._socket)
        self._socket.setsockopt(zmq.LINGER, 0)  # a question that nobody waits for any more
        self._socket.connect(endpoint)
        self._request_ids = itertools.count(1)
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._answered_at: float | None = None
        self._grant_cache_s = grant_cache_s
        self._granted: OrderedDict[str, tuple[float, Grant]] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []
        # What accountd understands (``LEVEL``), and of which boot that is known.
        self._level = LEVEL
        self._judged: object = None

    @property
    def is_reachable(self) -> bool:
        """Whether accountd answered anything lately. Free to ask: pings go out all the time."""
        if self._answered_at is None:
            return False
        return self._loop.time() - self._answered_at < transport.RPC_DEADLINE_S

    @property
    def may_grant(self) -> bool:
        """Whether anybody can be let in: accountd answers, or did so lately enough."""
        if self._answered_at is None:
            return False
        age_s = self._loop.time() - self._answered_at
        return age_s < max(transport.RPC_DEADLINE_S, self._grant_cache_s)

    def start(self) -> None:
        """Begin to receive answers and to send pings."""
        self._tasks = [tasks.start(self._receive()), tasks.start(self._ping())]

    async def close(self) -> None:
        """Stop; whoever still waits is told that accountd is unreachable."""
        await tasks.stop(self._tasks)
        for pending in self._pending.values():
            pending.cancel()
        self._socket.close()

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_accountd_outdated", "gauge",
                "1 while accountd is of an earlier release than this gateway, which loses usage.",
                lambda: int(self._level < LEVEL),
            ),
        ]  # fmt: skip

    async def authorize(self, key_hash: str) -> Grant | Denial:
        """May the owner of this key talk? Raises ``UnreachableError``."""
        try:
            if not self.is_reachable:
                raise UnreachableError
            reply = await self._call(Request("authorize", {"key_hash": key_hash}))
        except UnreachableError:
            return self._cached(key_hash)
        if reply.error is not None:
            self._granted.pop(key_hash, None)
            return Denial(*reply.error)
        grant = _grant(reply.result)
        self._granted[key_hash] = (self._loop.time(), grant)
        self._granted.move_to_end(key_hash)
        if len(self._granted) > GRANTS_MAX:
            self._granted.popitem(last=False)
        return grant

    async def identify(self, key_hash: str) -> Grant | Denial:
        """Whose key it is, whatever the account may do. Raises ``UnreachableError``."""
        found = await self.report("console.account", {"key_hash": key_hash})
        if isinstance(found, Denial):
            return found
        return _grant({**found, "account_id": found.get("id"), "key_indicator": ""})

    async def sync(self, producers: Sequence[bytes]) -> tuple[int, list[int]]:
        """(epoch of accountd, what is durable of each producer). Raises ``UnreachableError``."""
        if not self.is_reachable:
            raise UnreachableError
        # A question that a dying accountd took with it must not keep the next one waiting.
        request = Request("sync", {"producers": list(producers)})
        reply = await self._call(request, deadline_s=PING_DEADLINE_S)
        return _watermarks(reply, len(producers))

    async def balances(self, accounts: Sequence[str], producers: Sequence[bytes]) -> list[Balance]:
        """What the accounts have left, with how much of the producers' usage that includes.

        Raises ``UnreachableError``.
        """
        if not self.is_reachable:
            raise UnreachableError
        params = {"accounts": list(accounts), "producers": list(producers)[:PRODUCERS_MAX]}
        reply = await self._call(Request("balances", params), deadline_s=PING_DEADLINE_S)
        try:
            return [decode_balance(frames) for frames in reply.result["balances"]]
        except (TypeError, KeyError, WireError):
            raise UnreachableError("accountd answered nonsense to balances") from None

    async def rate_card(self) -> tuple[str, str]:
        """The card that accountd charges by: its version and its TOML, which is empty for the
        built-in card. Raises ``UnreachableError``.
        """
        if not self.is_reachable:
            raise UnreachableError
        reply = await self._call(Request("rates"), deadline_s=PING_DEADLINE_S)
        match reply.result:
            case {"version": str(version), "text": str(text)}:
                return version, text
        raise UnreachableError("accountd answered nonsense to rates")

    async def learn_handles(self, names: Sequence[bytes], accounts: Sequence[str]) -> None:
        """See ``gateway.handles.ownership.OwnerStore``."""
        params = {"names": list(names), "accounts": list(accounts)}
        await self._ask_handles("handles.learn", params)

    async def use_handle(self, name: bytes, account_id: str, *, claims: bool) -> bool:
        """See ``gateway.handles.ownership.OwnerStore``."""
        params = {"names": [name], "account_id": account_id, "claims": claims}
        match await self._ask_handles("handles.use", params):
            case {"is_allowed": bool(is_allowed)}:
                return is_allowed
        raise UnreachableError("accountd answered nonsense to handles.use")

    async def report(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Denial:
        """The answer to a report of the console. Raises ``UnreachableError``."""
        if not self.is_reachable:
            raise UnreachableError
        reply = await self._call(Request(method, dict(params)))
        if reply.error is not None:
            return Denial(*reply.error)
        if not isinstance(reply.result, Mapping):
            raise UnreachableError(f"accountd answered nonsense to {method}")
        return reply.result

    async def _ask_handles(self, method: str, params: dict[str, Any]) -> object:
        if not self.is_reachable:
            raise UnreachableError
        reply = await self._call(Request(method, params))
        if reply.error is not None:
            kind = OutdatedError if reply.error[0] == _UNKNOWN_METHOD else UnreachableError
            raise kind(f"accountd cannot answer {method}: {reply.error[1]}")
        return reply.result

    def _cached(self, key_hash: str) -> Grant:
        granted_at, grant = self._granted.get(key_hash, (float("-inf"), None))
        if grant is None or self._loop.time() - granted_at >= self._grant_cache_s:
            raise UnreachableError
        log.info("grant from the cache", account=grant.account_id)
        return grant

    async def _call(self, request: Request, deadline_s: float = transport.RPC_DEADLINE_S) -> Reply:
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
                self._judge(await self._call(Request("ping"), deadline_s=PING_DEADLINE_S))
            if self.is_reachable and not was_reachable:
                log.info("accountd reachable", endpoint=self._endpoint)
            elif was_reachable and not self.is_reachable:
                log.warning("accountd unreachable", endpoint=self._endpoint)
                self._judged = None  # the next that answers may be another one
            was_reachable = self.is_reachable
            await asyncio.sleep(PING_S)

    def _judge(self, answered: Reply) -> None:
        """Whether accountd understands all that it is told: looked at once for each of its boots.

        One of before there were levels says nothing.
        """
        if answered.error is not None:  # it has troubles of its own
            return
        told = answered.result if isinstance(answered.result, Mapping) else {}
        level, boot = told.get("level", 0), told.get("epoch", 0)
        if (level, boot) == self._judged:
            return
        self._judged = level, boot
        self._level = level if isinstance(level, int) else 0
        if self._level < LEVEL:
            log.error(
                "accountd outdated",
                found=self._level,
                expected=LEVEL,
                hint="it drops what it does not know of usage, and what it drops is never charged:"
                " upgrade accountd now; accountd first, then gateways",
            )


def _grant(result: object) -> Grant:
    values: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    match values:
        case {
            "account_id": str(account_id),
            "key_indicator": str(key_indicator),
            "token_remaining": int(tokens),
            "topup_remaining": int(topup),
        }:
            return Grant(account_id, key_indicator, tokens, topup)
    raise UnreachableError("accountd answered nonsense to authorize")


def _watermarks(reply: Reply, count: int) -> tuple[int, list[int]]:
    match reply.result:
        case {"epoch": int(epoch), "applied_through": [*throughs]} if (
            len(throughs) == count
            and 0 < epoch <= EPOCH_MAX
            and all(type(t) is int and 0 <= t <= SEQUENCE_MAX for t in throughs)
        ):
            return epoch, throughs
    raise UnreachableError("accountd answered nonsense to sync")
