"""A gateway's usage without the gateway: batches for accountd, as fast as it takes them or paced.

``python -m bench.usage_load --usage … --events …`` is a process of its own, so that it shares no
interpreter with what measures beside it. Its last line is JSON: ``batches``, ``seconds`` from the
first message to the announcement that the last one is durable, and with ``--rate`` ``latency_ms``:
the p50, the p99 and the longest from sending to that announcement.

Every batch is five responses of a session of its own, for an account chosen at random. A payload is
made of the parts of a real one in which accounts and ids are filled in.
"""

import json
import os
import random
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click
import zmq

from bench.running_accountd import account_of
from shared import zmq_sockets
from shared.announcements import decode_watermark, watermark_topic
from shared.usage import Usage, UsageBatch
from shared.wire import PRODUCER_BYTES, SEQUENCE_BYTES, encode_usage

TOKENS: Final = 100  # of each batch
DEADLINE_S: Final = 120.0
SHARES: Final = (0.5, 0.99, 1)  # the percentiles of latencies
LOOK_EVERY: Final = 256  # messages between two looks at the announcements
_RESPONSES: Final = 5
_ID_CHARS: Final = 21
_METERED_AT_MS: Final = 1_796_000_000_000


Message = tuple[bytes, bytes, bytes]


class Batches:
    """An endless series of payloads, ``accounts`` accounts in random order."""

    def __init__(self, accounts: int, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._accounts = accounts
        ids = tuple(f"resp_{n}{'#' * (_ID_CHARS - 1)}" for n in range(_RESPONSES))
        batch = UsageBatch(
            account_of(0), f"sess_{'#' * (_ID_CHARS - 1)}!", "openai", "gpt-realtime", "response",
            _RESPONSES, ids, Usage(60, 40, TOKENS, 20, 40, 0, 16, 10, 30), _METERED_AT_MS,
        )  # fmt: skip
        whole = encode_usage(batch)
        names = [account_of(0), batch.session_id[5:], *(name[5:] for name in ids)]
        self._parts = []
        for name in names:
            before, _, whole = whole.partition(name.encode())
            self._parts.append(before)
        self._parts.append(whole)

    def __iter__(self) -> Iterator[bytes]:
        """Payloads; no response and no session comes twice."""
        head, *between, tail = self._parts
        pick, accounts = self._rng.random, self._accounts
        names = [account_of(number).encode() for number in range(accounts)]
        cuts = [(n * _ID_CHARS, (n + 1) * _ID_CHARS) for n in range(_RESPONSES + 1)]
        size = (_RESPONSES + 1) * _ID_CHARS // 2 + 1
        while True:
            drawn = os.urandom(size).hex().encode()
            filled = [head, names[int(pick() * accounts)]]
            for before, (start, end) in zip(between, cuts, strict=True):
                filled += before, drawn[start:end]
            filled.append(tail)
            yield b"".join(filled)


class Load:
    """Producers that send batches in turns, and hear which of them are durable."""

    def __init__(
        self, context: "zmq.Context[Any]", usage: str, events: str, *, producers: int, accounts: int
    ) -> None:
        self._push = context.socket(zmq.PUSH)
        self._sub = context.socket(zmq.SUB)
        self.producers = [secrets.token_bytes(PRODUCER_BYTES) for _ in range(producers)]
        for socket, endpoint in ((self._push, usage), (self._sub, events)):
            zmq_sockets.configure(socket)
            socket.connect(endpoint)
        self._push.setsockopt(zmq.SNDTIMEO, int(DEADLINE_S * 1000))
        for producer in self.producers:
            self._sub.setsockopt(zmq.SUBSCRIBE, watermark_topic(producer))
        self._payloads = iter(Batches(accounts, seed=1))
        self._sent = 0
        self._durable = dict.fromkeys(self.producers, 0)
        self._waiting: dict[bytes, deque[float]] = {p: deque() for p in self.producers}
        self.latencies_ms: list[float] = []
        time.sleep(0.2)  # the subscriptions travel

    def prepare(self, batches: int) -> list[Message]:
        """The next messages; the producers take turns."""
        count, first = len(self.producers), self._sent
        self._sent += batches
        return [
            (
                self.producers[number % count],
                (number // count + 1).to_bytes(SEQUENCE_BYTES, "big"),
                next(self._payloads),
            )
            for number in range(first, self._sent)
        ]

    def send(self, messages: Iterable[Message]) -> None:
        """Send them, and look at the announcements from time to time."""
        for number, message in enumerate(messages):
            self._push.send_multipart(message)
            if number % LOOK_EVERY == 0:
                self.look(0)

    def look(self, wait_ms: int) -> None:
        """Read the announcements that have come."""
        while self._sub.poll(wait_ms):
            wait_ms = 0
            heard = decode_watermark(self._sub.recv_multipart())
            waiting, now = self._waiting[heard.producer], time.perf_counter()
            for _ in range(heard.applied_through - self._durable[heard.producer]):
                if waiting:
                    self.latencies_ms.append((now - waiting.popleft()) * 1000)
            self._durable[heard.producer] = max(
                heard.applied_through, self._durable[heard.producer]
            )

    @property
    def durable(self) -> int:
        """How many batches are durable, as announced."""
        return sum(self._durable.values())

    def wait(self) -> None:
        """Until all are durable."""
        deadline = time.monotonic() + DEADLINE_S
        while self.durable < self._sent:
            self.look(100)
            if time.monotonic() > deadline:
                sys.exit(f"{self.durable:,} of {self._sent:,} batches are durable")

    def pace(self, messages: Iterable[Message], rate: float) -> None:
        """Send them at ``rate`` a second, each at its own time."""
        started = time.perf_counter()
        for number, message in enumerate(messages):
            due = started + number / rate
            self.look(0)
            while (ahead := due - time.perf_counter()) > 0:
                self.look(1 if ahead > 0.001 else 0)  # ms
            self._waiting[message[0]].append(time.perf_counter())
            self._push.send_multipart(message)


@click.command()
@click.option("--usage", required=True, help="accountd's endpoint for usage.")
@click.option("--events", required=True, help="accountd's endpoint for announcements.")
@click.option("--batches", default=100_000, show_default=True)
@click.option("--accounts", default=200, show_default=True)
@click.option("--producers", default=1, show_default=True)
@click.option("--rate", type=float, help="Batches a second; else as many as accountd takes.")
def main(  # noqa: PLR0917 - options
    usage: str, events: str, batches: int, accounts: int, producers: int, rate: float | None
) -> None:
    """Send usage, and say how long it took to be durable."""
    with zmq.Context() as context:
        load = Load(context, usage, events, producers=producers, accounts=accounts)
        messages = load.prepare(batches)  # before the clock: both share the machine
        started = time.perf_counter()
        if rate is None:
            load.send(messages)
        else:
            load.pace(messages, rate)
        load.wait()
        seconds = time.perf_counter() - started
        context.destroy(linger=0)
    latencies = sorted(load.latencies_ms)
    found = {
        "batches": batches,
        "seconds": seconds,
        "latency_ms": [latencies[int(at * (len(latencies) - 1))] for at in SHARES if rate],
    }
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
