"""Measures how much slower a round trip of voice is while accountd is stopped.

Run it from the root of the project: ``.venv/bin/python -m bench.never_block``. 50 sessions send a
frame every 20 ms through a gateway; all processes are real. accountd is stopped (SIGSTOP) in every
other phase. In the first phase the clients connect to the provider directly: the difference to it
is the relay's. At the end every token that the provider reported must be charged.

The bound applies to the p99 of all round trips together. Other programs on the machine slow down
whole seconds of any phase. So the table also has the p99 of the median second, and the share of the
time for which the gateway waited for a core (``waited``, from the kernel). When that is 2 % or more
in either condition, the machine was too busy to judge the difference.

Exit code 1 when the p99 differs by more than 2 ms, a session closed, or a token is missing; 75 when
everything else is right and the machine was too busy to judge the p99.
"""

import asyncio
import signal
import statistics
import sys
import time
from bisect import bisect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop

from bench.report import Bar, Cell, Check, Outcome, Scale, Table, at_most, text_of, unmeasured
from bench.scenarios import end_with
from bench.voice import FRAME_S, Voice, connect, provide
from shared.errors import ExitCode
from tests.support.harness import Cluster, cluster_folder

BAR_MS: Final = 2.0
WAITED_MAX: Final = 0.02  # the share of the time for which the gateway may wait for a core
SESSIONS: Final = 50
PHASE_S: Final = 30.0
ROUNDS: Final = 2
DIRECT_S: Final = 10.0
CHARGED_S: Final = 30.0
ECHOED_S: Final = 10.0
MODEL: Final = "model=gpt-realtime"


@dataclass
class Phase:
    """The round trips of a phase, each as (time of its beginning, duration), in seconds."""

    name: str
    is_stopped: bool = False
    trips: list[tuple[float, float]] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0
    waited_s: float = 0.0  # time for which the gateway waited for a core

    @property
    def answered_within(self) -> int:
        """The number of round trips that ended before the phase."""
        ended = self.began + self.seconds
        return sum(1 for sent_at, taken in self.trips if sent_at + taken < ended)

    def quantile_ms(self, share: float) -> float:
        """A quantile of all round trips, in milliseconds."""
        return quantile([taken for _, taken in self.trips], share) * 1000

    @property
    def waited_share(self) -> float:
        """The share of the time for which the gateway waited for a core."""
        return self.waited_s / self.seconds

    def typical_ms(self, share: float) -> float:
        """The median of the quantiles of each second, in milliseconds."""
        by_second: dict[int, list[float]] = {}
        for began, taken in self.trips:
            by_second.setdefault(int(began), []).append(taken)
        return statistics.median(quantile(s, share) for s in by_second.values()) * 1000


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def waited_s(pid: int) -> float:
    """The time for which a process has waited for a core since its start (schedstat)."""
    fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(fields[1]) / 1e9


