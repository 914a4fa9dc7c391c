"""Measures the cost of announcing balances: usage of 10,000 accounts with and without subscribers.

Run it from the root of the project: ``.venv/bin/python -m bench.balances``. A real accountd with an
encrypted database applies rounds of ``BATCHES`` batches, spread over all accounts: one without
subscribers to balances, one with ``GATEWAYS`` that subscribe to all of them. The order of the two
is reversed every time, because the database grows and gets slower. A round ends when its last batch
is durable. The median of the slowdowns has a bar; above ``SLOWDOWN_MAX`` the exit code is 1. At the
end no usage is sent for a while, and the CPU that accountd uses is reported, with 10,000 subscribed
accounts and with none.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import zmq

from bench.report import Outcome, Scale, Table, at_most
from bench.running_accountd import account_of, accountd
from bench.scenarios import end_with
from shared import zmq_sockets
from shared.announcements import balance_topic, decode_watermark, topic_of, watermark_topic
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

ACCOUNTS: Final = 10_000
GATEWAYS: Final = 3
BATCHES: Final = 30_000
ROUNDS: Final = 8
IDLE_S: Final = 10.0
DEADLINE_S: Final = 120
SLOWDOWN_MAX: Final = 0.10
PRODUCER: Final = b"balances-bench.."
BIN: Final = Path(sys.executable).parent
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure(scale: Scale) -> Outcome:
    """Measure rounds with and without subscribers, then idleness."""
    accounts = scale.pick(ACCOUNTS, quick=100)
    batches, idle_s = scale.pick(BATCHES, quick=500), scale.pick(IDLE_S, quick=0.5)
    with (
        tempfile.TemporaryDirectory(prefix="rts-") as name,
        accountd(Path(name), accounts) as (env, pid),
        zmq.Context() as context,
    ):
        bench = Bench(context, env, accounts, batches)
        bench.round()  # warms up
        slowdowns = []
        for n in range(scale.pick(ROUNDS, quick=1)):
            quiet, heard = bench.compare(has_subscribers_first=n % 2 == 1)
            slowdowns.append(quiet / heard - 1)
            scale.tell(f"round {n + 1}: {quiet:,.0f}/s, heard {heard:,.0f}/s")
        alone = idle_share(pid, idle_s)
        subscribers = bench.start_subscribers()
        idle = idle_share(pid, idle_s)
        bench.close(subscribers)
        bench.push.close()
        bench.sub.close()
    slowdown = statistics.median(slowdowns)
    title = f"The balances of {accounts:,} accounts, announced to {GATEWAYS} gateways, %"
    rows = (
        ("slower than without subscribers, median of the rounds", slowdown * 100),
        ("of a core while nothing is used, with subscribers", idle * 100),
        ("of a core while nothing is used, without", alone * 100),
    )
    name = f"announcing {accounts:,} balances makes slower by, %"
    return Outcome(
        tables=(Table(title, ("what", "%"), rows),),
        bars=(at_most(name, slowdown * 100, SLOWDOWN_MAX * 100),),
    )


class Bench:
    """One producer, and subscribers to balances."""

    def __init__(
        self, context: "zmq.Context[Any]", env: dict[str, str], accounts: int, batches: int
    ) -> None:
        """A round has ``batches``, spread over the accounts."""
        self._context = context
        self._accounts = accounts
        self._batches = batches
        self._events = env["ACCOUNTD_EVENTS_ENDPOINT"]
        self._sequence = 0
        self.push = self._socket(zmq.PUSH, env["ACCOUNTD_USAGE_ENDPOINT"])
        self.push.setsockopt(zmq.SNDTIMEO, DEADLINE_S * 1000)
        self.sub = self._socket(zmq.SUB, self._events)
        self.sub.setsockopt(zmq.SUBSCRIBE, watermark_topic(PRODUCER))

    def compare(self, *, has_subscribers_first: bool) -> tuple[float, float]:
        """Batches a second: without subscribers, and with all of them."""
        rates = {}
        for has_subscribers in (has_subscribers_first, not has_subscribers_first):
            subscribers = self.start_subscribers() if has_subscribers else []
            rates[has_subscribers] = self._batches / self.round()
            self.close(subscribers)
        return rates[False], rates[True]

    def round(self) -> float:
        """The seconds until a round of more batches are durable."""
        first, last = self._sequence + 1, self._sequence + self._batches
        messages = [encode_envelope(PRODUCER, n, self._payload(n)) for n in range(first, last + 1)]
        self._sequence = last
        started = time.perf_counter()
        for message in messages:
            self.push.send_multipart(message)
        self._wait(last)
        return time.perf_counter() - started

    def start_subscribers(self) -> "list[subprocess.Popen[bytes]]":
        """Start the subscribers, each a process; returns when each has received every balance."""
        code = f"from bench.balances import subscribe; subscribe({self._accounts})"
        env = {**os.environ, "ACCOUNTD_EVENTS_ENDPOINT": self._events}
        subscribers = [
            subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
            for _ in range(GATEWAYS)
        ]
        for subscriber in subscribers:
            assert subscriber.stdout is not None
            assert subscriber.stdout.readline() == b"ready\n"
        return subscribers

    @staticmethod
    def close(subscribers: "list[subprocess.Popen[bytes]]") -> None:
        """End the subscribers, and give accountd a moment to notice."""
        for subscriber in subscribers:
            subscriber.kill()
            subscriber.wait()
        time.sleep(1.0)

    def _payload(self, sequence: int) -> bytes:
        return encode_usage(
            UsageBatch(
                account_of(sequence * 7919 % self._accounts), "session", "openai", "gpt-realtime",
                "response", 1, (f"resp_{sequence:032}",), Usage(100, 1, 101, 1, 99),
                1_790_000_000_000 + sequence,
            )
        )  # fmt: skip

    def _socket(self, kind: int, endpoint: str) -> "zmq.Socket[Any]":
        socket: zmq.Socket[Any] = self._context.socket(kind)
        zmq_sockets.configure(socket)
        socket.connect(endpoint)
        return socket

    def _wait(self, applied_through: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if not self.sub.poll(1_000):
                continue
            if decode_watermark(self.sub.recv_multipart()).applied_through == applied_through:
                return
        sys.exit(f"no watermark {applied_through} within {DEADLINE_S} s")


def subscribe(accounts: int) -> None:
    """Subscribe to every account, as a gateway does, and drop what arrives.

    It reads at idle priority: on a machine of two cores the readers must not compete with the
    daemon whose time is measured. Unread messages wait in their queues.
    """
    os.nice(19)
    with zmq.Context() as context:
        socket: zmq.Socket[Any] = context.socket(zmq.SUB)
        zmq_sockets.configure(socket)
        socket.connect(os.environ["ACCOUNTD_EVENTS_ENDPOINT"])
        for n in range(accounts):
            socket.setsockopt(zmq.SUBSCRIBE, balance_topic(account_of(n)))
        received: set[bytes] = set()
        while True:
            topic = topic_of(socket.recv_multipart())
            if len(received) < accounts:
                received.add(topic)
                if len(received) == accounts:
                    print("ready", flush=True)


def idle_share(pid: int, seconds: float) -> float:
    """The share of a core that a process uses while no usage is sent."""
    before = _cpu_s(pid)
    time.sleep(seconds)
    return (_cpu_s(pid) - before) / seconds


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=print)))
