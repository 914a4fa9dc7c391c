"""Reports to accountd what this gateway sees of its providers, and obeys which are drained.

The answer to a report names the providers that an operator took out of service. New sessions avoid
them (``providers.health``), and live ones leave them here: a session whose connection may be
replaced, and that another provider can take over, gets another connection between two turns, a few
sessions a second. All others stay until they end. A gateway that cannot reach accountd goes on with
the last answer. Started by ``app``; nothing of it is on the path of a frame.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol, TypeGuard

import structlog

from gateway import background_tasks
from gateway.door.allowed_models import ModelTable
from gateway.door.dialer import Dialer, Place
from gateway.door.roster import Roster
from gateway.outdated_notice import OutdatedNotice
from gateway.providers.health import HealthState, ProviderHealth, Standing
from gateway.relay.lasting_session import LastingSession
from gateway.relay.session import Session
from shared.errors import OutdatedError, UnreachableError
from shared.provider_reports import (
    MODELS_MAX,
    NAME_CHARS_MAX,
    REASON_CHARS_MAX,
    REPORT_S,
    GatewayReport,
    ProviderReport,
    ReportedHealth,
)

log = structlog.get_logger()

# Until accountd answers for the first time: a session may be opened as soon as it does.
FIRST_S: Final = 0.1
# Between two sessions that leave a drained provider: each is a dial and a conversation that is told
# anew, and 1,000 sessions are gone within a minute.
MOVE_S: Final = 0.05
FAREWELL_S: Final = 1.0  # for the last report when the gateway stops
_HOST_CHARS_MAX: Final = NAME_CHARS_MAX - 9
_HEALTH: Final = {
    HealthState.HEALTHY: ReportedHealth.HEALTHY,
    HealthState.UNHEALTHY: ReportedHealth.UNHEALTHY,
    HealthState.HALF_OPEN: ReportedHealth.PROBED,
}


class DrainedProviders(Protocol):
    """Keeps which providers are drained, for all gateways."""

    async def report_providers(self, report: GatewayReport) -> frozenset[str]:
        """Hand over a report; the names of the drained providers. Raises ``UnreachableError``."""


class ProviderReports:
    """The reports of this gateway. ``start`` before use, ``close`` at the end."""

    def __init__(
        self,
        accountd: DrainedProviders,
        dialer: Dialer,
        roster: Roster,
        table: ModelTable,
        *,
        calls: Callable[[], Mapping[str, int]],
    ) -> None:
        """``calls``: how many calls there are at each provider; none of them can leave it."""
        self._loop = asyncio.get_running_loop()
        self._accountd = accountd
        self._health: ProviderHealth = dialer.health
        self._roster = roster
        self._calls = calls
        self._name = f"{socket.gethostname()[:_HOST_CHARS_MAX] or 'gateway'}-{secrets.token_hex(4)}"
        self._table = table
        self._needing = self._needs(self._health.drained)
        self._tasks: list[asyncio.Task[None]] = []
        self._notice = OutdatedNotice(
            "providers cannot be reported",
            hint="upgrade accountd: until then no provider can be drained",
        )
        self._pause_s = FIRST_S

    def start(self) -> None:
        """Start the task that reports."""
        self._tasks = [background_tasks.start(self._report_forever())]

    async def close(self) -> None:
        """Stop; tell accountd that this gateway is gone, for ``FAREWELL_S`` at most."""
        await background_tasks.stop(self._tasks)
        with contextlib.suppress(UnreachableError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._accountd.report_providers(GatewayReport(self._name, []))

    def to_move(self) -> Iterator[tuple[LastingSession, Place]]:
        """Sessions that another provider would serve now. Towards one that is not healthy, one of
        them: its dial is the probe.
        """
        probed: set[str] = set()
        for name in self._health.drained:
            for session, place in self._roster.at(name):
                if place.is_leaving or not _is_renewable(session):
                    continue
                refuge = self._refuge(place)
                if refuge is None or refuge in probed:
                    continue
                if not self._health.is_healthy(refuge):
                    probed.add(refuge)
                yield session, place

    # --- helpers ----------------------------------------------------------------------------------

    async def _report_forever(self) -> None:
        while True:
            next_at = self._loop.time() + self._pause_s
            await self._report()
            await self._move_sessions(until=next_at)
            await asyncio.sleep(max(0.0, next_at - self._loop.time()))

    async def _report(self) -> None:
        try:
            drained = await self._accountd.report_providers(self._made())
        except OutdatedError as exc:
            self._notice.outdated(str(exc))
        except UnreachableError:
            return  # ``rpc_channel`` has logged it
        else:
            self._notice.answered()
            self._obey(drained & set(self._health.seen))
        self._pause_s = REPORT_S

    def _obey(self, drained: frozenset[str]) -> None:
        before, self._health.drained = self._health.drained, drained
        if before != drained:
            self._needing = self._needs(drained)
        sessions = self._roster.count()
        for name in sorted(drained - before):
            log.warning("provider drained", provider=name, sessions=sessions[name])
        for name in sorted(before - drained):
            log.info("provider resumed", provider=name)
            for session, place in self._roster.at(name):
                if place.is_leaving and isinstance(session, LastingSession):
                    place.is_leaving = False
                    session.stay()

    def _needs(self, drained: frozenset[str]) -> dict[str, tuple[list[str], bool]]:
        """By provider, what ``ModelTable.needing`` says if drained others do not count."""
        names = list(self._health.seen)
        return {name: self._table.needing(name, set(names) - (drained - {name})) for name in names}

    def _made(self) -> GatewayReport:
        now, sessions = self._loop.time(), self._roster.count()
        names = self._health.seen
        return GatewayReport(
            self._name, [self._report_of(name, sessions[name], now) for name in names]
        )

    def _report_of(self, name: str, sessions: int, now: float) -> ProviderReport:
        seen, judged = self._health.seen[name], self._health.health_by_provider.get(name)
        only_for, has_choice = self._needing[name]
        is_drained = name in self._health.drained
        return ProviderReport(
            name,
            ReportedHealth.NOT_JUDGED if judged is None else _HEALTH[judged.state],
            "" if judged is None else judged.reason[:REASON_CHARS_MAX],
            sessions,
            self._calls().get(name, 0),
            # Counted where somebody wants to know it.
            sum(self._is_bound(*at) for at in self._roster.at(name)) if is_drained else 0,
            seen.dials_ms(now),
            seen.answers_ms(now),
            seen.failures,
            seen.last_failure(now),
            [model[:NAME_CHARS_MAX] for model in only_for[:MODELS_MAX]],
            len(only_for),
            has_choice,
        )

    # --- live sessions ----------------------------------------------------------------------------

    async def _move_sessions(self, *, until: float) -> None:
        """Have sessions leave the drained providers, one after the other."""
        for session, place in self.to_move():
            log.info(
                "session leaves drained provider",
                session=place.target.session_id, provider=place.target.provider,
            )  # fmt: skip
            place.is_leaving = True
            session.leave_between_turns()
            await asyncio.sleep(MOVE_S)
            if self._loop.time() >= until:
                return

    def _refuge(self, place: Place) -> str | None:
        """The provider that would serve the session now, and is not drained."""
        now = self._loop.time()
        for name in self._others(place):
            if self._health.standing(name, now) is Standing.SERVES:
                return name
        return None

    def _is_bound(self, session: Session, place: Place) -> bool:
        """Whether the session stays at its provider, drained or not, until it ends."""
        return next(self._others(place), None) is None or not _is_renewable(session)

    def _others(self, place: Place) -> Iterator[str]:
        """Where else the session may be served."""
        avoided = (self._health.drained, place.refused_at)
        for there in place.choices:
            if not any(there.provider in names for names in avoided):
                yield there.provider


def _is_renewable(session: Session) -> TypeGuard[LastingSession]:
    return isinstance(session, LastingSession) and session.is_renewable
