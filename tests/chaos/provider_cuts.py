"""Clients of each protocol, and a provider that is cut off, or killed, at random instants.

The clients talk all the time, and one provider process stands for all. What it sent is in its usage
log, and what was charged is in the books.
"""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import click

from tests.chaos.talkers import MOVING, Talker, crowd
from tests.support.fake_provider import beside
from tests.support.harness import Cluster, cluster_folder, eventually

# Cuts come faster than a real network's: a connection that stood for any time was a good one. And
# a busy machine takes its time to start a provider.
TUNED = {
    "gateway.door.provider_reports.REPORT_S": 0.1,
    "gateway.relay.replacement.GOOD_S": 0.0,
    "gateway.relay.replacement.PAUSE_S_MAX": 1.0,
    "gateway.relay.replacement.TRIES_MAX": 60,
}


class CutNetwork:
    """Carries connections to a provider, and cuts all of them at once. ``dials`` counts them. While
    it ``is_away`` it carries none.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._open: set[asyncio.StreamWriter] = set()
        self.dials = 0
        self.is_away = False

    def cut(self) -> None:
        """Reset every connection on both sides."""
        for writer in list(self._open):
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the gateway, until either side ends it."""
        self.dials += 1
        self._open.add(writer)
        if self.is_away:
            writer.transport.abort()
            return
        try:
            there, away = await asyncio.open_connection(*self._there)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(away)
        try:
            await asyncio.gather(_pump(reader, away), _pump(there, writer))
        finally:
            self._open -= {writer, away}
            writer.transport.abort()
            away.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.transport.close()


@dataclass
class Found:
    """What a run showed."""

    talkers: list[Talker]
    blows: int = 0
    """Cuts of all connections, or kills of the provider."""
    dials: int = 0
    dials_after: int = 0
    """Those that were made after the last client had left."""
    sent: Counter[str] = field(default_factory=Counter)
    unlogged: Counter[str] = field(default_factory=Counter)
    """What may have been sent beside that: a line is written once a response has left, and a
    provider may be killed in between, at most in one of an account's."""
    charged: Counter[str] = field(default_factory=Counter)
    served: dict[str, set[str]] = field(default_factory=dict)
    """By which providers."""
    is_audit_ok: bool = False

    def problems(self) -> list[str]:
        """Everything that is not as it should be."""
        found = []
        for t in self.talkers:
            if t.closed:
                found.append(f"{t.account}: closed: {t.closed}")
            if t.errors:
                found.append(f"{t.account}: {t.errors[0]}")
            if t.mistaken:
                found.append(f"{t.account}: {t.mistaken}")
            charged, sent = self.charged[t.account], self.sent[t.account]
            if not t.tokens <= charged <= sent + self.unlogged[t.account]:
                found.append(f"{t.account}: heard {t.tokens}, charged {charged}, sent {sent}")
        if self.dials_after:
            found.append(f"{self.dials_after} dials after all had left")
        if not self.is_audit_ok:
            found.append("audit failed")
        return found