class Recorder:
    """Assigns round trips to phases by the time of their beginning."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self.phases: list[Phase] = []

    def begin(self, phase: Phase, now: float) -> None:
        """Begin ``phase`` at ``now``."""
        phase.began = now
        self._starts.append(now)
        self.phases.append(phase)

    def note(self, sent_at: float, seconds: float) -> None:
        """Add a round trip."""
        self.phases[bisect(self._starts, sent_at) - 1].trips.append((sent_at, seconds))


async def talk_through(
    voices: list[Voice], recorder: Recorder, phases: list[Phase], cluster: Cluster, seconds: float
) -> None:
    """Let all voices talk through ``phases``, each of ``seconds``."""
    assert cluster.accountd is not None
    accountd, gateway = cluster.accountd.process, cluster.gateways[0].process
    for number, voice in enumerate(voices):
        voice.talk(delay_s=FRAME_S * number / len(voices))
    for phase in phases:
        recorder.begin(phase, time.monotonic())
        if phase.is_stopped:
            accountd.send_signal(signal.SIGSTOP)
        phase.seconds, phase.waited_s = seconds, -waited_s(gateway.pid)
        await asyncio.sleep(seconds)
        phase.waited_s += waited_s(gateway.pid)
        accountd.send_signal(signal.SIGCONT)
    for voice in voices:
        voice.fall_silent()
    await wait_for_echoes(voices)


async def wait_for_echoes(voices: list[Voice]) -> None:
    """Wait for the last echoes, for a limited time."""
    deadline = time.monotonic() + ECHOED_S
    while any(voice.unanswered for voice in voices) and time.monotonic() < deadline:  # noqa: ASYNC110 - a voice only counts, it has no event to wait for
        await asyncio.sleep(0.1)


def measure(scale: Scale) -> Outcome:
    """Measure with the sizes that the command has."""
    with cluster_folder() as cluster:
        return uvloop.run(
            run(
                cluster, sessions=SESSIONS, seconds=scale.pick(PHASE_S, quick=1.0),
                rounds=scale.pick(ROUNDS, quick=1), direct_s=scale.pick(DIRECT_S, quick=0.5),
            )
        )  # fmt: skip


async def run(
    cluster: Cluster, *, sessions: int, seconds: float, rounds: int, direct_s: float = DIRECT_S
) -> Outcome:
    """Measure without a gateway for ``direct_s``, then ``rounds`` phases of each kind."""
    ledger: dict[str, int] = {}
    direct_ledger: dict[str, int] = {}
    recorder = Recorder()
    server, provider = await provide(ledger)
    direct_server, direct_provider = await provide(direct_ledger)
    cluster.env["OPENAI_BASE_URL"] = f"http://{provider}/v1"
    cluster.start_accountd()
    cluster.env["GATEWAY_SESSIONS_PER_KEY_S"] = "0"  # all sessions have one key
    await asyncio.to_thread(cluster.start_gateway)
    key = cluster.create_account("acct")
    target = f"/v1/realtime?{MODEL}&rs_key={key}"

    direct = [await connect(direct_provider, "/v1", recorder.note) for _ in range(sessions)]
    base = Phase("no gateway")
    await talk_through(direct, recorder, [base], cluster, direct_s)
    for voice in direct:
        voice.leave()
    voices = [await connect(cluster.address, target, recorder.note) for _ in range(sessions)]
    phases = [
        Phase(name, is_stopped)
        for _ in range(rounds)
        for name, is_stopped in (("accountd runs", False), ("accountd stopped", True))
    ]
    await talk_through(voices, recorder, phases, cluster, seconds)
    closed = sum(1 for voice in voices if not voice.is_open)
    for voice in voices:
        voice.leave()
    charged = await asyncio.to_thread(charged_tokens, cluster, "acct", sum(ledger.values()))
    server.close()
    direct_server.close()
    return Outcome(
        tables=(table(base, phases),),
        bars=(bar(phases),),
        checks=(
            Check("sessions open at the end", sessions - closed, sessions),
            Check("tokens charged", charged, sum(ledger.values())),
        ),
    )


def charged_tokens(cluster: Cluster, account: str, expected: int) -> int:
    """The tokens charged; waits, for a limited time, until they are ``expected``."""
    deadline = time.monotonic() + CHARGED_S
    while True:
        found = int(cluster.accountctl("usage", account)["totals"]["total_tokens"])
        if found >= expected or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def merged(phases: list[Phase]) -> tuple[Phase, Phase]:
    """All phases in which accountd ran, and all in which it was stopped."""
    running, stopped = Phase("all, running"), Phase("all, stopped", is_stopped=True)
    for phase in phases:
        into = stopped if phase.is_stopped else running
        into.trips += phase.trips
        into.seconds += phase.seconds
        into.waited_s += phase.waited_s
    return running, stopped


def table(base: Phase, phases: list[Phase]) -> Table:
    """A row for each phase; *added* is what the median second has more than without a gateway."""
    columns = (
        "phase", "frames", "p50", "p99", "median second, p50", "p99", "added, p50", "p99",
        "waited, %",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for phase in (base, *phases, *merged(phases)):
        typical = [phase.typical_ms(share) for share in (0.5, 0.99)]
        added = [phase.typical_ms(share) - base.typical_ms(share) for share in (0.5, 0.99)]
        whole = [phase.quantile_ms(share) for share in (0.5, 0.99)]
        waited = phase.waited_share * 100
        rows.append((phase.name, len(phase.trips), *whole, *typical, *added, waited))
    return Table("Round trips while accountd is stopped, ms", columns, tuple(rows))


def bar(phases: list[Phase]) -> Bar:
    """The difference of the p99, unless the machine was too busy to judge it."""
    name = "added p99, accountd stopped minus running, ms"
    running, stopped = merged(phases)
    waited = max(running.waited_share, stopped.waited_share)
    if waited >= WAITED_MAX:
        return unmeasured(name, BAR_MS, f"the gateway waited for a core for {waited:.1%}")
    return at_most(name, stopped.quantile_ms(0.99) - running.quantile_ms(0.99), BAR_MS)


@click.command()
@click.option("--sessions", default=SESSIONS, show_default=True, help="Voice sessions.")
@click.option("--seconds", default=PHASE_S, show_default=True, help="Length of a phase.")
@click.option("--rounds", default=ROUNDS, show_default=True, help="Phases with accountd, without.")
def main(*, sessions: int, seconds: float, rounds: int) -> None:
    """Measure the relay with and without accountd."""
    with cluster_folder() as cluster:
        found = uvloop.run(run(cluster, sessions=sessions, seconds=seconds, rounds=rounds))
    if found.is_right and found.bars[0].is_met is None:
        click.echo(text_of(found))
        sys.exit(ExitCode.NOT_NOW)
    end_with(found)


if __name__ == "__main__":
    main()
