"""One world: made from a seed, run with faults for a while, then without, and judged."""

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

from accountd.ledger.charging import Balance
from gateway.delivery import journal, outbox

from .accountd_sim import Accountd, Database
from .clock import WALL_S, Clock
from .gateway_sim import ESTIMATED_EVERY, Gateway, Session
from .host import Host
from .network import ControlSockets
from .oracle import Oracle
from .plan import DAY_S, FOREVER, Plan

QUIET_S_MAX = 240.0  # how long it may take to settle without faults
EVENTS_MAX = 60_000
SHARED_CHANCE = 0.2  # that a response is reported on two sockets


class WrongWorldError(Exception):
    """A world that broke a rule."""


class World:
    """Hosts, accountd and the network. ``flags`` are mutations of the simulated shells."""

    def __init__(
        self, seed: int, *, flags: frozenset[str] = frozenset(), is_traced: bool = False
    ) -> None:
        self.clock = Clock(seed, is_traced=is_traced)
        self.plan = Plan.draw(self.clock.rng)
        self.clock.trace("world", str(self.plan))
        self.oracle = Oracle()
        self.has_faults = True
        self.is_partitioned = False
        self.is_judged = False
        self.is_calm = False
        self.gateways_started = 0
        self.restores = 0
        self.host_of: dict[str, Host] = {}
        self.opening = {"a": (2_000, 5_000), "b": (0, 3_000)}
        self.db = Database({name: Balance(*has) for name, has in self.opening.items()})
        self.accountd: Accountd | None = None
        self._flags = flags
        self._boots = 0
        self.boot_by_epoch = {0: 0}
        self._backups = [self.db.copy()]
        self._restores_from: Database | None = None
        self._clock_offset_s = 0.0
        self.control = ControlSockets(self)
        self.hosts = [Host(self)]
        if self.is_cloned:
            name = self.clock.rng.randbytes(16)
            self.hosts = [Host(self, name), Host(self, name)]

    # --- what the plan says -----------------------------------------------------------------------

    @property
    def is_cloned(self) -> bool:
        """Whether two machines continue one producer."""
        return self.plan.is_cloned

    @property
    def is_retention_short(self) -> bool:
        """Whether durable messages are removed before the world ends."""
        return self.plan.retention_s < DAY_S

    @property
    def retention_s(self) -> float:
        """How long durable messages are kept."""
        return self.plan.retention_s

    @property
    def sync_s(self) -> float:
        """How long a disk takes for one fsync, at most."""
        return self.plan.sync_s if self.has_faults else 0.03

    @property
    def sync_errors(self) -> float:
        """How often an fsync fails."""
        return self.plan.sync_errors if self.has_faults else 0.0

    @property
    def accountd_clock_ns(self) -> int:
        """The clock of accountd's host, which may step back."""
        return int((self.clock.wall + self._clock_offset_s) * 1e9)

    def has_flag(self, flag: str) -> bool:
        """Whether the shells are mutated so."""
        return flag in self._flags

    # --- a life -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run with faults, then without until it settles; judge. Raises ``WrongWorldError``."""
        with self._bounds():
            self._begin()
            while self.clock.now < self.plan.active_s and self.clock.run_one():
                pass
            self._calm()
            self._rest("settled", self._is_settled)
            self._idle()
            for host in self.hosts:
                self._end(host)
            self._rest("stopped", lambda: not any(host.living for host in self.hosts))
            for host in self.hosts:
                host.start_gateway()
            self._rest("adopted", self._is_settled)
            self._forget_all()
        problems = self.oracle.problems(self)
        if problems:
            raise WrongWorldError("; ".join(problems))

    def _begin(self) -> None:
        rng, plan = self.clock.rng, self.plan
        self.clock.fuse_steps = plan.fuse_steps
        self.clock.light_fuse()
        self.start_accountd()
        for host in self.hosts:
            host.disk.unreadable_chance = plan.unreadable_chance
            for _ in range(1 if self.is_cloned else plan.gateways):
                host.start_gateway()
        for number in range(plan.responses):
            self._at_random(self._respond, number)
        for _ in range(4):
            self._at_random(self._back_up)
        for count, action in (
            (0 if plan.are_answers_ambushed else plan.restores, self.restore),
            (plan.partitions, self._partition),
            (plan.full_disks, self._fill_disk),
            (plan.rollouts, self._roll_out),
            (int(plan.is_damaged) * 2, self._damage),
        ):
            for _ in range(count):
                self._at_random(action)
        for _ in range(0 if self.is_cloned else rng.choice((0, 2, 5))):
            self._at_random(self._break_connections)

    def _at_random(self, action: Callable[..., None], *args: object) -> None:
        self.clock.at(self.clock.rng.random() * self.plan.active_s, None, action, *args)

    def _calm(self) -> None:
        """End all faults, and repair what was broken."""
        self.clock.trace("world", "calm")
        self.is_calm = True
        self.has_faults = self.is_partitioned = False
        self.clock.fuse_steps = FOREVER
        self.clock.light_fuse()
        for host in self.hosts:
            host.disk.is_full = False
            host.disk.unreadable_chance = 0.0
            for gateway in host.living:
                for session in gateway.sessions[:]:
                    gateway.end_session(session)
            if all(gateway.is_stopping for gateway in host.living):
                host.start_gateway()
        if self.accountd is None:
            self.start_accountd()

    def _rest(self, name: str, is_reached: Callable[[], bool]) -> None:
        self.clock.trace("world", f"waits until everything is {name}")
        deadline, look_at = self.clock.now + QUIET_S_MAX, self.clock.now
        while True:
            if self.clock.now >= look_at:
                if is_reached():
                    return
                look_at = self.clock.now + 0.3
            if self.clock.now > deadline or self.clock.events > EVENTS_MAX:
                raise WrongWorldError(
                    f"not {name} after {self.clock.now:.0f} s: {self._unsettled()}"
                )
            assert self.clock.run_one()

    def _idle(self) -> None:
        """Let time pass in which only retention runs."""
        until = self.clock.now + self.plan.idle_s
        while self.clock.now < until:
            assert self.clock.run_one()

    def _end(self, host: Host) -> None:
        """Stop or kill every gateway: what they leave, the next one completes."""
        rng = self.clock.rng
        may_be_killed = self.plan.has_spool and not self.is_cloned
        if may_be_killed and rng.random() < self.plan.power_chance / 2:
            host.lose_power()
        for gateway in host.living[:]:
            if may_be_killed and rng.random() < 0.5:
                gateway.kill()
            else:
                gateway.stop()

    def _is_settled(self) -> bool:
        if self.is_cloned:  # clones never agree with accountd: it is enough that everything arrived
            return self.clock.now > self.plan.active_s + 40
        return all(
            not host.disk.orphans() and all(g.is_durable for g in host.living)
            for host in self.hosts
        )

    def _unsettled(self) -> list[str]:
        found = [
            f"{g.name} {p.outbox.producer.hex()[:4]} acknowledged {p.outbox.acknowledged} of"
            f" {p.outbox.last_sequence}, unsealed {p.unsealed}, waiting {p.outbox.awaits_watermark}"
            for host in self.hosts for g in host.living for p in g.producers() if not p.is_durable
        ]  # fmt: skip
        return found + [
            f"orphan {f.producer.hex()[:4]}" for host in self.hosts for f in host.disk.orphans()
        ]

    def _forget_all(self) -> None:
        """Days later nothing is left that is not needed: see ``Host.stale_segments``."""
        self.is_judged = True
        if self.is_cloned:
            return
        for host in self.hosts:
            (gateway,) = host.living
            for _ in range(2):  # the first time closes what is over; retention counts from then on
                self.clock.now += 2 * DAY_S
                gateway.spools.prune()
            for folder in host.disk.folders.values():
                stale = host.stale_segments(folder)
                if stale and folder.producer not in self.oracle.torn:
                    raise WrongWorldError(f"{folder.producer.hex()[:4]} still holds {stale}")

    @contextlib.contextmanager
    def _bounds(self) -> Iterator[None]:
        """Small bounds, so that a small world reaches them."""
        with (
            mock.patch.object(outbox, "UNACKNOWLEDGED_MAX", self.plan.unacknowledged_max),
            mock.patch.object(journal, "SEGMENT_BYTES_MAX", self.plan.segment_bytes),
            mock.patch.object(journal, "SEGMENT_S_MAX", self.plan.segment_s),
        ):
            yield

    # --- responses --------------------------------------------------------------------------------

    def _respond(self, number: int) -> None:
        rng = self.clock.rng
        able = [(h, g) for h in self.hosts for g in h.living if not g.is_stopping]
        if self.is_calm:  # no gateway was there until the faults ended: the response is never made
            return
        if not able:
            self.clock.at(0.3, None, self._respond, number)
            return
        host, gateway = rng.choice(able)
        session = self._session(gateway)
        name, tokens = f"r{number}", rng.randint(1, 400)
        account = session.billing.account_id
        self.oracle.metered(name, account, tokens)
        self.host_of[name] = host
        # Not an estimate: one that is waived leaves a row, and the report would be a second one.
        is_shared = rng.random() < SHARED_CHANCE and tokens % ESTIMATED_EVERY != 0
        if is_shared:
            delay = rng.random() * rng.choice((0.01, 1.0, 5.0))
            self.clock.at(delay, None, self._hear_again, name, account, tokens)
        gateway.meter(session, name, tokens, is_shared=is_shared)

    def _hear_again(self, name: str, account: str, tokens: int) -> None:
        """Another socket of the account, on any gateway, reports the same response."""
        able = [g for h in self.hosts for g in h.living if not g.is_stopping]
        if able and not self.is_calm:
            gateway = self.clock.rng.choice(able)
            session = Session(self.clock.rng.randrange(1_000), account)
            gateway.sessions.append(session)
            gateway.meter(session, name, tokens, is_shared=True)

    def _session(self, gateway: Gateway) -> Session:
        rng, sessions = self.clock.rng, gateway.sessions
        if sessions and rng.random() < 0.08:
            gateway.end_session(rng.choice(sessions))
        if not sessions or (len(sessions) < 3 and rng.random() < 0.3):
            sessions.append(Session(rng.randrange(1_000), rng.choice("ab")))
        return rng.choice(sessions)

    # --- accountd ---------------------------------------------------------------------------------

    def start_accountd(self) -> None:
        """Boot accountd, from a backup if ``restore`` chose one."""
        if self.accountd is not None:
            return
        if self._restores_from is not None:
            self.db, self._restores_from = self._restores_from.copy(), None
            self.restores += 1
            self.clock.trace("world", "restored", rows=len(self.db.rows))
        self._boots += 1
        self.accountd = Accountd(self, self._boots)
        self.boot_by_epoch[self.accountd.epoch] = self._boots

    def accountd_died(self) -> None:
        """Break its connections, and start it again a little later."""
        self.accountd = None
        self._break_connections()
        rng = self.clock.rng
        is_quick = self._restores_from is not None and self.plan.are_answers_ambushed
        away_s = rng.random() * (0.1 if is_quick else 1.5)
        self.clock.at(0.05 + away_s, None, self.start_accountd)

    # --- trouble ----------------------------------------------------------------------------------

    def gateway_died(self, gateway: Gateway) -> None:
        """Perhaps its host loses power too; another gateway is started."""
        rng, host = self.clock.rng, gateway.host
        if self.has_faults and not self._is_dark and rng.random() < self.plan.power_chance:
            self._is_dark = True
            host.lose_power()
            self._is_dark = False
        if self.has_faults:
            self.clock.at(0.1 + rng.random() * 3, None, self._replace, host)

    _is_dark = False

    def _replace(self, host: Host) -> None:
        if self.has_faults and len(host.living) < self.plan.gateways:
            host.start_gateway()

    def _back_up(self) -> None:
        self._backups.append(self.db.copy())

    def restore(self) -> None:
        """Kill accountd; the next boot gets the database of a backup."""
        rng = self.clock.rng
        self._restores_from = rng.choice(self._backups)
        # Where the clock is set back, a late announcement of the boot before is believed until the
        # next answer. What it calls durable could be pruned where retention is only seconds long.
        if rng.random() < 0.4 and not self.is_retention_short:
            self._clock_offset_s -= rng.random() * 20
        if self.accountd is not None:
            self.accountd.kill()

    def _break_connections(self) -> None:
        for host in self.hosts:
            for gateway in host.living:
                if gateway.connection is not None:
                    gateway.connection.break_off()

    def _partition(self) -> None:
        self.is_partitioned = True
        self._break_connections()
        self.clock.at(self.clock.rng.random() * 4, None, self._heal)

    def _heal(self) -> None:
        self.is_partitioned = False

    def _fill_disk(self) -> None:
        self.hosts[0].disk.is_full = True
        self.clock.at(self.clock.rng.random() * 3, None, self._free_disk)

    def _free_disk(self) -> None:
        self.hosts[0].disk.is_full = False

    def _roll_out(self) -> None:
        host = self.clock.rng.choice(self.hosts)
        if host.living:
            self.clock.rng.choice(host.living).stop()
            self.clock.at(self.clock.rng.random() * 2, None, self._replace, host)

    def _damage(self) -> None:
        folder = self.hosts[0].disk.damage()
        if folder is not None:
            self.oracle.harmed.add(folder.producer)
            self.clock.trace("disk", "damaged", producer=folder.producer.hex()[:4])


assert WALL_S > DAY_S
