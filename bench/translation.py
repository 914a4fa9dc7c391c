"""Measures what translating costs: the gateway's CPU for a spoken turn, and what it adds to a wait.

The same spoken turn (3 s of speech up in pieces of 20 ms, the simulator's answer of 3 s down) is
held by clients that speak the provider's own protocol and by those that do not, with every pair of
protocols in turn::

    .venv/bin/python -m bench.translation

20 clients speak at once, each at the pace of speech. The CPU is the kernel's count for the gateway
process in plain Python. It is compared with that of the spliced session whose client speaks the
same protocol, and takes the same audio. The wait is the time from a client's last message to the
first audio that it hears, compared with the spliced session of the same provider, which has the
same to do. Rounds alternate, so that other programs on the machine disturb all of them.
"""

import asyncio
import base64
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import click
from websockets.asyncio.client import ClientConnection, connect

from bench.machine import cpu_us
from bench.report import Bar, Check, Outcome, Scale, Table, at_most
from bench.scenarios import end_with
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.speech import chunks, tone

SPOKEN_S: Final = 3.0
CHUNK_MS: Final = 20
SESSIONS: Final = 20
MODEL: Final = "sim-pace-0,reply_ms-3000"
GEMINI: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MOST: Final = 3.0  # times the CPU of the spliced session
ADDED_P99_MS: Final = 10.0


