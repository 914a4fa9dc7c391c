"""Clients of one protocol, a provider of another, and a network between gateway and provider that
breaks at random instants.

The clients talk all the time. What reached the provider is read in what it says at the end: the
simulator's ``recall`` repeats the conversation. What it sent is in its usage log, and what was
charged is in the books.
"""

import asyncio
import base64
import json
import random
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import beside
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.speech import tone

Event = dict[str, Any]
TURN_S = 40.0  # a dial that broke is tried again after up to four seconds
# Cuts come faster than a real network's: a connection that stood for any time was a good one.
TUNED = {"gateway.relay.replacement.GOOD_S": 0.0}
# Of one session: a translator keeps the newest 400 items, and 256 KiB of them.
TURNS_MAX = 40
SPOKEN_EACH = 3  # every so many turns are spoken
CALM_S = 1.0  # before the last turn: longer than a dial takes
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
# Words of a text, and what the simulator of Gemini hears in speech of a length. Audio that is
# converted may lose a sample at its end.
_SAID = re.compile(r"said-(\d+)-end|This was speech of (\d+) ms")


class CutNetwork:
    """Carries connections to a provider, and cuts all of them at once. ``dials`` counts them."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._open: set[asyncio.StreamWriter] = set()
        self.dials = 0

    def cut(self) -> None:
        """Reset every connection on both sides."""
        for writer in list(self._open):
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the gateway, until either side ends it."""
        self.dials += 1
        self._open.add(writer)
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
class Talker:
    """A client that speaks OpenAI's protocol to Gemini, and what it saw."""

    number: int
    is_written: bool
    sessions: int = 0
    turns: int = 0
    """Of the session; so are the next two."""
    said: list[str] = field(default_factory=list)
    """What it told the provider, in order: the number of a text, or the length of a speech."""
    unheard: set[str] = field(default_factory=set)
    """Speech of which no transcript came: audio is not kept, so a cut may take it away."""
    statuses: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    """Of the responses that it heard to their end."""
    errors: list[Event] = field(default_factory=list)
    closed: str = ""
    mistaken: str = ""
    """What the provider recalled otherwise than it was said, the first time."""

    @property
    def account(self) -> str:
        """Its account."""
        return f"a{self.number}"

    async def talk(self, address: str, key: str, *, over: asyncio.Event) -> None:
        """One session after the other until it is ``over``; the last turn is undisturbed."""
        query = f"model=sim-recall,pace-20,served-{self.account}&rs_core=GEMINI&rs_key={key}"
        while not (over.is_set() or self.closed):
            self.turns, self.said, self.unheard = 0, [], set()
            self.sessions += 1
            async with connect(f"ws://{address}/v1/realtime?{query}", max_size=None) as socket:
                try:
                    await self._session(socket, over)
                except ConnectionClosed as exc:
                    self.closed = str(exc)

    async def _session(self, socket: ClientConnection, over: asyncio.Event) -> None:
        await _send(socket, self._update())
        while self.turns < TURNS_MAX and not over.is_set():
            await self._turn(socket)
        if over.is_set():
            await asyncio.sleep(CALM_S)
            await self._turn(socket)

    def _update(self) -> Event:
        kinds = ["text"] if self.is_written else ["audio"]
        heard = {"turn_detection": None, "transcription": {"model": "whisper-1"}}
        session = {"type": "realtime", "output_modalities": kinds, "audio": {"input": heard}}
        return {"type": "session.update", "session": session}

    async def _turn(self, socket: ClientConnection) -> None:
        """Say something, and hear the answer to its end, however that is."""
        self.turns += 1
        if self.turns % SPOKEN_EACH == 0:
            milliseconds = 200 + 10 * (self.turns // SPOKEN_EACH)
            audio = base64.b64encode(tone(milliseconds / 1000)).decode()
            await _send(socket, {"type": "input_audio_buffer.append", "audio": audio})
            await _send(socket, {"type": "input_audio_buffer.commit"})
            self.said.append(str(milliseconds))
            self.unheard.add(str(milliseconds))
        else:
            content = [{"type": "input_text", "text": f"said-{self.turns}-end"}]
            item = {"type": "message", "role": "user", "content": content}
            await _send(socket, {"type": "conversation.item.create", "item": item})
            self.said.append(str(self.turns))
        await _send(socket, {"type": "response.create"})
        async with asyncio.timeout(TURN_S):
            while True:
                event = json.loads(await socket.recv())
                if event["type"] == "error":
                    self.errors.append(event["error"])
                elif event["type"] == _TRANSCRIBED:
                    self.unheard.difference_update(_said(event["transcript"]))
                elif event["type"] == "response.done":
                    self._heard(event["response"])
                    return

    def _heard(self, response: Event) -> None:
        """Compare what the provider knows with what was said, each time that it tells all of it."""
        self.statuses[response["status"]] += 1
        if response["status"] != "completed":
            return
        self.tokens += response["usage"]["total_tokens"]
        parts = [p for item in response["output"] for p in item.get("content", [])]
        told = "".join(p.get("text") or p.get("transcript") or "" for p in parts)
        self.compare(_said(told))

    def compare(self, recalled: list[str]) -> None:
        """Note where the provider recalls something else than was said."""
        expected = [x for x in self.said if x not in self.unheard or x in recalled]
        if recalled != expected and not self.mistaken:
            self.mistaken = f"said {expected}, recalled {recalled}"


def _said(line: str) -> list[str]:
    """What a client said, in a line of what the provider recalls."""
    return [text or str(round(int(ms), -1)) for text, ms in _SAID.findall(line)]


@dataclass
class Found:
    """What a run showed."""

    talkers: list[Talker]
    cuts: int = 0
    dials: int = 0
    dials_after: int = 0
    """Those that were made after the last client had left."""
    sent: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
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
            if not t.tokens <= charged <= sent:
                found.append(f"{t.account}: heard {t.tokens}, charged {charged}, sent {sent}")
        if self.dials_after:
            found.append(f"{self.dials_after} dials after all had left")
        if not self.is_audit_ok:
            found.append("audit failed")
        return found


async def run(*, seed: int, clients: int, cuts: int, pause_s: float) -> Found:
    """So many clients talk while all connections are cut so many times."""
    chance = random.Random(seed)
    talkers = [Talker(n, is_written=n % 2 == 0) for n in range(clients)]
    found, over = Found(talkers), asyncio.Event()
    async with _world() as world:
        cluster, network = world.cluster, world.network
        keys = [await asyncio.to_thread(cluster.create_account, t.account) for t in talkers]
        talks = [
            asyncio.create_task(t.talk(cluster.address, key, over=over))
            for t, key in zip(talkers, keys, strict=True)
        ]
        while found.cuts < cuts:
            await asyncio.sleep(chance.uniform(0, 2 * pause_s))
            network.cut()
            found.cuts += 1
        over.set()
        await asyncio.gather(*talks)
        found.dials = network.dials
        await asyncio.to_thread(eventually, lambda: _have_ended(cluster, talkers))
        found.dials_after = network.dials - found.dials
        await asyncio.to_thread(cluster.gateways[0].stop)
        await asyncio.to_thread(world.note, found)
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

    def note(self, found: Found) -> None:
        """What the simulator sent and what was charged, by account. The simulator's log names the
        model that is served, which every client has its own name for.
        """
        for entry in self.provider.usage_sent():
            if entry["kind"] == "turn" and entry["charge"] is not None:
                found.sent[entry["model"]] += entry["charge"]["total_tokens"]
        for talker in found.talkers:
            rows = self.cluster.usage_rows(talker.account)
            reported = [row for row in rows if row["kind"] == "response"]
            found.charged[talker.account] = sum(row["total_tokens"] for row in reported)
        found.is_audit_ok = self.cluster.audit()["ok"]


@asynccontextmanager
async def _world() -> AsyncIterator[_World]:
    with cluster_folder() as provider:
        simulator = await asyncio.to_thread(provider.start_simulator)
        host, _, port = simulator.field("listen").rpartition(":")
        network = CutNetwork(host, int(port))
        server = await asyncio.start_server(network.carry, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, beside(address, tuned=TUNED) as cluster:
            yield _World(cluster, provider, network)


async def _send(socket: ClientConnection, event: Event) -> None:
    await socket.send(json.dumps(event))


@click.command()
@click.option("--cuts", default=200, show_default=True, help="Cuts of all connections.")
@click.option("--clients", default=20, show_default=True, help="Clients at a time.")
@click.option("--seed", type=int, help="Repeats the pauses between cuts, though not what they hit.")
def main(*, cuts: int, clients: int, seed: int | None) -> None:
    """Cut the provider's connections under load; compare what was said with what arrived."""
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    found = asyncio.run(run(seed=seed, clients=clients, cuts=cuts, pause_s=0.6))
    statuses: Counter[str] = sum((t.statuses for t in found.talkers), start=Counter())
    click.echo(f"seed {seed}: {found.cuts} cuts, {found.dials} dials, responses {dict(statuses)}")
    problems = found.problems()
    for problem in problems:
        click.echo(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
