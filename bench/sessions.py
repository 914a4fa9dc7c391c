"""Sessions as such: how many begin a second, and the memory of those that do nothing.

The relay has one core to itself; the clients, the provider and accountd share another one. The
gateway and haproxy take turns in front of the same provider, with the same cheap clients
(``bench.crowd``). Run it from the root of the project: ``.venv/bin/python -m bench sessions``.

* Connects: ``AT_ONCE`` at a time; each session leaves as soon as it stands, with both of its
  connections. accountd authorizes each one. The CPU is the relay's for one session, from its
  connect to its end. ``no relay``: the clients at the provider itself, so what the crowd can do.
  How busy both cores were says what limits. A round in which neither was is not judged: other
  programs had the cores, and the rate is theirs.
* Memory: what a process has for itself, less what it had when it was idle and new, divided by the
  sessions: when they do nothing, after each was answered audio, and after all have left. What it
  does not give back then it uses again: after as many sessions once more it has no more.
"""

import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench.compared_relays import Relay, haproxy
from bench.crowd import Crowd, request
from bench.machine import cpu_us
from bench.relay import relay_of
from bench.report import Bar, Check, Curve, Outcome, Scale, Side, Table, at_least, at_most
from bench.report import unmeasured as not_measured
from shared.file_descriptors import raise_limit
from tests.support.harness import Cluster, Daemon, cluster_folder

GATEWAY: Final = "gateway"
AT_ONCE: Final = 50
SIZES: Final = (500, 1_000, 2_000, 2_000)  # the last ones again: what a process keeps is used
WARM_UP: Final = 100  # sessions before anything is measured
SETTLE_S: Final = 1.5
NO_RELAY: Final = "no relay"
RATE_LEAST: Final = 0.5  # times the connects a second of haproxy
BYTES_MOST: Final = 10_000
AGAIN_MOST: Final = 1.1  # times what is kept after as many sessions the first time: else it leaks
RELAY_CORE, CROWD_CORE = 0, 1
LIMITED_LEAST: Final = 0.8  # how busy a core is that limits
_NO_HAPROXY: Final = "no haproxy"
_STARVED: Final = "other programs had the cores"


class Memory(NamedTuple):
    """Bytes above those of an idle process, with so many sessions."""

    sessions: int
    idle: int
    active: int
    left: int


