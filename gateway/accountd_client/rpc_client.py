"""The RPC client: asks accountd which key may talk, what is durable, and what is left.

Called by ``door``, ``handles``, ``conversations``, ``endpoints``, ``credit`` and ``delivery``.
Every method raises ``UnreachableError`` when accountd does not answer in time, or answers what
cannot be read. While it is away, a key that was authorized less than ``grant_cache_s`` ago is
authorized again.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
import zmq.asyncio
from msgspec import to_builtins

from gateway.accountd_client.authorizations import (
    DENIALS,
    TOO_MANY,
    Authorization,
    AuthorizationCache,
    Denial,
    read_authorization,
)
from gateway.accountd_client.lease_book import Lease, Renewal
from gateway.accountd_client.recall_log import RecallLog
from gateway.accountd_client.rpc_channel import PING_DEADLINE_S, RpcChannel
from shared import zmq_sockets
from shared.announcements import (
    AnnouncedBalance,
    Recall,
    RecallCause,
    decode_balance,
    decode_recall,
)
from shared.errors import OutdatedError, UnreachableError
from shared.fields import WireError
from shared.metrics import Metric
from shared.provider_reports import GatewayReport
from shared.requests import Reply, Request
from shared.wire import EPOCH_MAX, PRODUCER_BYTES, SEQUENCE_MAX

log = structlog.get_logger()

# Of the producers named in a request for balances: a gateway sends as one or two at a time.
PRODUCERS_MAX: Final = 16
# accountd expects one at least. This one has no usage, so it changes no answer.
NO_PRODUCER: Final = bytes(PRODUCER_BYTES)
_UNKNOWN_METHOD: Final = "unknown_method"


class RpcClient:
    """Requests to accountd. ``start`` before use, ``close`` at the end."""

    def __init__(
        self, context: zmq.asyncio.Context, endpoint: str, *, grant_cache_s: float
    ) -> None:
        """``grant_cache_s``: 0 to 60; with 0 nobody is let in while accountd is away."""
        self._loop = asyncio.get_running_loop()
        self._channel = RpcChannel(context, endpoint)
        self._authorizations = AuthorizationCache(grant_cache_s)
        self.recall_log = RecallLog()  # what was taken back of what was authorized
        # The boot of accountd and its newest admin change: a restored one may lack it.
        self._newest_change: list[int] | None = None

    def start(self) -> None:
        """Begin to receive answers and to send pings."""
        self._channel.start()

    async def close(self) -> None:
        """Stop. Requests that still wait for an answer are cancelled."""
        await self._channel.close()

    @property
    def is_reachable(self) -> bool:
        """Whether accountd answered lately. It costs nothing to ask."""
        return self._channel.is_reachable

    @property
    def may_grant(self) -> bool:
        """Whether anybody can be let in: accountd answers, or did so lately enough."""
        seconds = max(zmq_sockets.RPC_DEADLINE_S, self._authorizations.seconds)
        return self._channel.has_answered_within(seconds)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_accountd_outdated", "gauge",
                "1 while accountd is of an earlier release than this gateway, which loses usage.",
                lambda: int(self._channel.is_outdated),
            ),
        ]  # fmt: skip

    # --- keys -------------------------------------------------------------------------------------

    async def authorize(self, key_hash: str, lease: Lease | None = None) -> Authorization | Denial:
        """Whether the owner of this key may talk. With a ``lease`` a session is to begin, which
        counts against the limits of key and account.
        """
        counted = {} if lease is None else lease.asking(key_hash)
        try:
            reply = await self._channel.call(
                Request("authorize", {"key_hash": key_hash, **counted})
            )
        except UnreachableError:
            return self._cached(key_hash, lease)
        if reply.error is not None:
            if lease is not None:
                lease.answered(is_counted=False)
            denial = Denial(*reply.error, reply.retry_after_s)
            if denial.code not in TOO_MANY:
                self._authorizations.remove(key_hash)
            return denial
        authorization = read_authorization(reply.result, key_hash, now=self._loop.time())
        self.recall_log.admitted(authorization.mark)
        self._authorizations.put(key_hash, authorization, now=self._loop.time())
        if lease is not None:
            lease.answered(is_counted=authorization.is_leased)
        return authorization

    def has_authorized(self, key_hash: str) -> bool:
        """Whether accountd said yes when it was asked last about this key; at most the newest
        10,000 are remembered.
        """
        return self._authorizations.has(key_hash)

    async def identify(self, key_hash: str) -> Authorization | Denial:
        """Whose key it is, whether or not the account may talk."""
        found = await self.report("console.account", {"key_hash": key_hash})
        if isinstance(found, Denial):
            return found
        return read_authorization({**found, "account_id": found.get("id"), "key_indicator": ""})

    async def recalls(
        self, since: int | None, *, gateway: str, ended: Mapping[int, int], is_last: bool = False
    ) -> tuple[int, list[Recall]]:
        """(the number up to which these are all, what was taken back after ``since``). None asks
        for the number alone. It says as well that ``gateway`` has obeyed all up to ``since``, and
        how many sessions ``ended`` by which number. ``is_last``: the gateway stops.
        """
        counts = [{"number": number, "sessions": count} for number, count in ended.items()]
        params = {"since": since, "gateway": gateway, "ended": counts, "is_last": is_last}
        match await self._ask("recalls", params, PING_DEADLINE_S):
            case {"mark": int(mark), "recalls": [*found], **others}:
                self._remember(others.get("changes"))
                with contextlib.suppress(TypeError, WireError):
                    return mark, [decode_recall(frames) for frames in found]
        raise UnreachableError("accountd answered nonsense to recalls")

    async def renew_leases(self, gateway: str, renewal: Renewal, *, is_last: bool = False) -> bool:
        """Tell what ``gateway`` has released and what it holds; whether accountd knew the gateway.
        ``is_last``: it stops, and holds nothing.
        """
        params = {
            "gateway": gateway, "released": renewal.released, "held": renewal.held,
            "is_last": is_last,
        }  # fmt: skip
        match await self._ask("leases.renew", params, PING_DEADLINE_S):
            case {"is_known": bool(is_known)}:
                return is_known
        raise UnreachableError("accountd answered nonsense to leases.renew")

    # --- usage and balances -----------------------------------------------------------------------

    async def sync(
        self, producers: Sequence[bytes], seen: Sequence[int] = ()
    ) -> tuple[int, list[int]]:
        """(epoch of accountd, what is durable of each producer). It tells what was ``seen`` to be
        durable of each, which a restored accountd may lack.

        The deadline is short: when a request was lost with a dying accountd, the next one must not
        wait for it.
        """
        told: dict[str, Any] = {"seen": list(seen)} if seen else {}
        if self._newest_change is not None:
            told["changes"] = self._newest_change
        request = Request("sync", {"producers": list(producers), **told})
        reply = await self._channel.call(request, PING_DEADLINE_S)
        return _watermarks(reply, len(producers))

    async def balances(
        self, accounts: Sequence[str], producers: Sequence[bytes]
    ) -> list[AnnouncedBalance]:
        """What the accounts have left, and how much of the producers' usage that includes.

        ``producers`` may be empty: a balance is also missing when all usage is durable already.
        """
        named = list(producers)[:PRODUCERS_MAX] or [NO_PRODUCER]
        params = {"accounts": list(accounts), "producers": named}
        reply = await self._channel.call(Request("balances", params), PING_DEADLINE_S)
        try:
            return [decode_balance(frames) for frames in reply.result["balances"]]
        except (TypeError, KeyError, WireError):
            raise UnreachableError("accountd answered nonsense to balances") from None

    async def rate_card(self) -> tuple[str, str]:
        """The card that accountd charges by: its version and its TOML, which is empty for the
        built-in card.
        """
        reply = await self._channel.call(Request("rates"), PING_DEADLINE_S)
        match reply.result:
            case {"version": str(version), "text": str(text)}:
                return version, text
        raise UnreachableError("accountd answered nonsense to rates")

    # --- handles, providers, reports --------------------------------------------------------------

    async def learn_handles(self, digests: Sequence[bytes], accounts: Sequence[str]) -> None:
        """See ``gateway.handles.ownership.HandleOwners``."""
        params = {"names": list(digests), "accounts": list(accounts)}
        await self._ask("handles.learn", params)

    async def use_handle(
        self, digest: bytes, account_id: str, *, claims: bool, is_sought: bool = False
    ) -> bool:
        """See ``gateway.handles.ownership.HandleOwners``."""
        params = {"names": [digest], "account_id": account_id, "claims": claims}
        if is_sought:
            params["is_sought"] = True
        match await self._ask("handles.use", params):
            case {"is_allowed": bool(is_allowed)}:
                return is_allowed
        raise UnreachableError("accountd answered nonsense to handles.use")

    async def report_providers(self, report: GatewayReport) -> frozenset[str]:
        """See ``gateway.door.provider_reports.DrainedProviders``."""
        match await self._ask("providers.report", to_builtins(report), PING_DEADLINE_S):
            case {"drained": [*names]}:
                return frozenset(map(str, names))
        raise UnreachableError("accountd answered nonsense to providers.report")

    async def report(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Denial:
        """The answer to a report of the console, or to a request about conversations."""
        reply = await self._channel.call(Request(method, dict(params)))
        if reply.error is not None:
            return Denial(*reply.error)
        if not isinstance(reply.result, Mapping):
            raise UnreachableError(f"accountd answered nonsense to {method}")
        return reply.result

    # --- helpers ----------------------------------------------------------------------------------

    def _remember(self, changes: object) -> None:
        match changes:  # an earlier accountd does not say
            case [int(epoch), int(number)] if epoch and number > (self._newest_change or (0, 0))[1]:
                self._newest_change = [epoch, number]

    async def _ask(
        self,
        method: str,
        params: dict[str, Any],
        deadline_s: float = zmq_sockets.RPC_DEADLINE_S,
    ) -> object:
        """The answer; raises ``OutdatedError`` where accountd does not know the method."""
        reply = await self._channel.call(Request(method, params), deadline_s)
        if reply.error is not None:
            kind = OutdatedError if reply.error[0] == _UNKNOWN_METHOD else UnreachableError
            raise kind(f"accountd cannot answer {method}: {reply.error[1]}")
        return reply.result

    def _cached(self, key_hash: str, lease: Lease | None) -> Authorization | Denial:
        now = self._loop.time()
        authorization = self._authorizations.get(key_hash, now=now)
        if authorization is None or not self.recall_log.knows_since(authorization.mark):
            raise UnreachableError
        if authorization.expires_at is not None and now >= authorization.expires_at:
            return DENIALS[RecallCause.KEY_EXPIRED]
        if (recall := self.recall_log.refuses(authorization, key_hash)) is not None:
            if recall.cause not in DENIALS:
                raise UnreachableError  # only accountd knows whether the key may still open some
            return DENIALS[recall.cause]
        log.info("authorization from the cache", account=authorization.account_id)
        if lease is not None and authorization.is_leased:
            lease.assumed()
        return authorization


def _watermarks(reply: Reply, count: int) -> tuple[int, list[int]]:
    match reply.result:
        case {"epoch": int(epoch), "applied_through": [*throughs]} if (
            len(throughs) == count
            and 0 < epoch <= EPOCH_MAX
            and all(type(t) is int and 0 <= t <= SEQUENCE_MAX for t in throughs)
        ):
            return epoch, throughs
    raise UnreachableError("accountd answered nonsense to sync")
