"""Measures the cost of announcing balances: usage of 10,000 accounts with and without subscribers.

Run it from the root of the project: ``.venv/bin/python -m bench.balances``. A real accountd with an
encrypted database applies rounds of ``BATCHES`` batches, spread over all accounts: one without
subscribers to balances, one with ``GATEWAYS`` that subscribe to all of them. The order of the two
is reversed every time, because the database grows and gets slower. A round ends when its last batch
is durable. The last line is the median of the slowdowns; above ``SLOWDOWN_MAX`` the exit code is 1.
At the end no usage is sent for a while, and the CPU that accountd uses is printed, with 10,000
subscribed accounts and with none.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import zmq

from accountd.clock import now_iso
from accountd.data import database, models
from accountd.data.models import Account, CreditGrant
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


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory(prefix="rts-") as name,
        accountd(Path(name)) as (env, pid),
        zmq.Context() as context,
    ):
        bench = Bench(context, env)
        bench.round()  # warms up
        slowdowns = []
        for n in range(ROUNDS):
            quiet, heard = bench.compare(has_subscribers_first=n % 2 == 1)
            slowdowns.append(quiet / heard - 1)
            print(f"round {n + 1}: {quiet:,.0f}/s, heard {heard:,.0f}/s", flush=True)
        alone = idle_share(pid)
        subscribers = bench.start_subscribers()
        idle = idle_share(pid)
        bench.close(subscribers)
        bench.push.close()
        bench.sub.close()
    print(f"{ACCOUNTS:,} silent accounts: {idle:.2%} of a core, without any: {alone:.2%}")
    slowdown = statistics.median(slowdowns)
    print(f"announcing {ACCOUNTS:,} balances to {GATEWAYS} gateways: {slowdown:+.1%}")
    if slowdown > SLOWDOWN_MAX:
        sys.exit(f"expected at most {SLOWDOWN_MAX:+.0%}")


class Bench:
    """One producer, and subscribers to balances."""

    def __init__(self, context: "zmq.Context[Any]", env: dict[str, str]) -> None:
        self._context = context
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
            rates[has_subscribers] = BATCHES / self.round()
            self.close(subscribers)
        return rates[False], rates[True]

    def round(self) -> float:
        """The seconds until ``BATCHES`` more batches are durable."""
        first, last = self._sequence + 1, self._sequence + BATCHES
        messages = [encode_envelope(PRODUCER, n, _payload(n)) for n in range(first, last + 1)]
        self._sequence = last
        started = time.perf_counter()
        for message in messages:
            self.push.send_multipart(message)
        self._wait(last)
        return time.perf_counter() - started

    def start_subscribers(self) -> "list[subprocess.Popen[bytes]]":
        """Start the subscribers, each a process; returns when each has received every balance."""
        code = "from bench.balances import subscribe; subscribe()"
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


def subscribe() -> None:
    """Subscribe to every account, as a gateway does, and drop what arrives.

    It reads at idle priority: on a machine of two cores the readers must not compete with the
    daemon whose time is measured. Unread messages wait in their queues.
    """
    os.nice(19)
    with zmq.Context() as context:
        socket: zmq.Socket[Any] = context.socket(zmq.SUB)
        zmq_sockets.configure(socket)
        socket.connect(os.environ["ACCOUNTD_EVENTS_ENDPOINT"])
        for n in range(ACCOUNTS):
            socket.setsockopt(zmq.SUBSCRIBE, balance_topic(_account(n)))
        received: set[bytes] = set()
        while True:
            topic = topic_of(socket.recv_multipart())
            if len(received) < ACCOUNTS:
                received.add(topic)
                if len(received) == ACCOUNTS:
                    print("ready", flush=True)


@contextmanager
def accountd(folder: Path) -> Iterator[tuple[dict[str, str], int]]:
    """A running accountd with many accounts: the environment that finds it, and its process id."""
    key = os.urandom(32).hex()
    (folder / "db.key").write_text(key)
    endpoints = {
        f"ACCOUNTD_{name}_ENDPOINT": f"ipc://{folder}/run/{name.lower()}.sock"
        for name in ("USAGE", "RPC", "EVENTS")
    }
    path = folder / "accounts.db"
    env = {
        **os.environ, **endpoints,
        "DB_PATH": str(path), "DB_ENCRYPTION_KEY_FILE": str(folder / "db.key"),
    }  # fmt: skip
    subprocess.run([BIN / "accountd", "migrate"], env=env, check=True, capture_output=True)
    with database.open_for_serving(path, key):
        _create_accounts()
    with subprocess.Popen([BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith(b"ready")
            yield env, daemon.pid
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE_S)


def idle_share(pid: int) -> float:
    """The share of a core that a process uses while no usage is sent."""
    before = _cpu_s(pid)
    time.sleep(IDLE_S)
    return (_cpu_s(pid) - before) / IDLE_S


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _create_accounts() -> None:
    now, tokens = now_iso(), 10**9
    with models.database.atomic("IMMEDIATE"):
        for n in range(ACCOUNTS):
            name = _account(n)
            Account.create(
                id=name, email=f"{name}@example.org", token_remaining=tokens, created_at=now,
                updated_at=now,
            )  # fmt: skip
            CreditGrant.create(
                id=f"opening-{name}", account_id=name, kind="opening", topup_delta=0,
                token_delta=tokens, created_at=now,
            )  # fmt: skip


def _account(n: int) -> str:
    return f"acct_{n:016}"


def _payload(sequence: int) -> bytes:
    return encode_usage(
        UsageBatch(
            _account(sequence * 7919 % ACCOUNTS), "session", "openai", "gpt-realtime", "response",
            1, (f"resp_{sequence:032}",), Usage(100, 1, 101, 1, 99), 1_790_000_000_000 + sequence,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
