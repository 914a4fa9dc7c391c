"""Measures a relay's CPU for one round trip: the gateway's, haproxy's, and another checkout's.

50 sessions keep two frames on their way each: a client sends the next frame when one comes back.
Metering is on. Run it from the root of the project::

    .venv/bin/python -m bench.relay                       # beside haproxy and bare asyncio
    .venv/bin/python -m bench.relay --against ../before   # beside another checkout, with a .venv

All relays take turns in each round, so that other programs on the machine disturb all of them. The
CPU is the kernel's count for the process. The last lines are medians, and the ratios of the gateway
to each of the others. Exit code 1 when the ratio to the other checkout is above ``--most``.
"""

import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from bench.compared_relays import Relay, haproxy, splice
from bench.voice import SPOKEN, Provider, Voice, provide
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually

GATEWAY: Final = "gateway"
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
    """Open the sessions of one relay."""
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


async def measure(relay: Relay, target: str, seconds: float) -> float:
    """Microseconds of CPU for one round trip."""
    players = await connect(relay.address, target)
    for player in players:
        player.play()
    await asyncio.sleep(WARM_UP_S)
    trips, cpu = sum(player.trips for player in players), cpu_us(relay.pid)
    await asyncio.sleep(seconds)
    trips = sum(player.trips for player in players) - trips
    cpu = cpu_us(relay.pid) - cpu
    for player in players:
        player.is_playing = False
        player.leave()
    await asyncio.sleep(WARM_UP_S)
    assert not any(player.is_open for player in players), "a session did not end"
    return cpu / trips


def relay_of(name: str, gateway: Daemon) -> Relay:
    """A gateway as one of the relays."""
    return Relay(name, gateway.field("listen"), gateway.process.pid)


def start_other(cluster: Cluster, checkout: Path, upstream: str) -> Daemon:
    """The gateway of another checkout, on the same accountd."""
    env = {**cluster.env, "GATEWAY_LISTEN": "127.0.0.1:0", "OPENAI_BASE_URL": upstream}
    command = checkout / ".venv" / "bin" / "rts-gateway"
    gateway = Daemon.start(str(command), "serve", env=env, folder=cluster.folder)
    cluster.gateways.append(gateway)
    eventually(lambda: "accountd reachable" in gateway.log.read_text())
    return gateway


async def run(
    cluster: Cluster, rounds: int, seconds: float, against: Path | None
) -> dict[str, list[float]]:
    """Measure in turns: the microseconds of each relay in each round, the gateway's first."""
    ledger: dict[str, int] = {}
    sessions: list[Provider] = []
    server, provider = await provide(ledger, sessions)
    upstream = f"http://{provider}/v1"
    await asyncio.to_thread(cluster.start_accountd)
    key = await asyncio.to_thread(cluster.create_account, "bench", tokens=10**12)
    target = f"/v1/realtime?{MODEL}&key={key}"
    ours = await asyncio.to_thread(cluster.start_gateway, OPENAI_BASE_URL=upstream)
    relays = [relay_of(GATEWAY, ours)]
    with ExitStack() as stack:
        if against is not None:
            other = await asyncio.to_thread(start_other, cluster, against, upstream)
            relays.append(relay_of(str(against), other))
        else:
            proxy = stack.enter_context(haproxy(provider, cluster.folder))
            relays += [proxy] if proxy is not None else []
            relays.append(stack.enter_context(splice(provider)))
        await asyncio.sleep(WARM_UP_S)
        found: dict[str, list[float]] = {relay.name: [] for relay in relays}
        for number in range(1, rounds + 1):
            for relay in relays:
                found[relay.name].append(await measure(relay, target, seconds))
            told = ", ".join(f"{name} {taken[-1]:.1f}" for name, taken in found.items())
            click.echo(f"round {number}: {told} µs of CPU for a round trip")
    server.close()
    for session in sessions:  # the gateway still waits for an answer to its cancels
        if session.transport is not None:
            session.transport.abort()
    await asyncio.sleep(0)
    return found


def ratios(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median, over the rounds, of the gateway's CPU to that of each other relay."""
    ours = found[GATEWAY]
    return {
        name: statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        for name, theirs in found.items()
        if name != GATEWAY
    }


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Of each measurement.")
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--most", default=1.02, show_default=True, help="The ratio above which it fails.")
def main(rounds: int, seconds: float, against: Path | None, most: float) -> None:
    """CPU of a round trip through the gateway, and through others."""
    with cluster_folder() as cluster:
        found = asyncio.run(run(cluster, rounds, seconds, against and against.resolve()))
    for name, taken in found.items():
        click.echo(f"{name}: median {statistics.median(taken):.1f} µs")
    for name, ratio in ratios(found).items():
        click.echo(f"ratio to {name}: {ratio:.3f}")
        if against is not None and ratio > most:
            sys.exit(f"expected at most {most}")


if __name__ == "__main__":
    main()