@dataclass
class Found:
    """What was measured of one relay."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    own_core: list[float] = field(default_factory=list)  # how busy, from 0 to 1
    other_core: list[float] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def is_limited(self, number: int) -> bool:
        """Whether a core of the bench was busy in a round of connects, and so limited its rate."""
        return max(self.own_core[number], self.other_core[number]) >= LIMITED_LEAST


def own_bytes(pid: int) -> int:
    """The memory that a process shares with no other (USS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core, where there are several."""
    if (os.cpu_count() or 1) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


@dataclass
class Stage:
    """The crowd and its handshake. ``sessions`` are those of one round of connects."""

    crowd: Crowd
    handshake: bytes
    sessions: int
    settle_s: float
    accountd: int  # its process id
    echoes: int = 0

    def connect(self, address: str, pid: int | None, found: Found) -> None:
        """One round of connects."""
        before, others_before = self._used_us(pid)
        taken_s = self.crowd.rush(
            address, self.handshake, sessions=self.sessions, at_once=AT_ONCE
        )  # fmt: skip
        own, others = self._used_us(pid)
        found.own_core.append((own - before) / 1e6 / taken_s)
        found.other_core.append((others - others_before) / 1e6 / taken_s)
        self.crowd.run_for(self.settle_s / 5)  # what is left to do of the last ones
        found.per_s.append(self.sessions / taken_s)
        if pid is not None:
            found.cpu_us.append((self._used_us(pid)[0] - before) / self.sessions)

    def _used_us(self, pid: int | None) -> tuple[float, float]:
        """The CPU that a relay has used, and that of the clients, the provider and accountd."""
        own = 0.0 if pid is None else cpu_us(pid)
        return own, cpu_us(os.getpid()) + cpu_us(self.accountd)

    def fill(self, relay: Relay, base: int, sessions: int) -> Memory:
        """Fill a relay, and empty it. ``base``: its memory when it was new."""
        crowd = self.crowd
        crowd.fill(relay.address, self.handshake, sessions=sessions, at_once=AT_ONCE)
        crowd.run_for(self.settle_s)
        idle = own_bytes(relay.pid) - base
        crowd.talk(rounds=5)
        self.echoes += crowd.echoes
        active = own_bytes(relay.pid) - base
        crowd.empty()
        crowd.run_for(self.settle_s)
        return Memory(sessions, idle, active, own_bytes(relay.pid) - base)


def measure(scale: Scale) -> Outcome:
    """Connects and memory of the gateway and of haproxy."""
    raise_limit()
    crowd, affinity = Crowd(), os.sched_getaffinity(0)
    rounds, sizes = scale.pick(7, quick=1), scale.pick(SIZES, quick=(20, 20))
    with cluster_folder() as cluster, ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, affinity)
        accountd, relays = _start(cluster, crowd, stack)
        target = f"/v1/realtime?model=gpt-realtime&key={cluster.create_account('bench')}"
        stage = Stage(
            crowd, request(target), scale.pick(1_000, quick=50), scale.pick(1.5, quick=0.1),
            accountd.process.pid,
        )  # fmt: skip
        found = {relay.name: Found() for relay in relays}
        for relay in relays:
            stage.crowd.rush(relay.address, stage.handshake, sessions=WARM_UP, at_once=AT_ONCE)
            crowd.run_for(stage.settle_s)
            base = own_bytes(relay.pid)
            for sessions in sizes:
                scale.tell(f"{relay.name}: the memory of {sessions:,} sessions")
                found[relay.name].memory.append(stage.fill(relay, base, sessions))
        bare = Found()
        for number in range(rounds):
            scale.tell(f"connects: round {number + 1} of {rounds}")
            stage.connect(crowd.address, None, bare)
            for relay in relays:
                stage.connect(relay.address, relay.pid, found[relay.name])
        ended = cluster.gateways[0].log.read_text().count('event="session ended"')
    crowd.close()
    begun = WARM_UP + sum(sizes) + rounds * stage.sessions
    return Outcome(
        tables=(_connects({**found, NO_RELAY: bare}), _memory(found)),
        curves=(_curve(found),),
        bars=_bars(found),
        checks=(
            Check("sessions that the gateway ended", ended, begun),
            Check("frames echoed", stage.echoes, 5 * sum(sizes) * len(relays)),
        ),
    )


def _start(cluster: Cluster, crowd: Crowd, stack: ExitStack) -> tuple[Daemon, list[Relay]]:
    """accountd and the relays, each on its core."""
    accountd = cluster.start_accountd()
    cluster.env["GATEWAY_SESSIONS_PER_KEY_S"] = "0"  # all of them have one key
    gateway = cluster.start_gateway(OPENAI_BASE_URL=f"http://{crowd.address}/v1")
    proxy = stack.enter_context(haproxy(crowd.address, cluster.folder))
    relays = [relay_of(GATEWAY, gateway), *([proxy] if proxy is not None else [])]
    for relay in relays:
        pin(relay.pid, RELAY_CORE)
    pin(accountd.process.pid, CROWD_CORE)
    pin(os.getpid(), CROWD_CORE)
    return accountd, relays


def _connects(found: dict[str, Found]) -> Table:
    rows = tuple(
        (
            name, statistics.median(one.per_s), max(one.per_s),
            statistics.median(one.cpu_us) if one.cpu_us else None,
            *(100 * statistics.median(each) for each in (one.own_core, one.other_core)),
        )
        for name, one in found.items()
    )  # fmt: skip
    return Table(
        f"Connects, {AT_ONCE} at a time, medians of the rounds",
        (
            "relay", "a second", "best round", "µs of CPU each", "its core, %",
            "the others' core, %",
        ), rows,
    )  # fmt: skip


def _memory(found: dict[str, Found]) -> Table:
    rows = tuple(
        (name, one.sessions, one.idle / one.sessions, one.active / one.sessions, one.left / 1e6)
        for name, each in found.items()
        for one in each.memory
    )
    return Table(
        "Memory of sessions, above that of the idle process",
        ("relay", "sessions", "idle, bytes each", "active, bytes each", "after they left, MB"),
        rows,
    )


def _curve(found: dict[str, Found]) -> Curve:
    points = {
        name: tuple((float(one.sessions), one.idle / 1e6) for one in each.memory[:-1])
        for name, each in found.items()
    }
    return Curve("Memory of idle sessions", "sessions", "MB", points)


def _bars(found: dict[str, Found]) -> tuple[Bar, ...]:
    ours, theirs = found[GATEWAY], found.get("haproxy")
    first, again = ours.memory[-2:]
    return (
        _rate_bar(ours, theirs),
        at_most("bytes of an idle session", first.idle / first.sessions, BYTES_MOST),
        at_most(
            "memory kept after as many sessions again / after the first time",
            again.left / max(first.left, 1),
            AGAIN_MOST,
        ),
    )


def _rate_bar(ours: Found, theirs: Found | None) -> Bar:
    """The median of our rate to theirs, over the rounds in which the bench limited both."""
    name = f"connects a second / haproxy's, {AT_ONCE} at a time"
    if theirs is None:
        return not_measured(name, RATE_LEAST, _NO_HAPROXY, side=Side.AT_LEAST)
    ratios = [
        our_rate / their_rate
        for number, (our_rate, their_rate) in enumerate(zip(ours.per_s, theirs.per_s, strict=True))
        if ours.is_limited(number) and theirs.is_limited(number)
    ]
    if not ratios:
        return not_measured(name, RATE_LEAST, _STARVED, side=Side.AT_LEAST)
    return at_least(name, statistics.median(ratios), RATE_LEAST)
