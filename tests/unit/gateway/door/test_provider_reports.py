"""What a gateway reports of its providers, and which sessions it has leave the drained ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.datastructures import Headers

from gateway.door import provider_reports
from gateway.door.allowed_models import read_table
from gateway.door.dialer import Dialer, Place
from gateway.door.provider_reports import ProviderReports
from gateway.door.roster import Roster
from gateway.providers.base import Target
from gateway.providers.catalog import PROVIDER_NAMES, ProviderConfig, open_providers
from gateway.providers.health import FAILURES_MAX, OPEN_S
from gateway.relay.lasting_session import LastingSession
from gateway.relay.session_state import SessionState
from shared.errors import OutdatedError, UnreachableError
from shared.provider_reports import GatewayReport, ReportedHealth

MODELS = """
    [models."safe"]
    providers = [{provider = "openai"}, {provider = "xai"}]
    [models."single"]
    provider = "openai"
"""


class Accountd:
    """Answers reports with what is ``drained``, or with a failure."""

    def __init__(self) -> None:
        self.drained: frozenset[str] = frozenset()
        self.failure: Exception | None = None
        self.reports: list[GatewayReport] = []
        self._reported = asyncio.Event()

    async def report_providers(self, report: GatewayReport) -> frozenset[str]:
        """Hear a report."""
        self.reports.append(report)
        self._reported.set()
        if self.failure is not None:
            raise self.failure
        return self.drained

    async def heard(self, count: int = 2) -> GatewayReport:
        """The last of so many further reports: with two the answer to the first was obeyed."""
        for _ in range(count):
            self._reported.clear()
            async with asyncio.timeout(20):
                await self._reported.wait()
        return self.reports[-1]


class Session(LastingSession):
    """One that notes that it was asked to leave."""

    def __init__(self, state: SessionState = SessionState.RELAYING) -> None:
        self.state, self._departure, self.asked = state, None, 0
        self.is_to_stay = False

    def leave_between_turns(self) -> None:
        """See ``LastingSession``."""
        self.asked += 1

    def stay(self) -> None:
        """See ``LastingSession``."""
        self.is_to_stay = True


class World:
    """A gateway's parts, without connections."""

    def __init__(self) -> None:
        self.accountd, self.roster = Accountd(), Roster()
        names = ("openai", "xai")
        configs = [ProviderConfig(name, "http://127.0.0.1:9", "key") for name in names]
        table = read_table(MODELS, providers=PROVIDER_NAMES)
        self.dialer = Dialer(open_providers(configs), table)
        self.reports = ProviderReports(
            self.accountd, self.dialer, self.roster, table, calls=lambda: {"openai": 2}
        )

    def session(self, *choices: str, state: SessionState = SessionState.RELAYING) -> Session:
        """One that is served by the first of ``choices``."""
        targets = [Target(name, "safe", "s", "/v1/realtime", "", False) for name in choices]
        session = Session(state)
        self.roster.add(session, Place(targets[0], targets, Headers()))
        return session

    def fails(self, provider: str) -> None:
        """It becomes unhealthy."""
        for _ in range(FAILURES_MAX):
            self.dialer.health.failed(provider, asyncio.get_running_loop().time(), "no answer")


@asynccontextmanager
async def reporting() -> AsyncIterator[World]:
    """A gateway that reports."""
    world = World()
    world.reports.start()
    try:
        yield world
    finally:
        await world.reports.close()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPORT_S", "FIRST_S", "MOVE_S"):
        monkeypatch.setattr(provider_reports, name, 0.001)


