"""Measures what a relay adds to paced voice sessions, and how many of them one core holds.

The sessions are those of ``bench.microphones``: 50 frames of 1.3 kB a second up, two bursts of
16 kB a second down, one response's usage in five seconds. The gateway and haproxy are measured in
turns, with the same sessions directly to the provider before them: *added* is a quantile of the
relay's minus that of no relay. Where there are two cores, a relay has one of them to itself, and
everything else of the bench the other.

The number of sessions goes up until the added p99 (of frames or of bursts, whichever is more) is
5 ms, or the relay falls behind. Other programs on the machine can only add to that: tenths of a
second in which the generator itself was late, or the relay waited for its core, are left out, and
the best of some tries is taken. A size at which too little is left is not judged, and ends the
steps: the table says so. Run it from the root of the project: ``.venv/bin/python -m bench.paced``.
"""

import gc
import os
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from bench.compared_relays import Relay, haproxy
from bench.machine import cpu_us
from bench.microphones import Heard, Room
from bench.never_block import charged_tokens, quantile, waited_s
from bench.relay import relay_of
from bench.report import (
    Bar,
    Cell,
    Check,
    Curve,
    Outcome,
    Scale,
    Side,
    Table,
    at_least,
    unmeasured,
)  # fmt: skip
from bench.scenarios import end_with
from tests.support.certificates import Pem
from tests.support.harness import Cluster, Daemon, cluster_folder

SIZES: Final = (100, 300, 600, 800, 1_000, 1_300, 1_600)
TLS_SIZES: Final = (100, 300, 1_000)
QUICK: Final = (4,)
SECONDS: Final = 6.0
WARM_UP_S: Final = 0.5
TRIES: Final = 4
ADDED_MS_MAX: Final = 5.0
HELD_MIN: Final = 1_000
TO_HAPROXY_MIN: Final = 0.8
QUIET_MIN: Final = 10  # windows of a tenth of a second
NO_RELAY: Final = "no relay"
TARGET: Final = "GET /v1/realtime?model=gpt-realtime HTTP/1.1"


@dataclass(frozen=True)
class Subject:
    """What sessions speak through: a relay, or nothing. With ``trust`` they speak TLS to it."""

    name: str
    address: str
    pid: int | None
    trust: ssl.SSLContext | None


