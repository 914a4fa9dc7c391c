"""Keeps the rate card that accountd charges by, so that usage is estimated at the same prices.

Each announced balance names the version of the card; a new version is fetched over RPC. Until it is
known, the card before it counts, at the start the built-in one. Owned by ``balances``.
"""

import asyncio
from typing import Final

import structlog

from gateway import background_tasks
from gateway.accountd_client.rpc_client import RpcClient
from shared.errors import UnreachableError
from shared.rate_card import RateCardError, read_rates
from shared.rates import DEFAULT_RATES
from shared.usage import ESTIMATES, UsageBatch

log = structlog.get_logger()

RETRY_S: Final = 0.5


class Prices:
    """The newest rate card that is known. ``start`` before use, ``stop`` at the end."""

    def __init__(self, accountd: RpcClient) -> None:
        self._accountd = accountd
        self._rates = DEFAULT_RATES
        self._fetched = DEFAULT_RATES.version  # also where that card could not be read
        self._is_wanted = asyncio.Event()
        self._is_wanted.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to fetch the card, now and whenever its version changes."""
        self._tasks = [background_tasks.start(self._fetch_when_wanted())]

    async def stop(self) -> None:
        """Fetch no more."""
        await background_tasks.stop(self._tasks)

    def announced(self, version: str) -> None:
        """accountd charges by this version."""
        if version != self._fetched:
            self._is_wanted.set()

    def price(self, single: UsageBatch) -> int:
        """What accountd will charge for it, in nano-credits before it rounds; 0 for an estimate,
        which accountd may not charge.
        """
        return 0 if single.kind in ESTIMATES else self._rates.price(single)

    async def _fetch_when_wanted(self) -> None:
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                self._use(*await self._accountd.rate_card())
            except UnreachableError:
                self._is_wanted.set()
            await asyncio.sleep(RETRY_S)

    def _use(self, version: str, text: str) -> None:
        if version == self._fetched:
            return
        self._fetched = version
        try:
            self._rates = read_rates(text.encode()) if text else DEFAULT_RATES
        except RateCardError as exc:
            hint = f"this gateway is older than accountd; it estimates by {self._rates.version!r}"
            log.error("rate card unreadable", version=version, detail=str(exc), hint=hint)
        else:
            log.info("rate card", version=version, entries=len(self._rates.entries))
