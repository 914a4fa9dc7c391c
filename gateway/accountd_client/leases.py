"""Keeps the leases of this gateway's sessions at accountd, which counts them over all gateways.

``door`` and ``calls`` make a lease before accountd is asked whether a key may talk, and give it
back when nothing comes of it, or its client is gone. accountd is told once a second, and at once of
what was given back: a client that connects again must not be refused on account of itself. One that
hears nothing of a gateway for some seconds frees what it held.
"""

import asyncio
import contextlib
import secrets
from typing import Final, Protocol

from gateway import background_tasks
from gateway.accountd_client.lease_book import Lease, LeaseBook, Renewal
from gateway.outdated_notice import OutdatedNotice
from shared.errors import OutdatedError, UnreachableError
from shared.metrics import Metric

LEASE_BYTES: Final = 8
RENEW_S: Final = 1.0
# After a request: many sessions that end at once are told together.
GAP_S: Final = 0.02
# While accountd is away, which costs no request: what is held is told once it is back.
AWAY_S: Final = 0.05
FAREWELL_S: Final = 1.0


class LeaseKeeper(Protocol):
    """accountd."""

    async def renew_leases(self, gateway: str, renewal: Renewal, *, is_last: bool = False) -> bool:
        """See ``RpcClient``."""


class Leases:
    """The leases of this process. ``start`` before use, ``close`` at the end."""

    def __init__(self, accountd: LeaseKeeper, gateway: str) -> None:
        """``gateway`` is the name of this process at accountd."""
        self._accountd = accountd
        self._book = LeaseBook(gateway)
        self._has_news = asyncio.Event()
        self._notice = OutdatedNotice(
            "sessions cannot be counted",
            hint="upgrade accountd: until then no limit of concurrent sessions holds",
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to tell accountd what is held."""
        self._book.on_news = self._has_news.set
        self._tasks = [background_tasks.start(self._renew_forever())]

    async def close(self) -> None:
        """Say that this gateway holds none any more, for ``FAREWELL_S`` at most."""
        await background_tasks.stop(self._tasks)
        if not self._book.is_silent:
            with contextlib.suppress(UnreachableError, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._accountd.renew_leases(
                        self._book.gateway, self._book.next(), is_last=True
                    )

    def new(self) -> Lease:
        """The lease of one session that somebody asks for."""
        return Lease(self._book, secrets.token_hex(LEASE_BYTES))

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_leases", "gauge",
                "Sessions and calls that count against a limit of concurrent sessions.",
                lambda: len(self._book),
            ),
        ]  # fmt: skip

    # --- helpers ----------------------------------------------------------------------------------

    async def _renew_forever(self) -> None:
        while True:
            self._has_news.clear()
            pause_s = RENEW_S if self._book.is_silent else await self._renew()
            await asyncio.sleep(GAP_S)
            await background_tasks.wait(self._has_news, pause_s)

    async def _renew(self) -> float:
        """Tell accountd; in how many seconds to do so again."""
        renewal = self._book.next()
        try:
            is_known = await self._accountd.renew_leases(self._book.gateway, renewal)
        except OutdatedError as exc:
            self._notice.outdated(str(exc))
            self._book.unheeded(renewal)
            return RENEW_S
        except UnreachableError:
            self._book.unheard()
            return AWAY_S  # ``rpc_channel`` has logged it
        self._notice.answered()
        self._book.answered(renewal, is_known=is_known)
        return 0.0 if self._book.is_urgent else RENEW_S