@dataclass(frozen=True)
class Setting:
    """Subjects that are compared, the direct one first."""

    name: str
    room: Room
    subjects: tuple[Subject, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Try:
    """One measurement; the relay's CPU is a share of a core."""

    heard: Heard
    cpu: float

    @property
    def left_out(self) -> float:
        """The share of the windows that are not judged."""
        passed = sum(1 for window in self.heard.frames.took_s if window)
        return 1 - len(self.heard.quiet) / passed if passed else 1.0

    @property
    def is_fair(self) -> bool:
        """Whether enough is left to judge."""
        return len(self.heard.quiet) >= QUIET_MIN

    @property
    def frame_s(self) -> list[float]:
        """How long frames took."""
        return self.heard.frames.in_windows(self.heard.quiet)

    @property
    def burst_s(self) -> list[float]:
        """How long bursts took."""
        return self.heard.bursts.in_windows(self.heard.quiet)

    def added_ms(self, direct: "Try", share: float) -> tuple[float, float]:
        """What a quantile of the frames, and of the bursts, has more than without a relay."""
        return (
            ms(self.frame_s, share) - ms(direct.frame_s, share),
            ms(self.burst_s, share) - ms(direct.burst_s, share),
        )

    def holds(self, direct: "Try") -> bool:
        """Whether it was in time."""
        in_time = max(self.added_ms(direct, 0.99)) < ADDED_MS_MAX
        return self.is_fair and in_time and not self.heard.is_overloaded


def ms(seconds: list[float], share: float) -> float:
    """A quantile in milliseconds."""
    return quantile(seconds, share) * 1000 if seconds else 0.0


@dataclass(frozen=True)
class Row:
    """The best try of a subject with so many sessions."""

    setting: str
    name: str
    sessions: int
    best: Try
    direct: Try
    tries: int

    @property
    def verdict(self) -> str:
        """Whether this size is held."""
        if not (self.direct.is_fair and self.best.is_fair):
            return "not judged: the machine was busy"
        if self.best.heard.is_overloaded:
            return "overloaded"
        return "held" if self.best.holds(self.direct) else "late"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """For the table."""
        best, is_judged = self.best, self.best.is_fair and self.direct.is_fair
        has_relay = self.name != NO_RELAY
        added = [best.added_ms(self.direct, share) for share in (0.5, 0.99, 0.999)]
        times = [frames for frames, _ in added] + [added[1][1]]
        return (
            self.sessions,
            self.name,
            best.cpu * 100 if has_relay else None,
            best.cpu / self.sessions * 1e6 if has_relay else None,
            ms(best.frame_s, 0.99) if best.is_fair else None,
            *(time if has_relay and is_judged else None for time in times),
            best.left_out * 100,
            self.verdict,
        )


COLUMNS: Final = (
    "sessions", "relay", "core, %", "a session, µs/s", "p99", "added p50", "added p99",
    "added p99.9", "bursts, added p99", "left out, %", "verdict",
)  # fmt: skip


class Bench:
    """Takes the tries, and counts what must be exact in all of them."""

    def __init__(self, head: str, scale: Scale) -> None:
        self._head, self._tell = head, scale.tell
        self._seconds = scale.pick(SECONDS, quick=0.3)
        self._warm_up_s = scale.pick(WARM_UP_S, quick=0.1)
        self._tries = scale.pick(TRIES, quick=1)
        self.rows: list[Row] = []
        self.sent: dict[str, int] = {}
        self.right: dict[str, int] = {}
        self.reported = 0  # tokens, through the gateway

    def run(self, setting: Setting) -> None:
        """Measure all subjects, each until it does not hold."""
        direct, *relays = setting.subjects
        for size in setting.sizes:
            rows = self._size(setting, direct, relays, size)
            self.rows += rows
            held = {row.name for row in rows if row.verdict == "held"}
            relays = [relay for relay in relays if relay.name in held]
            if not relays:
                return

    def _size(
        self, setting: Setting, direct: Subject, relays: Sequence[Subject], size: int
    ) -> list[Row]:
        tries: dict[str, list[Try]] = {one.name: [] for one in (direct, *relays)}

        def row(name: str) -> Row:
            base = best(tries[direct.name])
            return Row(setting.name, name, size, best(tries[name]), base, len(tries[name]))

        for subjects in ([direct], relays):
            for _ in range(self._tries):
                for one in subjects:
                    if not tries[one.name] or row(one.name).verdict != "held":
                        tries[one.name].append(self._take(setting, one, size))
            if row(direct.name).verdict != "held" and self._tries > 1:
                break  # what the generator cannot play is no measure of a relay
        rows = [row(name) for name, taken in tries.items() if taken]
        told = ", ".join(f"{one.name} {one.verdict} ({one.tries})" for one in rows)
        self._tell(f"{setting.name}, {size} sessions: {told}")
        return rows

    def _take(self, setting: Setting, subject: Subject, size: int) -> Try:
        pid = subject.pid
        with setting.room.sessions(size, subject.address, self._head, subject.trust) as sessions:
            gc.collect()
            gc.disable()
            cpu, began = cpu_us(pid) if pid else 0.0, time.monotonic()
            heard = setting.room.play(
                sessions, self._seconds, warm_up_s=self._warm_up_s,
                waited_s=lambda: waited_s(pid) if pid else 0.0,
            )  # fmt: skip
            taken = time.monotonic() - began
            cpu = cpu_us(pid) - cpu if pid else 0.0
            gc.enable()
        if pid:
            settle(pid)
        name = f"{subject.name}, {setting.name}"
        self.sent[name] = self.sent.get(name, 0) + heard.frames.sent + heard.bursts.sent
        self.right[name] = self.right.get(name, 0) + heard.frames.right + heard.bursts.right
        self.reported += heard.tokens if subject.name == "gateway" else 0
        return Try(heard, cpu / 1e6 / taken)


def best(tries: Sequence[Try]) -> Try:
    """The one to which others have added least."""
    return min(
        tries,
        key=lambda one: (
            not one.is_fair,
            one.heard.is_overloaded,
            ms(one.frame_s, 0.99) + ms(one.burst_s, 0.99),
        ),
    )


def settle(pid: int) -> None:
    """Wait, for a limited time, until a relay has got rid of its sessions: it is idle then."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        before = cpu_us(pid)
        time.sleep(0.1)
        if cpu_us(pid) - before < 5_000:
            return


@contextmanager
def apart(relays: Sequence[int], others: Sequence[int]) -> Iterator[None]:
    """Relays have the first core to themselves, the others and this process share the rest."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield
        return
    for pid in relays:
        pin(pid, {cores[0]})
    for pid in (*others, os.getpid()):
        pin(pid, set(cores[1:]))
    try:
        yield
    finally:
        pin(os.getpid(), set(cores))


def pin(pid: int, cores: set[int]) -> None:
    """Let all threads of a process run on these cores only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def settings_of(cluster: Cluster, stack: ExitStack, *, is_quick: bool) -> list[Setting]:
    """Start everything: without TLS, with TLS to the clients, and with TLS on both sides."""
    pem = Pem.make(cluster.folder)
    bundle = cluster.folder / "bundle.pem"
    bundle.write_text(pem.cert.read_text() + pem.key.read_text())
    plain, secure = Room(), Room((pem.cert, pem.key))
    stack.callback(plain.close)
    stack.callback(secure.close)
    cluster.env.update(pem.settings)
    cluster.env["GATEWAY_SESSIONS_PER_KEY_S"] = "0"  # all sessions have one key
    one = cluster.start_gateway(OPENAI_BASE_URL=f"http://{plain.address}/v1")
    both = cluster.start_gateway(
        OPENAI_BASE_URL=f"https://localhost:{secure.address.rpartition(':')[2]}/v1",
        SSL_CERT_FILE=str(pem.cert),
    )  # fmt: skip
    bind = f"ssl crt {bundle}"
    server = f"ssl verify required ca-file {pem.cert} sni str(localhost)"
    trust = pem.trusting()

    def setting(name: str, room: Room, relays: Sequence[Relay | None]) -> Setting:
        is_secure = name != "no TLS"
        direct = Subject(NO_RELAY, room.address, None, trust if room is secure else None)
        subjects = [
            Subject(x.name, x.address, x.pid, trust if is_secure else None) for x in relays if x
        ]
        sizes = QUICK if is_quick else TLS_SIZES if is_secure else SIZES
        return Setting(name, room, (direct, *subjects), sizes)

    def proxy(room: Room, bind: str, server: str) -> Relay | None:
        return stack.enter_context(haproxy(room.address, cluster.folder, bind=bind, server=server))

    return [
        setting("no TLS", plain, [relay_of("gateway", one), proxy(plain, "", "")]),
        setting("TLS to clients", plain, [secure_relay(one), proxy(plain, bind, "")]),
        setting("TLS on both sides", secure, [secure_relay(both), proxy(secure, bind, server)]),
    ]


def secure_relay(gateway: Daemon) -> Relay:
    """The TLS port of a gateway."""
    return Relay("gateway", gateway.field("tls"), gateway.process.pid)


def measure(scale: Scale) -> Outcome:
    """Take all measurements; with one haproxy and one gateway for each setting."""
    with cluster_folder() as cluster, ExitStack() as stack:
        accountd = cluster.start_accountd()
        key = cluster.create_account("bench", tokens=10**12)
        settings = settings_of(cluster, stack, is_quick=scale.is_quick)
        bench = Bench(f"{TARGET}\r\nAuthorization: Bearer {key}", scale)
        pids = {one.pid for setting in settings for one in setting.subjects if one.pid}
        with apart(sorted(pids), [accountd.process.pid]):
            for setting in settings:
                bench.run(setting)
        charged = charged_tokens(cluster, "bench", bench.reported)
    tables = [
        Table(
            f"Paced sessions, {setting.name}; times in ms",
            COLUMNS,
            tuple(row.cells for row in bench.rows if row.setting == setting.name),
        )
        for setting in settings
    ]
    checks = [
        Check(f"frames and bursts unchanged, {name}", bench.right[name], sent)
        for name, sent in bench.sent.items()
    ]
    checks.append(Check("tokens charged", charged, bench.reported))
    bar = bar_of(bench.rows)
    return Outcome(tuple(tables), curves_of(bench.rows), (bar,), tuple(checks))


def bar_of(rows: Sequence[Row]) -> Bar:
    """The largest number that the gateway held without TLS, against a thousand or haproxy's."""
    held = {"gateway": 0, "haproxy": 0}
    last: dict[str, str] = {}
    for row in rows:
        if row.setting == "no TLS" and row.name != NO_RELAY:
            last[row.name] = row.verdict
            if row.verdict == "held":
                held[row.name] = row.sessions
    name = "paced sessions that one core holds"
    bound = min(HELD_MIN, TO_HAPROXY_MIN * held["haproxy"]) if held["haproxy"] else HELD_MIN
    if held["gateway"] < bound and last["gateway"].startswith("not judged"):
        why = f"held {held['gateway']}, then {last['gateway']}"
        return unmeasured(name, bound, why, side=Side.AT_LEAST)
    return at_least(name, held["gateway"], bound)


def curves_of(rows: Sequence[Row]) -> tuple[Curve, ...]:
    """What is used, and what is added, by the number of sessions."""
    cpu: dict[str, list[tuple[float, float]]] = {}
    added: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.name != NO_RELAY and row.verdict in ("held", "late"):
            series = f"{row.name}, {row.setting}"
            cpu.setdefault(series, []).append((row.sessions, row.best.cpu * 100))
            worst = max(row.best.added_ms(row.direct, 0.99))
            added.setdefault(series, []).append((row.sessions, worst))
    return (
        Curve("CPU by paced sessions", "sessions", "% of a core", cpu),
        Curve("Added p99 by paced sessions", "sessions", "ms", added),
    )


@click.command()
def main() -> None:
    """What a relay adds to paced sessions, and how many one core holds."""
    end_with(measure(Scale(is_quick=False, tell=lambda line: click.echo(line, err=True))))


if __name__ == "__main__":
    main()
