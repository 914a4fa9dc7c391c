"""One world: made from a seed, disturbed for a while, then left in peace and judged."""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from unittest import mock

from accountd.ledger.charging import Balance
from gateway.delivery import outbox, spool
from gateway.delivery.journal import SealedRecord, read_records
from shared.usage import UsageBatch
from shared.wire import decode_usage

from .accountd_sim import Accountd, Database
from .clock import WALL_S, Clock
from .disk import Disk
from .gateway_sim import ESTIMATED_EVERY, Gateway, Session
from .oracle import Message, Oracle

DAY_S = 24 * 3_600.0
QUIET_S_MAX = 240.0  # how long a world in peace may take to come to rest
EVENTS_MAX = 60_000
SHARED_CHANCE = 0.2  # of a response that it is heard on two sockets
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of world it is."""

    responses: int
    active_s: float
    gateways: int
    fuse_steps: float  # mean number of steps between two kills
    restores: int
    power_chance: float  # that a killed gateway takes its host with it
    sync_s: float  # how long a disk takes for one fsync, at most
    sync_errors: float  # that an fsync fails
    full_disks: int
    partitions: int
    rollouts: int
    is_damaged: bool
    is_cloned: bool
    has_spool: bool
    unreadable_chance: float  # that a journal cannot be read just now
    retention_s: float
    announcements_lost: float
    announcements_late: float
    answers_late: float
    are_answers_ambushed: bool  # by a restore, while they are under way
    segment_bytes: int
    segment_s: float
    in_flight: int
    idle_s: float  # how long it is watched once everything is durable

    @classmethod
    def draw(cls, rng: random.Random) -> "Plan":
        """A plan from the seed: every kind of trouble in some worlds, none in all of them."""
        kind = rng.random()
        is_cloned, is_damaged, has_spool = kind < 0.05, 0.05 <= kind < 0.10, kind < 0.86
        are_answers_ambushed = rng.random() < (0.3 if has_spool else 0.9)
        power_chance = 0.0 if is_cloned or rng.random() > 0.4 else rng.choice((0.4, 0.8))
        return cls(
            responses=rng.randint(15, 50),
            active_s=rng.uniform(3, 12),
            gateways=rng.choice((1, 2, 2, 3)),
            # Without a spool only accountd is killed, which takes fewer steps.
            fuse_steps=(FOREVER if is_cloned else rng.choice((100, 200, 400, 800)))
            / (1 if has_spool else 8),
            restores=0 if is_cloned or (has_spool and rng.random() > 0.45) else rng.randint(1, 4),
            power_chance=power_chance,
            sync_s=rng.choice((0.03, 0.03, 0.3, 1.5)),
            sync_errors=0.4 if power_chance and rng.random() < 0.5 else 0.0,
            full_disks=0 if is_cloned or rng.random() > 0.25 else rng.randint(1, 2),
            # What of a clone is lost under way is acknowledged by its twin's: no gateway can know.
            partitions=0 if is_cloned else rng.choice((0, 0, 1, 2)),
            rollouts=0 if is_cloned else rng.choice((0, 0, 1, 2)),
            is_damaged=is_damaged,
            is_cloned=is_cloned,
            has_spool=has_spool,
            unreadable_chance=0.3 if rng.random() < 0.1 else 0.0,
            retention_s=rng.uniform(0.1, 2) if rng.random() < 0.3 else DAY_S,
            announcements_lost=0.4 if are_answers_ambushed else rng.choice((0.0, 0.1, 0.5, 1.0)),
            announcements_late=rng.choice((0.0, 0.05, 0.2)),
            answers_late=rng.choice((0.1, 0.6)) if has_spool else 0.8,
            are_answers_ambushed=are_answers_ambushed,
            segment_bytes=rng.choice((300, 700, 2_500, 1 << 20)),
            segment_s=rng.choice((0.5, 2.0, 3_600.0)),
            # A clone is found out by what it sends: the window must not keep it silent.
            in_flight=1_000 if is_cloned else rng.choice((2, 6, 1_000)),
            idle_s=rng.choice((0.0, 4.0)),
        )


class WrongWorldError(Exception):
    """A world that is not in order at its end."""


class Host:
    """A machine with gateways and one spool disk."""

    def __init__(self, world: "World", first_producer: bytes | None = None) -> None:
        self.world = world
        self.disk = Disk(world.clock.rng)
        self.gateways: list[Gateway] = []
        self._first_producer = first_producer

    @property
    def living(self) -> list[Gateway]:
        """The gateways that run."""
        self.gateways = [g for g in self.gateways if g.is_alive]
        return self.gateways

    def start_gateway(self) -> None:
        """A new process."""
        self.world.gateways_started += 1
        self.gateways.append(Gateway(self.world, self, self.world.gateways_started))

    def name_of_producer(self) -> bytes:
        """128 random bits, unless the machine is a clone."""
        name, self._first_producer = self._first_producer, None
        return name or self.world.clock.rng.randbytes(16)

    def lose_power(self) -> None:
        """Everything dies, and what was not synced is cut off."""
        self.world.clock.trace("host", "power lost")
        for gateway in self.living[:]:
            gateway.kill()
        oracle, before = self.world.oracle, self._sealed()
        self.disk.lose_power()
        after = self._sealed()
        oracle.cut.update(self.disk.folders)
        journaled = {
            name for name in oracle.owed - oracle.in_memory if self.world.host_of.get(name) is self
        }
        kept = {name for names in after.values() for name in names}
        oracle.may_lose(journaled - kept)
        for message in before.keys() - after.keys():
            oracle.may_lose(before[message])
            oracle.cut_off(message, before[message])

    def _sealed(self) -> dict[Message, tuple[str, ...]]:
        """The responses in each sealed message that is whole on the disk."""
        found: dict[Message, tuple[str, ...]] = {}
        for folder in self.disk.folders.values():
            for file in folder.files.values():
                for record in read_records(bytes(file.data)):
                    if isinstance(record, SealedRecord):
                        usage = decode_usage(record.payload)
                        ids = usage.response_ids if isinstance(usage, UsageBatch) else ()
                        found[folder.producer, record.sequence] = ids
        return found


class World:
    """Everything there is. ``flags`` are mutations of the simulated shells."""

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
        self._ambushes = self.plan.restores if self.plan.are_answers_ambushed else 0
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
        """Live, come to rest, and be judged. Raises ``WrongWorldError``."""
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
            (0 if plan.are_answers_ambushed else plan.restores, self._restore),
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
        """No more trouble: what was broken is mended."""
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
        """Nothing happens for a while, but for retention."""
        until = self.clock.now + self.plan.idle_s
        while self.clock.now < until:
            assert self.clock.run_one()

    def _end(self, host: Host) -> None:
        """Everything is durable: however the gateways end, the next one makes it complete."""
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
        if self.is_cloned:  # the clones never agree with accountd: it is enough that all was heard
            return self.clock.now > self.plan.active_s + 40
        return all(
            not host.disk.orphans() and all(g.is_settled for g in host.living)
            for host in self.hosts
        )

    def _unsettled(self) -> list[str]:
        found = [
            f"{g.name} {p.outbox.producer.hex()[:4]} acknowledged {p.outbox.acknowledged} of"
            f" {p.outbox.last_sequence}, unsealed {p.unsealed}, waiting {p.outbox.awaits_watermark}"
            for host in self.hosts for g in host.living for p in g.producers() if not p.is_settled
        ]  # fmt: skip
        return found + [
            f"orphan {f.producer.hex()[:4]}" for host in self.hosts for f in host.disk.orphans()
        ]

    def _forget_all(self) -> None:
        """Days later nothing is left but the end of the journal of the gateway that runs.

        That is the segment with its last seal, which tells where the numbering stands, what was
        opened behind it, and what holds responses of batches that are still open.
        """
        self.is_judged = True
        if self.is_cloned:
            return
        for host in self.hosts:
            (gateway,) = host.living
            for _ in range(2):  # what is over is closed first, and kept from then on
                self.clock.now += 2 * DAY_S
                gateway.prune()
            for folder in host.disk.folders.values():
                if folder.producer in self.oracle.torn:
                    continue
                if folder.producer != gateway.own.outbox.producer:
                    stale = list(folder.files)
                else:
                    stale = _before_the_last_seal(gateway.own.spool)
                if stale:
                    raise WrongWorldError(f"{folder.producer.hex()[:4]} still holds {stale}")

    @contextlib.contextmanager
    def _bounds(self) -> Iterator[None]:
        """Small bounds, so that a small world reaches them."""
        with (
            mock.patch.object(outbox, "IN_FLIGHT_MAX", self.plan.in_flight),
            mock.patch.object(spool, "SEGMENT_BYTES_MAX", self.plan.segment_bytes),
            mock.patch.object(spool, "SEGMENT_S_MAX", self.plan.segment_s),
        ):
            yield

    # --- responses --------------------------------------------------------------------------------

    def _respond(self, number: int) -> None:
        rng = self.clock.rng
        able = [(h, g) for h in self.hosts for g in h.living if not g.is_stopping]
        if self.is_calm:  # its caller has waited for a gateway until the day was over
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
        # An estimate of it that was let off would be a second row.
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

    # --- accountd and the network -----------------------------------------------------------------

    def start_accountd(self) -> None:
        """A boot, from a backup when that was decided."""
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
        """Its connections die with it, and somebody starts it again."""
        self.accountd = None
        self._break_connections()
        rng = self.clock.rng
        is_quick = self._restores_from is not None and self.plan.are_answers_ambushed
        away_s = rng.random() * (0.1 if is_quick else 1.5)
        self.clock.at(0.05 + away_s, None, self.start_accountd)

    def publish(self, epoch: int, watermarks: Mapping[bytes, int]) -> None:
        """On PUB: each gateway hears of the producers that it follows, perhaps, some time."""
        rng, plan = self.clock.rng, self.plan
        for host in self.hosts:
            for gateway in host.living:
                heard = {p: w for p, w in watermarks.items() if gateway.follows(p)}
                if not heard:
                    continue
                if not self.has_faults:
                    gateway.later(0.002, gateway.hear, epoch, heard)
                    continue
                if self.is_partitioned or rng.random() < plan.announcements_lost:
                    continue
                late = rng.random() < plan.announcements_late
                delay = rng.random() * (6.0 if late else 0.05)
                gateway.later(delay, gateway.hear, epoch, heard)
                if rng.random() < 0.1:
                    gateway.later(delay * 2 * rng.random(), gateway.hear, epoch, heard)

    def ask(self, gateway: Gateway, question: float, epochs: dict[bytes, int]) -> None:
        """A question on its way to accountd."""
        delay = self.clock.rng.random() * (0.1 if self.has_faults else 0.005)
        self.clock.at(delay, None, self._answer, gateway, question, epochs)

    def _answer(self, gateway: Gateway, question: float, epochs: dict[bytes, int]) -> None:
        rng = self.clock.rng
        lost = self.has_faults and (self.is_partitioned or rng.random() < 0.1)
        if self.accountd is None or lost:
            return
        epoch, throughs = self.accountd.sync(epochs)
        answer = dict(zip(epochs, throughs, strict=True))
        is_late = self.has_faults and rng.random() < self.plan.answers_late
        delay = rng.random() * (1.9 if is_late else 0.02)
        is_news = any(answer[p.outbox.producer] > p.outbox.acknowledged
                      for p in gateway.producers() if p.outbox.producer in answer)  # fmt: skip
        if self.has_faults and self._ambushes and is_news:
            # What it says is about to be wrong, and it comes when the next boot was heard of.
            self._ambushes -= 1
            delay = rng.uniform(0.5, 1.9)
            self.clock.at(rng.random() * 0.1, None, self._restore)
        gateway.later(delay, gateway.answered, question, epochs, epoch, answer)

    # --- trouble ----------------------------------------------------------------------------------

    def gateway_died(self, gateway: Gateway) -> None:
        """Perhaps with its host; another one is started."""
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

    def _restore(self) -> None:
        rng = self.clock.rng
        self._restores_from = rng.choice(self._backups)
        # With a clock that went back a late word of the boot before is believed until the next
        # answer. What it calls durable may be pruned only where retention is a matter of seconds.
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


def _before_the_last_seal(journal: spool.Spool | None) -> list[int]:
    """Segments that a running gateway's journal has no use for any more."""
    if journal is None:
        return []
    open_from = min(journal._open_numbers, default=journal._last_number + 1)
    return [
        segment.number
        for segment in journal._segments
        if 0 < segment.last_sequence < journal.sealed_through and segment.last_number < open_from
    ]
