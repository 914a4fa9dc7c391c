"""One run: sessions, kills and stops at random instants, then quiet, then the verdict."""

import asyncio
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accountd.ctl.client import call
from tests.chaos.clients import Crowd
from tests.chaos.cluster import (
    FORGETFUL_GATEWAY,
    Place,
    accountd_place,
    doors,
    gateway_places,
    make_database,
)
from tests.chaos.grants import Granting, Witness, restored
from tests.chaos.oracle import Verdict, judge, read_log, read_row
from tests.support.harness import Cluster, cluster_folder
from tests.support.standby import Standby

ROWS_MAX = 1_000  # of one account in one answer: more accounts keep below it
SETTLE_S = 60.0
WARM_UP_S = 1.0
QUIET_S = 2.0  # longer than a resend takes
HEARD_S = 2.5  # in which a gateway hears of the newest change


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. The pauses are averages, in seconds."""

    seed: int
    kills: int = 100
    restores: int = 0  # of an older copy of the database, at random moments
    promotions: int = 0  # of a standby, each after a kill of accountd; not together with restores
    responses: int = 0  # that clients have heard by the end, however slow the machine is
    gateways: int = 3
    clients: int = 40
    accounts: int = 60
    client_pause_s: float = 0.15
    fault_pause_s: float = 1.6
    # accountd takes so many messages at a time, then pauses: about as fast as usage comes, so that
    # a kill always finds a queue.
    group: int = 4
    accountd_pause_s: float = 0.15
    kills_gateways: bool = True
    has_resends: bool = True
    settle_s: float = SETTLE_S
    # Checkouts of another release: of accountd, and of gateways, in turns; None is this one.
    accountd_from: Path | None = None
    gateways_from: tuple[Path | None, ...] = (None,)


@dataclass
class Report:
    """What happened, and what was found."""

    verdict: Verdict
    crowd: Crowd
    accountd_kills: int = 0
    gateway_kills: int = 0
    stops: int = 0
    restores: int = 0
    promotions: int = 0
    grants: int = 0  # made while processes died
    put_back: int = 0  # by restores, from the journal or the replaced database
    made_again: int = 0  # changes of which gateways alone knew
    problems: list[str] = field(default_factory=list)  # with these
    duplicates: int = 0
    adopted: int = 0
    seconds: float = 0.0
    audit: dict[str, Any] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    @property
    def drift(self) -> int:
        """Accounts whose balance is not what their rows say."""
        return len(self.audit["drift"])

    @property
    def unfinished(self) -> int:
        """Producers that are not COMPLETE."""
        producers = self.audit["producers"]
        return len(producers["incomplete"]) + int(producers.get("open", 0))

    @property
    def missing(self) -> int:
        """Batches and changes that were in the ledger once; an earlier accountd does not tell."""
        expected = self.audit.get("expected", {})
        is_unknown = expected.get("changes_unknown_after") is not None
        return (
            sum(expected.get(name, 0) for name in ("batches_total", "changes_total")) + is_unknown
        )

    @property
    def is_clean(self) -> bool:
        """Whether the promise was kept."""
        return (
            self.verdict.is_clean
            and not (self.drift or self.unfinished or self.tracebacks or any(self.exit_codes))
            and not (self.audit["rejected"] or self.missing or self.problems)
        )

    def table(self) -> str:
        """The report as text."""
        v, crowd = self.verdict, self.crowd
        rows = [
            ("seconds", f"{self.seconds:.0f}"),
            ("sessions", f"{crowd.sessions:,} ({crowd.cut_off:,} cut, {crowd.refused:,} refused)"),
            ("responses sent", f"{v.sent:,}"),
            ("received by clients", f"{v.received:,}"),
            ("charged", f"{v.charged:,}"),
            ("kills", f"{self.accountd_kills} accountd, {self.gateway_kills} gateways"),
            ("stops", f"{self.stops}"),
            ("restores", f"{self.restores}"),
            ("promotions of a standby", f"{self.promotions}"),
            ("grants meanwhile", f"{self.grants:,}"),
            ("put back, made again", f"{self.put_back:,}, {self.made_again:,}"),
            ("not as granted", f"{len(self.problems)}"),
            ("missing in the audit", f"{self.missing:,}"),
            ("duplicates refused", f"{self.duplicates:,}"),
            ("spools adopted", f"{self.adopted}"),
            ("estimates", f"{v.estimated}"),
            ("unknown in flight", f"{v.in_flight}"),
            ("rejected", f"{self.audit['rejected']}"),
            ("producers not complete", f"{self.unfinished}"),
            ("tracebacks", f"{len(self.tracebacks)}"),
            ("exit codes not 0", f"{sum(1 for code in self.exit_codes if code)}"),
            ("lost", f"{len(v.lost)}"),
            ("doubled", f"{len(v.doubled)}"),
            ("misstated, invented", f"{len(v.misstated)}, {len(v.invented)}"),
            ("drift", f"{self.drift}"),
        ]
        return "\n".join(f"  {name:<24}{value}" for name, value in rows)


class Run:
    """The processes and the clients of one plan."""

    def __init__(self, plan: Plan, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._cluster = cluster
        self._say = say
        self._chance = random.Random(plan.seed)
        script = None if plan.has_resends else FORGETFUL_GATEWAY
        cluster.start_simulator("--pace", "0")
        self._accountd = accountd_place(cluster, group=plan.group, pause_s=plan.accountd_pause_s)
        self._gateways = gateway_places(cluster, plan.gateways, script=script)
        if plan.accountd_from is not None:
            self._accountd.use(plan.accountd_from)
            make_database(cluster, plan.accountd_from)
        for gateway, checkout in zip(
            self._gateways, itertools.cycle(plan.gateways_from), strict=False
        ):
            if checkout is not None:
                gateway.use(checkout)
        self._returns: set[asyncio.Task[None]] = set()
        self.accountd_kills = self.gateway_kills = self.stops = self.restores = 0
        self.promotions = 0
        self._database = Path(cluster.env["DB_PATH"])
        self._standby: Standby | None = None

    @property
    def kills(self) -> int:
        """Processes killed so far."""
        return self.accountd_kills + self.gateway_kills

    async def go(self) -> Report:
        """From the first session to the verdict."""
        started = time.monotonic()
        await self._accountd.start()
        accounts = {f"acct-{n}": "" for n in range(self._plan.accounts)}
        for account in accounts:
            accounts[account] = await asyncio.to_thread(self._create, account)
        await asyncio.gather(*(gateway.start() for gateway in self._gateways))
        self._granting = Granting(self._cluster, list(accounts), random.Random(self._plan.seed))
        if self._plan.restores:
            await asyncio.to_thread(self._granting.back_up)
            self._granting.start()
        if self._plan.promotions:
            await self._follow()
        crowd = Crowd(
            list(accounts.values()), lambda: doors(self._gateways),
            self._chance, self._plan.client_pause_s,
        )  # fmt: skip
        talking = asyncio.create_task(crowd.talk(self._plan.clients))
        try:
            await asyncio.sleep(WARM_UP_S)
            await self._torment(crowd)
        finally:
            crowd.is_over = True
            await asyncio.to_thread(self._granting.end)
            await asyncio.gather(talking, *self._returns)
        exit_codes = await self._settle(crowd)
        report = await asyncio.to_thread(self._report, crowd, list(accounts))
        report.exit_codes, report.seconds = exit_codes, time.monotonic() - started
        return report

    def end(self) -> None:
        """Stop every process, however the run ended."""
        for place in (self._accountd, *self._gateways):
            if place.daemon is not None:
                place.daemon.process.kill()
                place.daemon.process.wait()
        if self._standby is not None:
            self._standby.end()

    # --- faults -----------------------------------------------------------------------------------

    async def _torment(self, crowd: Crowd) -> None:
        said = 0
        plan = self._plan
        while (
            self.kills < plan.kills
            or self.restores < plan.restores
            or self.promotions < plan.promotions
            or len(crowd.received) < plan.responses
        ):
            await asyncio.sleep(self._chance.uniform(0, 2 * self._plan.fault_pause_s))
            targets = [self._accountd, *(self._gateways if self._plan.kills_gateways else [])]
            up = [place for place in targets if place.is_up]
            if not up:
                continue
            # accountd is one process of many, and its kills show most: it gets more of them.
            victim = self._accountd if self._accountd.is_up and self._flip(0.55) else None
            # Spread over the run: each in the middle of its share of the kills.
            if self._is_due(self.restores, plan.restores):
                await self._restore()
            elif self._is_due(self.promotions, plan.promotions):
                await self._promote()
            else:
                await self._hurt(victim or self._chance.choice(up))
            if self.kills >= said + 10:
                said = self.kills
                self._say(f"kills {self.kills:>4}  responses received {len(crowd.received):,}")

    def _is_due(self, done: int, planned: int) -> bool:
        share = self.kills * planned >= (done + 0.5) * self._plan.kills
        return share and done < planned and self._accountd.is_up

    async def _hurt(self, victim: Place) -> None:
        is_stopped_first = self._flip(0.3)
        if is_stopped_first:
            self.stops += 1
            victim.halt()
        if is_stopped_first and self._flip(0.7):
            self._later(self._chance.uniform(0.1, 3.0), self._go_on(victim))
            return
        if is_stopped_first:
            await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        if victim is self._accountd:
            self.accountd_kills += 1
        else:
            self.gateway_kills += 1
        await victim.kill()
        # Back soon; some gateways so late that a neighbour takes over.
        is_long = victim is not self._accountd and self._flip(0.25)
        away_s = self._chance.uniform(4, 9) if is_long else self._chance.uniform(0, 1.5)
        self._later(away_s, victim.start())

    async def _restore(self) -> None:
        """accountd is killed, and an older backup takes the place of its database; the backup for
        the next time is made of what runs then. What knows what came after the backup is the
        journal, the replaced database, or gateways alone, in turns.
        """
        witnesses = list(Witness)
        witness = witnesses[self.restores % len(witnesses)]
        granting = self._granting
        async with self._heard_of(granting, witness):
            await self._accountd.kill()
            self.accountd_kills += 1
            await asyncio.to_thread(granting.prepare, witness)
            found = await asyncio.to_thread(restored, self._cluster)
            granting.check_restored(found, witness)
            self.restores += 1
            for kept in self._database.parent.glob(f"{self._database.name}*.replaced-*"):
                kept.unlink()  # twenty of them would fill a small disk
            await self._accountd.start()
            if witness is Witness.GATEWAYS:
                await asyncio.to_thread(granting.make_again)
        await asyncio.to_thread(granting.back_up)

    @asynccontextmanager
    async def _heard_of(self, granting: Granting, witness: Witness) -> AsyncIterator[None]:
        """Where gateways are to be the witness: nothing is granted, and all of them have heard of
        what was.
        """
        if witness is not Witness.GATEWAYS:
            yield
            return
        paused = granting.paused()
        await asyncio.to_thread(paused.__enter__)
        try:
            await asyncio.gather(*self._returns)
            await asyncio.sleep(HEARD_S)
            yield
        finally:
            paused.__exit__(None, None, None)

    async def _follow(self) -> None:
        """Have a standby of the database that is served."""
        primary = self._accountd.env["DB_PATH"]
        path = self._cluster.folder / f"standby-{self.promotions}.db"
        self._standby = Standby(self._cluster, path, source=primary)
        await asyncio.to_thread(self._standby.start)

    async def _promote(self) -> None:
        """accountd is killed in the middle of its work, and goes on with the standby's file."""
        assert self._standby is not None
        self.accountd_kills += 1
        await self._accountd.kill()
        found = await asyncio.to_thread(self._standby.promote)
        assert self._standby.daemon is not None
        assert await asyncio.to_thread(self._standby.daemon.process.wait, 10) == 0
        self.promotions += 1
        self._accountd.env["DB_PATH"] = found["path"]
        await self._accountd.start()
        await self._follow()

    async def _go_on(self, place: Place) -> None:
        place.go_on()

    def _later(self, seconds: float, action: Coroutine[Any, Any, None]) -> None:
        async def act() -> None:
            await asyncio.sleep(seconds)
            await action

        task = asyncio.create_task(act())
        self._returns.add(task)

    def _flip(self, probability: float) -> bool:
        return self._chance.random() < probability

    # --- the end ----------------------------------------------------------------------------------

    async def _settle(self, crowd: Crowd) -> list[int]:
        """Stop everything cleanly; one last gateway finishes what others left. Their exit codes."""
        codes = [await self._accountd.finish()]
        self._accountd.env["CHAOS_PAUSE_S"] = "0"
        await self._accountd.start()
        await self._wait_until_quiet(crowd)
        codes += await asyncio.gather(*(gateway.finish() for gateway in self._gateways))
        last = self._gateways[0]
        await last.start()
        await self._wait_until_quiet(crowd)
        codes.append(await last.finish())
        return codes

    async def _wait_until_quiet(self, crowd: Crowd) -> None:
        """Wait until no more responses are charged; the verdict names what is missing."""
        deadline, seen = time.monotonic() + self._plan.settle_s, -1
        while time.monotonic() < deadline:
            charged = await asyncio.to_thread(self._charged)
            if charged == seen and charged >= len(crowd.received):
                return
            seen = charged
            await asyncio.sleep(QUIET_S)

    def _charged(self) -> int:
        names = (f"acct-{n}" for n in range(self._plan.accounts))
        return sum(
            self._call("usage", account_id=name, limit=1)["totals"]["responses"] for name in names
        )

    def _report(self, crowd: Crowd, accounts: list[str]) -> Report:
        answers = [self._call("usage", account_id=name) for name in accounts]
        assert all(len(answer["rows"]) < ROWS_MAX for answer in answers)
        verdict = judge(
            read_log(self._cluster.usage_sent()),
            received=crowd.received,
            rows=[read_row(row) for answer in answers for row in answer["rows"]],
            unread_since={k: v for g in self._gateways for k, v in g.unread_since.items()},
        )
        audit = self._call("audit")
        if self._plan.restores:
            self._granting.check_ledger()
        log = "".join(gateway.logs() for gateway in self._gateways)
        return Report(
            verdict,
            crowd,
            accountd_kills=self.accountd_kills,
            gateway_kills=self.gateway_kills,
            stops=self.stops,
            restores=self.restores,
            promotions=self.promotions,
            grants=len(self._granting.answered),
            put_back=self._granting.put_back,
            made_again=self._granting.made_again,
            problems=self._granting.problems,
            duplicates=sum(map(int, re.findall(r"duplicates=(\d+)", self._accountd.logs()))),
            adopted=len(set(re.findall(r'"spool adopted".* producer=(\w+)', log))),
            audit=audit,
            tracebacks=re.findall(r"Traceback[^\n]*", log + self._accountd.logs()),
        )

    # --- helpers ----------------------------------------------------------------------------------

    def _create(self, account: str) -> str:
        params = {"id": account, "email": f"{account}@example.org", "plan_name": "Free"}
        self._call("account.create", **params, tokens=10**9, topup=5_000)
        return str(self._call("key.create", account_id=account, label="chaos")["key"])

    def _call(self, method: str, **params: Any) -> Any:
        return call(self._cluster.env["ACCOUNTD_RPC_ENDPOINT"], method, params)


def chaos(plan: Plan, *, say: Callable[[str], None] = print) -> Report:
    """Run ``plan`` on a cluster of its own."""
    say(f"seed {plan.seed}")
    with cluster_folder() as cluster:
        run = Run(plan, cluster, say)
        try:
            return asyncio.run(run.go())
        finally:
            run.end()