def _message(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


class OpenAIClient:
    """Speaks OpenAI's protocol, in turns of its own."""

    path = f"/v1/realtime?model={MODEL}"
    set_up = _message(
        {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
        }
    )
    is_set_up = b'"session.updated"'
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = (
        _message({"type": "input_audio_buffer.commit"}),
        _message({"type": "response.create"}),
    )
    has_audio = b'"response.output_audio.delta"'
    has_ended = b'"response.done"'

    @staticmethod
    def audio(piece: bytes) -> str:
        """One message of speech, at 24 kHz."""
        data = base64.b64encode(piece).decode()
        return _message({"type": "input_audio_buffer.append", "audio": data})


class GeminiClient:
    """Speaks Gemini's protocol, at Gemini's native 16 kHz."""

    path = GEMINI
    set_up = _message(
        {
            "setup": {
                "model": f"models/{MODEL}",
                "generationConfig": {"responseModalities": ["AUDIO"]},
                "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
                "outputAudioTranscription": {},
            }
        }
    )
    is_set_up = b'"setupComplete"'
    begin = (_message({"realtimeInput": {"activityStart": {}}}),)
    end = (_message({"realtimeInput": {"activityEnd": {}}}),)
    has_audio = b'"inlineData"'
    has_ended = b'"turnComplete"'

    @staticmethod
    def audio(piece: bytes) -> str:
        """One message of speech, at 16 kHz."""
        data = base64.b64encode(piece[: len(piece) * 2 // 3]).decode()
        return _message(
            {"realtimeInput": {"audio": {"data": data, "mimeType": "audio/pcm;rate=16000"}}}
        )


Client = type[OpenAIClient] | type[GeminiClient]
# Each pair of protocols: its client, and the provider that it names.
SPLICED: Final[dict[Client, str]] = {OpenAIClient: "openai", GeminiClient: "gemini"}
PAIRS: Final[tuple[tuple[Client, str], ...]] = (
    (OpenAIClient, "openai"),
    (OpenAIClient, "gemini"),
    (GeminiClient, "gemini"),
    (GeminiClient, "openai"),
)
# What each says, made once.
MESSAGES: Final = {
    client: [client.audio(piece) for piece in chunks(tone(SPOKEN_S), CHUNK_MS)]
    for client in SPLICED
}
QUICK_MESSAGES: Final = 20
_NAMES: Final = {OpenAIClient: "OpenAI", GeminiClient: "Gemini"}


@dataclass
class Found:
    """What was measured of one pair."""

    turn_us: list[float] = field(default_factory=list)  # CPU, one number for each round
    waits_ms: list[float] = field(default_factory=list)  # to the first audio, one for each turn
    turns: int = 0


def measure(scale: Scale) -> Outcome:
    """Turns of every pair of protocols."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        simulator = cluster.start_simulator("--pace", "0")
        address = f"http://{simulator.field('listen')}"
        cluster.start_gateway(GEMINI_API_KEY="k", GEMINI_BASE_URL=address)
        key = cluster.create_account("bench")
        found = {pair: Found() for pair in PAIRS}
        asyncio.run(_rounds(cluster, key, found, scale))
        turns = sum(one.turns for one in found.values())
        rows = eventually(lambda: _charged(cluster, turns))
    return Outcome(
        tables=(_table(found),),
        bars=tuple(_bars(found)),
        checks=(Check("turns charged", rows, turns),),
    )


async def _rounds(
    cluster: Cluster, key: str, found: dict[tuple[Client, str], Found], scale: Scale
) -> None:
    pid = cluster.gateways[0].process.pid
    rounds, sessions = scale.pick(7, quick=1), scale.pick(SESSIONS, quick=2)
    messages = scale.pick(len(MESSAGES[OpenAIClient]), quick=QUICK_MESSAGES)
    for number in range(scale.pick(-1, quick=0), rounds):  # the first round warms up
        scale.tell(f"round {number + 1} of {rounds}")
        for pair, one in found.items():
            async with AsyncExitStack() as stack:
                sockets = [
                    await stack.enter_async_context(_session(cluster, key, *pair))
                    for _ in range(sessions)
                ]
                before = cpu_us(pid)
                begins = [CHUNK_MS / 1000 * place / sessions for place in range(sessions)]
                turns = zip(sockets, begins, strict=True)
                waits = await asyncio.gather(
                    *(_turn(pair[0], *turn, messages=messages) for turn in turns)
                )
                one.turns += sessions
                if number >= 0:
                    one.turn_us.append((cpu_us(pid) - before) / sessions)
                    one.waits_ms += waits


@asynccontextmanager
async def _session(
    cluster: Cluster, key: str, client: Client, provider: str
) -> AsyncIterator[ClientConnection]:
    """A session that is set up."""
    async with connect(
        f"ws://{cluster.address}/provider/{provider}{client.path}",
        additional_headers={"Authorization": f"Bearer {key}"},
        max_size=None,
        compression=None,
    ) as socket:
        await socket.send(client.set_up)
        await _until(socket, client.is_set_up)
        yield socket


async def _turn(
    client: Client, socket: ClientConnection, begins_in_s: float, *, messages: int
) -> float:
    """Speak at the pace of speech, and listen to the end; the milliseconds to the first audio."""
    due = time.perf_counter() + begins_in_s
    for message in (*client.begin, *MESSAGES[client][:messages]):
        await asyncio.sleep(due - time.perf_counter())
        await socket.send(message)
        due += CHUNK_MS / 1000
    began = time.perf_counter()
    for message in client.end:
        await socket.send(message)
    await _until(socket, client.has_audio)
    waited_ms = (time.perf_counter() - began) * 1000
    await _until(socket, client.has_ended)
    return waited_ms


async def _until(socket: ClientConnection, mark: bytes) -> None:
    async with asyncio.timeout(30):
        while mark not in await socket.recv(decode=False):
            pass


def _charged(cluster: Cluster, turns: int) -> int:
    """How many turns are charged, once they all are."""
    charged = sum(row["responses"] for row in cluster.usage_rows("bench"))
    return charged if charged >= turns else 0


def _table(found: dict[tuple[Client, str], Found]) -> Table:
    rows = tuple(
        (
            f"{_NAMES[client]} client, {provider}",
            statistics.median(one.turn_us) / 1000,
            _ratio(found, (client, provider)),
            statistics.median(one.waits_ms),
            _p99(one.waits_ms),
        )
        for (client, provider), one in found.items()
    )
    return Table(
        f"A spoken turn, {SPOKEN_S:g} s up in {CHUNK_MS} ms pieces, 3 s down",
        ("who speaks to whom", "ms of CPU", "x spliced", "ms to the first audio", "p99"),
        rows,
    )


def _bars(found: dict[tuple[Client, str], Found]) -> list[Bar]:
    bars = []
    for client, provider in PAIRS:
        if SPLICED[client] == provider:
            continue
        name = f"{_NAMES[client]} client, {provider}"
        bars.append(
            at_most(
                f"{name}: CPU, times that of a spliced turn",
                _ratio(found, (client, provider)),
                MOST,
            )
        )
        own = next(pair for pair in SPLICED.items() if pair[1] == provider)
        added = _p99(found[client, provider].waits_ms) - _p99(found[own].waits_ms)
        bars.append(at_most(f"{name}: ms added to the first audio, p99", added, ADDED_P99_MS))
    return bars


def _ratio(found: dict[tuple[Client, str], Found], pair: tuple[Client, str]) -> float:
    """The CPU of a pair, in times that of the spliced one: the median of the rounds' ratios."""
    spliced = found[pair[0], SPLICED[pair[0]]].turn_us
    return statistics.median(
        one / other for one, other in zip(found[pair].turn_us, spliced, strict=True)
    )


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(len(values) * 0.99))]


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=click.echo)))