async def run(
    *, seed: int, clients: int, blows: int, pause_s: float, is_killed: bool = False
) -> Found:
    """So many clients talk while all connections are cut so many times, or with ``is_killed`` while
    the provider is killed, and started again where it was. Before every second time one of two
    providers is drained, and the other one is not: whoever may move leaves it.
    """
    chance = random.Random(seed)
    talkers = crowd(clients)
    found, over = Found(talkers), asyncio.Event()
    async with _world("".join(talker.models for talker in talkers)) as world:
        cluster, network = world.cluster, world.network
        keys = [await asyncio.to_thread(cluster.create_account, t.account) for t in talkers]
        talks = [
            asyncio.create_task(t.talk(cluster.address, key, over=over))
            for t, key in zip(talkers, keys, strict=True)
        ]
        while found.blows < blows:
            if found.blows % 2:
                await asyncio.to_thread(world.drain, found.blows // 2)
            await asyncio.sleep(chance.uniform(0, 2 * pause_s))
            if is_killed:
                await asyncio.to_thread(world.kill)
            else:
                network.cut()
            found.blows += 1
        over.set()
        await asyncio.gather(*talks)
        found.dials = network.dials
        await asyncio.to_thread(eventually, lambda: _have_ended(cluster, talkers))
        found.dials_after = network.dials - found.dials
        await asyncio.to_thread(cluster.gateways[0].stop)
        await asyncio.to_thread(world.note, found, is_killed=is_killed)
    return found


def _have_ended(cluster: Cluster, talkers: list[Talker]) -> bool:
    ended = cluster.gateways[0].log.read_text().count("session ended")
    return ended >= sum(talker.sessions for talker in talkers)


@dataclass
class _World:
    """A gateway, and a simulator that it reaches only through the network."""

    cluster: Cluster
    provider: Cluster
    network: CutNetwork

    def kill(self) -> None:
        """Kill the provider, and start it again where it was, on the same usage log."""
        simulator = self.provider.simulator
        assert simulator is not None
        listen = simulator.field("listen")
        simulator.stop(signal.SIGKILL)
        self.provider.start_simulator("--listen", listen)

    def drain(self, number: int) -> None:
        """Take one provider out of service, and bring the other one back."""
        back, drained = MOVING if number % 2 else MOVING[::-1]
        if number:
            self.cluster.accountctl("providers", "resume", back)
        self.cluster.accountctl("providers", "drain", drained)

    def note(self, found: Found, *, is_killed: bool) -> None:
        """What the simulator sent and what was charged, by account. The simulator's log names the
        model that is served, which every client has its own name for.
        """
        for entry in self.provider.usage_sent():
            if entry["kind"] in ("turn", "response") and entry["charge"] is not None:
                tokens, model = entry["charge"]["total_tokens"], entry["model"]
                found.sent[model] += tokens
                if is_killed:
                    found.unlogged[model] = max(found.unlogged[model], tokens)
        for talker in found.talkers:
            rows = self.cluster.usage_rows(talker.account)
            reported = [row for row in rows if row["kind"] == "response"]
            found.served[talker.account] = {row["provider"] for row in rows}
            found.charged[talker.account] = sum(row["total_tokens"] for row in reported)
        found.is_audit_ok = self.cluster.audit()["ok"]


@asynccontextmanager
async def _world(models: str) -> AsyncIterator[_World]:
    with cluster_folder() as provider:
        simulator = await asyncio.to_thread(provider.start_simulator)
        host, _, port = simulator.field("listen").rpartition(":")
        network = CutNetwork(host, int(port))
        server = await asyncio.start_server(network.carry, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, beside(address, tuned=TUNED, GATEWAY_MODELS_FILE=models) as cluster:
            yield _World(cluster, provider, network)


@click.command()
@click.option("--cuts", default=200, show_default=True, help="Cuts of all connections.")
@click.option("--kills", default=0, show_default=True, help="In place of cuts: of the provider.")
@click.option("--clients", default=20, show_default=True, help="Clients at a time.")
@click.option("--seed", type=int, help="Repeats the pauses in between, though not what is hit.")
def main(*, cuts: int, kills: int, clients: int, seed: int | None) -> None:
    """Cut the provider off under load, or kill it; compare what was said with what arrived."""
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    found = asyncio.run(
        run(seed=seed, clients=clients, blows=kills or cuts, pause_s=0.6, is_killed=bool(kills))
    )
    for kind in {type(t): None for t in found.talkers}:
        of_kind = [t for t in found.talkers if type(t) is kind]
        statuses: Counter[str] = sum((t.statuses for t in of_kind), start=Counter())
        click.echo(f"{kind.__name__}: {len(of_kind)} clients, responses {dict(statuses)}")
    what = "kills" if kills else "cuts"
    click.echo(f"seed {seed}: {found.blows} {what}, {found.dials} dials")
    problems = found.problems()
    for problem in problems:
        click.echo(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
