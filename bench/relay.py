"""Measures the gateway's CPU for one round trip, and compares it with another checkout's.

50 sessions keep two frames in flight each: a client sends the next frame when one comes back.
Metering is on. Run it from the root of the project::

    .venv/bin/python -m bench.relay                       # this checkout alone
    .venv/bin/python -m bench.relay --against ../before   # its ratio to another, which has a .venv

The two gateways take turns, so that other programs on the machine disturb both. The CPU is the
kernel's count for the gateway's process. Exit code 1 when the ratio is above ``--most``.
"""

import asyncio
import statistics
import sys
from pathlib import Path
from typing import Final

import click

from bench.voice import SPOKEN, Voice, provide
from shared.errors import ExitCode
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually

SESSIONS: Final = 50
IN_FLIGHT: Final = 2
MODEL: Final = "model=gpt-realtime"
WARM_UP_S: Final = 1.0
OPEN_S: Final = 10.0


def cpu_us(pid: int) -> float:
    """The CPU that all threads of a process have used, in microseconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e3


class Player(Voice):
    """A client that sends a frame for each frame that comes back."""

    trips = 0
    is_playing = False

    def play(self) -> None:
        """Send the first frames."""
        self.is_playing = True
        for _ in range(IN_FLIGHT):
            self.write(SPOKEN)

    def heard(self, payload: bytes) -> None:
        """Count a round trip and begin the next."""
        if payload.startswith(b'{"type": "response.output_audio.delta"'):
            self.trips += 1
            if self.is_playing:
                self.write(SPOKEN)


async def connect(address: str, target: str) -> list[Player]:
    """Open the sessions of one gateway."""
    host, _, port = address.rpartition(":")
    loop, players = asyncio.get_running_loop(), []
    for _ in range(SESSIONS):
        _, player = await loop.create_connection(
            lambda: Player(target, lambda _sent, _taken: None), host, int(port)
        )
        async with asyncio.timeout(OPEN_S):
            assert await player.let_in
        players.append(player)
    return players


async def measure(gateway: Daemon, target: str, seconds: float) -> float:
    """Microseconds of CPU for one round trip."""
    players = await connect(gateway.field("listen"), target)
    for player in players:
        player.play()
    await asyncio.sleep(WARM_UP_S)
    trips, cpu = sum(player.trips for player in players), cpu_us(gateway.process.pid)
    await asyncio.sleep(seconds)
    trips = sum(player.trips for player in players) - trips
    cpu = cpu_us(gateway.process.pid) - cpu
    for player in players:
        player.is_playing = False
        player.leave()
    await asyncio.sleep(WARM_UP_S)
    return cpu / trips


def start_other(cluster: Cluster, checkout: Path, upstream: str) -> Daemon:
    """The gateway of another checkout, on the same accountd."""
    env = {**cluster.env, "GATEWAY_LISTEN": "127.0.0.1:0", "OPENAI_BASE_URL": upstream}
    command = checkout / ".venv" / "bin" / "rts-gateway"
    gateway = Daemon.start(str(command), "serve", env=env, folder=cluster.folder)
    cluster.gateways.append(gateway)
    eventually(lambda: "accountd reachable" in gateway.log.read_text())
    return gateway


async def run(cluster: Cluster, rounds: int, seconds: float, against: Path | None) -> float:
    """Measure in turns; returns the median of the ratios, 1.0 without another checkout."""
    ledger: dict[str, int] = {}
    server, provider = await provide(ledger)
    upstream = f"http://{provider}/v1"
    await asyncio.to_thread(cluster.start_accountd)
    key = await asyncio.to_thread(cluster.create_account, "bench", tokens=10**12)
    target = f"/v1/realtime?{MODEL}&key={key}"
    ours = await asyncio.to_thread(cluster.start_gateway, OPENAI_BASE_URL=upstream)
    other: Daemon | None = None
    if against is not None:
        other = await asyncio.to_thread(start_other, cluster, against, upstream)
    ratios = []
    for number in range(1, rounds + 1):
        before = await measure(other, target, seconds) if other else 0.0
        after = await measure(ours, target, seconds)
        ratios.append(after / before if other else 1.0)
        beside = f", {before:6.1f} µs there, ratio {ratios[-1]:.3f}" if other else ""
        click.echo(f"round {number}: {after:6.1f} µs of CPU for a round trip{beside}")
    server.close()
    return statistics.median(ratios)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Of each measurement.")
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--most", default=1.02, show_default=True, help="The ratio above which it fails.")
def main(rounds: int, seconds: float, against: Path | None, most: float) -> None:
    """CPU of a round trip through the gateway."""
    with cluster_folder() as cluster:
        ratio = asyncio.run(run(cluster, rounds, seconds, against and against.resolve()))
    if against is not None:
        click.echo(f"median ratio {ratio:.3f}, at most {most}")
        sys.exit(ExitCode.REFUSED if ratio > most else 0)


if __name__ == "__main__":
    main()
