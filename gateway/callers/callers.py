"""Who knocks, by address: how many connections each has, and how many wrong keys it has tried.

``server`` asks for every client. Loops and floods of one address are refused here, with 429 and
``Retry-After``, before they cost a question to accountd; others notice nothing of them. Addresses
are those of ``client_address``: behind a proxy that is not trusted, all clients are one
caller, and a proxy that is trusted is none.

A key that accountd has let in lately passes however many wrong ones its address has tried: a guest
in an office, or a client behind an unknown proxy, is not locked out by a neighbour.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable

import structlog

from gateway.callers.client_address import TrustedProxies, caller_of
from gateway.http.refusals import Refusal, too_many_requests
from gateway.limits import (
    CALLERS_KNOWN_MAX,
    CROWDED_ANSWERS_MAX,
    CROWDED_RETRY_S,
    WRONG_KEY_S,
    WRONG_KEYS_BURST,
)
from shared.metrics import Metric
from shared.token_bucket import TokenBuckets

log = structlog.get_logger()

# A trusted proxy: its clients are counted, when it has told who they are.
PROXY = ""


class Callers:
    """All addresses that have a connection, and those that have lately tried wrong keys."""

    def __init__(self, proxies: TrustedProxies, *, each_max: int) -> None:
        """``each_max``: connections of one address, 0 for any number."""
        self.proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._each_max = each_max
        self._connections = Counter[str]()
        self._wrong_keys = TokenBuckets(
            burst=WRONG_KEYS_BURST, seconds=WRONG_KEY_S, most=CALLERS_KNOWN_MAX
        )
        self._cut = 0
        self._refused = 0
        self._is_logged_until = 0.0

    def arrive(self, host: str) -> str | None:
        """A connection from ``host``: the caller by which it is counted until ``leave``, ``PROXY``
        for a trusted proxy; None where it is to be cut unheard.

        Beyond ``each_max`` a few are heard, to be refused with a reason.
        """
        if self.proxies.has(host):
            return PROXY
        caller = caller_of(host)
        if self._each_max and self._connections[caller] >= self._each_max + CROWDED_ANSWERS_MAX:
            self._cut += 1
            return None
        self._connections[caller] += 1
        return caller

    def leave(self, caller: str) -> None:
        """A connection that was counted has ended."""
        if caller == PROXY:
            return
        self._connections[caller] -= 1
        if not self._connections[caller]:
            del self._connections[caller]

    def refusal_if_crowded(self, caller: str) -> Refusal | None:
        """429 where the caller has more connections than it may."""
        if not self._each_max or self._connections[caller] <= self._each_max:
            return None
        return self.crowded()

    def crowded(self) -> Refusal:
        """429: the caller has more connections than it may."""
        self._refused += 1
        return too_many_requests(
            f"more than {self._each_max} connections of one address; close some, then try again",
            retry_after_s=CROWDED_RETRY_S,
        )

    def refusal_if_guessing(self, caller: str, is_known: Callable[[], bool]) -> Refusal | None:
        """429 where the caller has tried too many wrong keys, unless this one is known to be right;
        ``is_known`` says so.
        """
        wait_s = self._wrong_keys.wait_s(caller, self._loop.time())
        if not wait_s or is_known():
            return None
        self._refused += 1
        self._tell(caller)
        return too_many_requests(
            "too many wrong API keys from this address; try again later",
            retry_after_s=math.ceil(wait_s),
        )

    def wrong_key(self, caller: str) -> None:
        """A key of this caller's was refused as unknown. The caller that was last heard of longest
        ago is forgotten where there are too many.
        """
        if caller != PROXY:
            self._wrong_keys.spend(caller, self._loop.time())

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_callers", "gauge", "Addresses that have a connection.",
                lambda: len(self._connections),
            ),
            Metric(
                "rts_gateway_callers_refused", "counter",
                "Requests refused for what their address does: connections or wrong keys.",
                lambda: self._refused,
            ),
            Metric(
                "rts_gateway_callers_cut", "counter",
                "Connections cut unheard, of addresses with too many.", lambda: self._cut,
            ),
        ]  # fmt: skip

    def _tell(self, caller: str) -> None:
        """One line a minute is enough to act on."""
        now = self._loop.time()
        if now < self._is_logged_until:
            return
        self._is_logged_until = now + 60.0
        log.warning(
            "wrong keys from one address",
            address=caller,
            hint="if that is a load balancer of yours, set GATEWAY_TRUSTED_PROXIES",
        )
