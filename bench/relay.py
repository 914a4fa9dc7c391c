"""Measures a relay's CPU for one round trip: the gateway's, that of others, and another checkout's.

50 sessions keep two frames on their way each: a client sends the next frame when one comes back.
Every frame is compared at both ends with what was sent. The gateway takes part compiled, in plain
Python, without kept sessions, and without metering. Run it from the root::

    .venv/bin/python -m bench.relay                       # beside haproxy, nginx, …
    .venv/bin/python -m bench.relay --down 16000          # with bursts of speech to the client
    .venv/bin/python -m bench.relay --against ../before   # beside another checkout, with a .venv,
                                                          # both in Python unless --compiled

All relays take turns in each round, so that other programs on the machine disturb all of them. The
CPU is the kernel's count for the process. The last lines are medians, and the ratios of the first
gateway to each of the others. Exit code 1 when the ratio to the other checkout is above ``--most``.
"""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench import unmetered_gateway
from bench.compared_relays import Relay, all_of
from bench.machine import cpu_us
from bench.never_block import charged_tokens
from bench.report import Bar, Check, Curve, Outcome, Scale, Table, at_most, unmeasured
from bench.voice import AUDIO, SPOKEN, Provider, Voice, echo_of, payload_of
from deploy import compiled as building
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually

COMPILED: Final = "gateway, compiled"
PLAIN: Final = "gateway, plain Python"
UNMETERED: Final = "the same without metering"  # as the one that is compared with the others
UNKEPT: Final = "the same without kept sessions"
NO_PATH: Final = ""  # to the editable installation, which is never compiled
SESSIONS: Final = 50
ROUNDS: Final = 5
IN_FLIGHT: Final = 2
TARGET: Final = "/v1/realtime?model=gpt-realtime"
SPOKEN_BYTES: Final = len(AUDIO)
UP: Final = f"{len(SPOKEN) / 1000:.1f} kB up"
BURST_BYTES: Final = 16_000
MOST: Final = 1.25  # times the CPU of haproxy
MOST_WITH_METERING: Final = 1.05  # times the CPU of the gateway without it
MOST_KEPT: Final = 1.05  # times the CPU of the gateway whose sessions are not kept
WARM_UP_S: Final = 1.0
OPEN_S: Final = 10.0


class Player(Voice):
    """A client that sends a frame for each frame that comes back."""

    expected = b""
    trips = trips_changed = sent = 0
    is_playing = False

    def play(self) -> None:
        """Send the first frames."""
        self.is_playing = True
        for _ in range(IN_FLIGHT):
            self._speak()

    def heard(self, payload: bytes) -> None:
        """Count a round trip and begin the next."""
        if payload.startswith(b'{"type": "response.output_audio.delta"'):
            self.trips += 1
            self.trips_changed += payload != self.expected
            if self.is_playing:
                self._speak()

    def _speak(self) -> None:
        self.sent += 1
        self.write(SPOKEN)


@dataclass(frozen=True)
class Case:
    """How many sessions, the bytes of audio of an answer, and how often it is measured. A case of
    a curve is for the gateways and haproxy alone.
    """

    sessions: int = SESSIONS
    down: int = SPOKEN_BYTES
    rounds: int = ROUNDS
    is_of_curve: bool = False

    def is_for(self, name: str) -> bool:
        """Whether a relay of this name takes part."""
        return not self.is_of_curve or name in (COMPILED, PLAIN, "haproxy")


@dataclass
class Found:
    """What was measured of one relay with one size of answers; frames are those of both ways."""

    trip_us: list[float] = field(default_factory=list)
    frames: int = 0
    frames_changed: int = 0

    @property
    def median_us(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.trip_us)