async def test_a_report_tells_what_sessions_see() -> None:
    """Of each provider, with the models that it alone serves."""
    async with reporting() as world:
        world.session("openai", "xai")
        world.dialer.health.succeeded("openai", 0.25, asyncio.get_running_loop().time())
        world.fails("xai")
        openai, xai = (await world.accountd.heard()).providers
    assert (openai.name, openai.health, openai.sessions) == ("openai", ReportedHealth.HEALTHY, 1)
    assert (openai.calls, xai.calls) == (2, 0)
    assert openai.dials_ms == [250]
    assert (openai.only_for, openai.only_for_total, openai.has_choice) == (["single"], 1, True)
    assert (xai.health, xai.failures) == (ReportedHealth.UNHEALTHY, {"dial": FAILURES_MAX})
    assert "no answer" in xai.reason
    assert xai.last_failure is not None
    assert (xai.only_for, xai.has_choice) == ([], True)


async def test_a_provider_beside_one_that_is_drained_serves_alone() -> None:
    """So the answer to another drain says that it takes nothing out of service."""
    async with reporting() as world:
        world.accountd.drained = frozenset({"openai"})
        openai, xai = (await world.accountd.heard(5)).providers
    assert (openai.only_for, openai.has_choice) == (["single"], True)
    assert (xai.only_for, xai.has_choice) == (["safe"], False)


async def test_sessions_that_can_leave_a_drained_provider_are_asked_once() -> None:
    """Those with another choice, whose connection stands; the others are counted as bound."""
    async with reporting() as world:
        leaving, elsewhere = world.session("openai", "xai"), world.session("xai", "openai")
        bound = [
            world.session("openai"),
            world.session("openai", "xai", state=SessionState.DRAINING),
        ]
        world.accountd.drained = frozenset({"openai", "of another gateway"})
        report = await world.accountd.heard(5)
        assert (leaving.asked, elsewhere.asked) == (1, 0)
        assert [session.asked for session in bound] == [0, 0]
        assert world.dialer.health.drained == {"openai"}
        assert (report.providers[0].sessions, report.providers[0].bound) == (3, 2)


async def test_no_session_leaves_for_a_provider_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it may be tried again one of them is the probe."""
    world = World()
    world.dialer.health.drained = frozenset({"openai"})
    sessions = [world.session("openai", "xai") for _ in range(3)]
    assert [session for session, _ in world.reports.to_move()] == sessions
    world.fails("xai")
    assert list(world.reports.to_move()) == []
    later = asyncio.get_running_loop().time() + OPEN_S
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: later)
    assert [session for session, _ in world.reports.to_move()] == sessions[:1]


@pytest.mark.parametrize("failure", [UnreachableError("away"), OutdatedError("too old")])
async def test_without_an_answer_the_last_one_holds(failure: Exception) -> None:
    """accountd may be away for long, or be replaced by one of before."""
    async with reporting() as world:
        world.accountd.drained = frozenset({"xai"})
        await world.accountd.heard()
        world.accountd.drained, world.accountd.failure = frozenset(), failure
        await world.accountd.heard()
        assert world.dialer.health.drained == {"xai"}
        world.accountd.failure = None
        await world.accountd.heard()
        assert world.dialer.health.drained == frozenset()


async def test_a_gateway_that_stops_says_so() -> None:
    """Its sessions are not counted any more; without accountd it stops as fast."""
    async with reporting() as world:
        await world.accountd.heard()
    assert world.accountd.reports[-1].providers == []
    async with reporting() as world:
        await world.accountd.heard()
        world.accountd.failure = UnreachableError("away")


async def test_who_has_not_left_when_its_provider_is_resumed_stays() -> None:
    """Only who was asked to leave is told so; a drain that follows asks again."""
    async with reporting() as world:
        leaving, bound = world.session("openai", "xai"), world.session("openai")
        for asked in (1, 2):
            world.accountd.drained = frozenset({"openai"})
            await world.accountd.heard(3)
            assert (leaving.asked, leaving.is_to_stay) == (asked, False)
            world.accountd.drained = frozenset()
            await world.accountd.heard(3)
            assert (leaving.is_to_stay, bound.is_to_stay) == (True, False)
            leaving.is_to_stay = False
