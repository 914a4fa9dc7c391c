"""Does voice notice that accountd is away? Real processes, paced sessions, alternate phases.

Run it from the root of the project: ``.venv/bin/python -m bench.never_block``. 50 sessions talk
through a gateway, a frame every 20 ms. accountd is stopped (SIGSTOP) in every other phase. The
first phase talks to the provider directly: what is above it is the relay's. At the end every token
that the provider reported must be charged. Exit code 1 when the p99 differs by 2 ms or more, when a
session closed, or when a token is missing.
"""

import asyncio
import signal
import sys
import time
from bisect import bisect
from dataclasses import dataclass, field
from typing import Final

import click
import uvloop

from bench.voice import FRAME_S, Voice, connect, provide
from tests.harness import Cluster, cluster_folder

BAR_MS: Final = 2.0
DIRECT_S: Final = 10.0
CHARGED_S: Final = 30.0
MODEL: Final = "model=gpt-realtime"


@dataclass
class Phase:
    """A stretch of time and the round trips that began in it, in seconds."""

    name: str
    is_stopped: bool = False
    trips: list[float] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """A quantile of the round trips, in milliseconds."""
        return quantile(self.trips, share) * 1000


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Recorder:
    """Sorts round trips into phases by when they began."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self.phases: list[Phase] = []

    def begin(self, phase: Phase, now: float) -> None:
        """From ``now`` on."""
        self._starts.append(now)
        self.phases.append(phase)

    def note(self, sent_at: float, seconds: float) -> None:
        """A round trip."""
        self.phases[bisect(self._starts, sent_at) - 1].trips.append(seconds)


async def talk_through(
    voices: list[Voice], recorder: Recorder, phases: list[Phase], cluster: Cluster, seconds: float
) -> None:
    """All voices at once, through phases of so many seconds."""
    assert cluster.accountd is not None
    loop, accountd = asyncio.get_running_loop(), cluster.accountd.process
    for number, voice in enumerate(voices):
        voice.talk(delay_s=FRAME_S * number / len(voices))
    for phase in phases:
        recorder.begin(phase, loop.time())
        if phase.is_stopped:
            accountd.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        accountd.send_signal(signal.SIGCONT)
    for voice in voices:
        voice.fall_silent()
    await asyncio.sleep(0.5)


async def measure(cluster: Cluster, *, sessions: int, seconds: float, rounds: int) -> bool:
    """Measure, print, and say whether the bars were met."""
    ledger: dict[str, int] = {}
    direct_ledger: dict[str, int] = {}
    recorder = Recorder()
    server, provider = await provide(ledger)
    direct_server, direct_provider = await provide(direct_ledger)
    cluster.env["OPENAI_BASE_URL"] = f"http://{provider}/v1"
    cluster.start_accountd()
    await asyncio.to_thread(cluster.start_gateway)
    key = cluster.create_account("acct")
    target = f"/v1/realtime?{MODEL}&rs_key={key}"

    direct = [await connect(direct_provider, "/v1", recorder.note) for _ in range(sessions)]
    base = Phase("no gateway")
    await talk_through(direct, recorder, [base], cluster, DIRECT_S)
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
    charged = await asyncio.to_thread(charged_tokens, cluster, sum(ledger.values()))
    server.close()
    direct_server.close()
    return report(base, phases, closed=closed, charged=charged, reported=sum(ledger.values()))


def charged_tokens(cluster: Cluster, expected: int) -> int:
    """What is charged in the end; it waits for what is expected."""
    deadline = time.monotonic() + CHARGED_S
    while True:
        found = int(cluster.accountctl("usage", "acct")["totals"]["total_tokens"])
        if found >= expected or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def report(base: Phase, phases: list[Phase], *, closed: int, charged: int, reported: int) -> bool:
    """Print the table; whether the bars were met."""
    merged = [Phase("all, running"), Phase("all, stopped", is_stopped=True)]
    for phase in phases:
        merged[phase.is_stopped].trips += phase.trips
    low, high = base.quantile_ms(0.5), base.quantile_ms(0.99)
    print(f"  {'round trip, ms':<20}{'frames':>10}{'p50':>8}{'p99':>8}{'added p50':>11}{'p99':>8}")
    for phase in (base, *phases, *merged):
        p50, p99 = phase.quantile_ms(0.5), phase.quantile_ms(0.99)
        print(
            f"  {phase.name:<20}{len(phase.trips):>10,}{p50:>8.2f}{p99:>8.2f}"
            f"{p50 - low:>11.2f}{p99 - high:>8.2f}"
        )
    difference = merged[1].quantile_ms(0.99) - merged[0].quantile_ms(0.99)
    print(f"  p99 stopped minus running: {difference:+.2f} ms (bar: below {BAR_MS:g})")
    print(f"  sessions that closed: {closed}")
    print(f"  tokens reported {reported:,}, charged {charged:,}")
    return difference < BAR_MS and not closed and charged == reported


@click.command()
@click.option("--sessions", default=50, show_default=True, help="Voice sessions.")
@click.option("--seconds", default=30.0, show_default=True, help="Length of a phase.")
@click.option("--rounds", default=2, show_default=True, help="Phases with accountd, and without.")
def main(*, sessions: int, seconds: float, rounds: int) -> None:
    """Measure the relay with and without accountd."""
    with cluster_folder() as cluster:
        is_met = uvloop.run(measure(cluster, sessions=sessions, seconds=seconds, rounds=rounds))
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