@dataclass
class Stage:
    """The provider's side, and how long things take. Answers are those of ``case``."""

    seconds: float
    warm_up_s: float = WARM_UP_S
    case: Case = field(default_factory=Case)
    ledger: dict[str, int] = field(default_factory=dict)
    heard: list[Provider] = field(default_factory=list)

    def accept(self) -> Provider:
        """The provider's end of a new session."""
        self.heard.append(Provider(self.ledger, echo_of(self.case.down)))
        return self.heard[-1]

    @property
    def reported(self) -> int:
        """The tokens that the provider has reported."""
        return sum(self.ledger.values())

    async def turn(self, relay: Relay, key: str, found: Found) -> None:
        """Measure a relay once; all frames have come back and all sessions have ended then."""
        before = len(self.heard)
        players = await self._connect(relay.address, key)
        for player in players:
            player.play()
        await asyncio.sleep(self.warm_up_s)

        def made() -> int:
            return sum(player.trips for player in players)

        before_trips, cpu = made(), cpu_us(relay.pid)
        await asyncio.sleep(self.seconds)
        # A busy machine may have made none yet, or none for which the relay had a core meanwhile.
        await until(lambda: made() > before_trips and cpu_us(relay.pid) > cpu)
        found.trip_us.append((cpu_us(relay.pid) - cpu) / (made() - before_trips))
        for player in players:
            player.is_playing = False
        await until(lambda: all(player.trips == player.sent for player in players))
        for player in players:
            player.leave()
        await until(lambda: not any(player.is_open for player in players))
        ends = self.heard[before:]
        found.frames += sum(player.trips for player in players)
        found.frames += sum(end.frames_heard for end in ends)
        found.frames_changed += sum(player.trips_changed for player in players)
        found.frames_changed += sum(end.frames_changed for end in ends)

    async def _connect(self, address: str, key: str) -> list[Player]:
        host, _, port = address.rpartition(":")
        loop, players = asyncio.get_running_loop(), []
        for _ in range(self.case.sessions):
            _, player = await loop.create_connection(
                lambda: Player(TARGET, lambda _sent, _taken: None, key=key), host, int(port)
            )
            player.expected = payload_of(echo_of(self.case.down))
            async with asyncio.timeout(OPEN_S):
                assert await player.let_in
            players.append(player)
        return players


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what the peers only count."""
    async with asyncio.timeout(OPEN_S):
        while not is_so():  # noqa: ASYNC110 - a peer has no event to wait for
            await asyncio.sleep(0.02)


def relay_of(name: str, gateway: Daemon) -> Relay:
    """A gateway as one of the relays."""
    return Relay(name, gateway.field("listen"), gateway.process.pid)


def other_forms(start: Callable[..., Daemon], path: str) -> list[Relay]:
    """The gateway in Python where ``path`` is compiled, without kept sessions, without metering."""
    found = [relay_of(PLAIN, start(PYTHONPATH=NO_PATH))] if path else []
    found.append(relay_of(UNKEPT, start(PYTHONPATH=path, GATEWAY_KEEP_SESSIONS="no")))
    script = Path(unmetered_gateway.__file__)
    return [*found, relay_of(UNMETERED, start(script=script, PYTHONPATH=path))]


def compiled_modules(*, is_quick: bool) -> Path | None:
    """Where the compiled modules are, which are made where they are not, unless ``is_quick``; None
    where nothing can be compiled.
    """
    if is_quick and not building.is_current():
        return None
    try:
        return building.ensure()
    except subprocess.CalledProcessError:
        return None


def start_other(cluster: Cluster, checkout: Path, upstream: str) -> Daemon:
    """The gateway of another checkout, on the same accountd."""
    env = {
        **cluster.env,
        "PYTHONPATH": NO_PATH,
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "OPENAI_BASE_URL": upstream,
    }
    command = checkout / ".venv" / "bin" / "rts-gateway"
    gateway = Daemon.start(str(command), "serve", env=env, folder=cluster.folder)
    cluster.gateways.append(gateway)
    eventually(lambda: "accountd reachable" in gateway.log.read_text())
    return gateway


@dataclass(frozen=True)
class Run:
    """What was measured, the gateway first; and what was charged."""

    found_by_case: dict[Case, dict[str, Found]]
    reported: int
    charged: int


async def run(
    cluster: Cluster,
    stage: Stage,
    cases: Sequence[Case],
    *,
    compiled: Path | None,
    against: Path | None = None,
    is_quick: bool = False,
    tell: Callable[[str], None] = click.echo,
) -> Run:
    """Measure in turns: each relay in each case, in each of its rounds. ``compiled`` is where the
    compiled modules are, None where the gateway runs in Python alone.
    """
    server = await asyncio.get_running_loop().create_server(stage.accept, "127.0.0.1", 0)
    provider = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    upstream = f"http://{provider}/v1"
    await asyncio.to_thread(cluster.start_accountd)
    key = await asyncio.to_thread(cluster.create_account, "bench", tokens=10**12)
    path, name = (NO_PATH, PLAIN) if compiled is None else (str(compiled), COMPILED)
    start = partial(cluster.start_gateway, OPENAI_BASE_URL=upstream, GATEWAY_SESSIONS_PER_KEY_S="0")
    ours = await asyncio.to_thread(start, PYTHONPATH=path)
    relays, charging = [relay_of(name, ours)], {COMPILED, PLAIN, UNKEPT, str(against)}
    with ExitStack() as stack:
        if against is not None:
            other = await asyncio.to_thread(start_other, cluster, against, upstream)
            relays.append(relay_of(str(against), other))
        else:
            relays += await asyncio.to_thread(other_forms, start, path)
            others = all_of(provider, cluster.folder, key, is_quick=is_quick)
            relays += await asyncio.to_thread(stack.enter_context, others)
        found_by_case = {
            case: {relay.name: Found() for relay in relays if case.is_for(relay.name)}
            for case in cases
        }
        reported = 0
        for number in range(max(case.rounds for case in cases)):
            for stage.case in (case for case in cases if number < case.rounds):
                found = found_by_case[stage.case]
                for relay in (relay for relay in relays if relay.name in found):
                    before = stage.reported
                    await stage.turn(relay, key, found[relay.name])
                    reported += stage.reported - before if relay.name in charging else 0
                told = ", ".join(f"{name} {one.trip_us[-1]:.1f}" for name, one in found.items())
                title = f"{stage.case.sessions} sessions, {stage.case.down} bytes down"
                tell(f"round {number + 1}, {title}: {told} µs of CPU for a round trip")
    charged = await asyncio.to_thread(charged_tokens, cluster, "bench", reported)
    server.close()
    for session in stage.heard:  # the gateway still waits for an answer to its cancels
        if session.transport is not None:
            session.transport.abort()
    await asyncio.sleep(0)
    return Run(found_by_case, reported, charged)


def ratios(found: Mapping[str, Found]) -> dict[str, float]:
    """The median, over the rounds, of the CPU of the first gateway to that of each other relay."""
    ours, *others = found
    return {
        name: statistics.median(
            a / b for a, b in zip(found[ours].trip_us, found[name].trip_us, strict=True)
        )
        for name in others
    }


def measure(scale: Scale) -> Outcome:
    """The gateway beside all that is installed, with small answers and with bursts of speech."""
    sessions, rounds = scale.pick(SESSIONS, quick=5), scale.pick(ROUNDS, quick=1)
    compared = [Case(sessions, down, rounds) for down in (SPOKEN_BYTES, BURST_BYTES)]
    by_sessions = [
        Case(count, SPOKEN_BYTES, scale.pick(2, quick=1), is_of_curve=True)
        for count in scale.pick((10, 50, 200, 500), quick=(2, 4))
    ]
    by_size = [
        Case(sessions, size, scale.pick(2, quick=1), is_of_curve=True)
        for size in scale.pick((1_000, 4_000, 16_000, 60_000), quick=(1_000, 60_000))
    ]
    stage = Stage(scale.pick(2.0, quick=0.05), scale.pick(WARM_UP_S, quick=0.05))
    with cluster_folder() as cluster:
        cases = [*compared, *by_sessions, *by_size]
        compiled = compiled_modules(is_quick=scale.is_quick)
        done = asyncio.run(
            run(
                cluster, stage, cases,
                compiled=compiled, is_quick=scale.is_quick, tell=scale.tell,
            )
        )  # fmt: skip
    tables, bars = [], []
    for case in compared:
        table, of_case = report_of(case, done.found_by_case[case])
        tables.append(table)
        bars += of_case
    curves = (
        curve_of(done, by_sessions, "sessions", [case.sessions for case in by_sessions]),
        curve_of(done, by_size, "kB down", [case.down / 1000 for case in by_size]),
    )
    checks = [Check("tokens charged", done.charged, done.reported)]
    for name in done.found_by_case[compared[0]]:
        founds = [found[name] for found in done.found_by_case.values() if name in found]
        frames, changed = (sum(x.frames for x in founds), sum(x.frames_changed for x in founds))
        checks.append(Check(f"frames unchanged, {name}", frames - changed, frames))
    return Outcome(tuple(tables), curves, tuple(bars), tuple(checks))


def report_of(case: Case, found: Mapping[str, Found]) -> tuple[Table, list[Bar]]:
    """What was found of all relays, and the bars."""
    size, of_others = f"{case.down / 1000:.1f} kB down", ratios(found)
    rows = tuple(
        (name, one.median_us, min(one.trip_us), max(one.trip_us), of_others.get(name))
        for name, one in found.items()
    )
    columns = ("relay", "median", "least", "most", "the first to it")
    name, ours = f"CPU of a round trip, {size}, ", next(iter(found))
    bars = [
        at_most(f"{name}{ours}, to haproxy", of_others["haproxy"], MOST)
        if "haproxy" in of_others
        else unmeasured(f"{name}{ours}, to haproxy", MOST, "haproxy is not installed"),
        at_most(f"{name}with metering to without", of_others[UNMETERED], MOST_WITH_METERING),
        at_most(f"{name}with kept sessions to without", of_others[UNKEPT], MOST_KEPT),
    ]
    return Table(f"CPU of a round trip, {UP}, {size}, µs", columns, rows), bars


def curve_of(done: Run, cases: Sequence[Case], label: str, sizes: Sequence[float]) -> Curve:
    """The CPU of a round trip by the size in which the cases differ."""
    series: dict[str, list[tuple[float, float]]] = {}
    for case, size in zip(cases, sizes, strict=True):
        for name, one in done.found_by_case[case].items():
            series.setdefault(name, []).append((size, one.median_us))
    title = f"CPU of a round trip by {label}"
    return Curve(title, label, "µs", series, is_x_log=True)


@click.command()
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Of each measurement.")
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--down", default=SPOKEN_BYTES, show_default=True, help="Bytes of audio to a client.")
@click.option("--most", default=1.02, show_default=True, help="The ratio above which it fails.")
@click.option("--compiled/--python", "is_compiled", default=None, help="Which form is measured.")
def main(
    *,
    rounds: int,
    seconds: float,
    against: Path | None,
    down: int,
    most: float,
    is_compiled: bool | None,
) -> None:
    """CPU of a round trip through the gateway, and through others."""
    other = against and against.resolve()
    if is_compiled is None:
        is_compiled = other is None
    compiled = compiled_modules(is_quick=False) if is_compiled else None
    with cluster_folder() as cluster:
        case = Case(down=down, rounds=rounds)
        stage = Stage(seconds)
        done = asyncio.run(run(cluster, stage, [case], compiled=compiled, against=other))
    found = done.found_by_case[case]
    for name, one in found.items():
        click.echo(f"{name}: median {one.median_us:.1f} µs")
    for name, ratio in ratios(found).items():
        click.echo(f"ratio to {name}: {ratio:.3f}")
        if against is not None and ratio > most:
            sys.exit(f"expected at most {most}")


if __name__ == "__main__":
    main()
