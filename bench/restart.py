"""Measures how soon accountd serves again after SIGKILL, with a large database and write-ahead log.

Run it from the root of the project: ``.venv/bin/python -m bench.restart``. A database of 500 MB
(``bench.big_ledger``) gets usage while a reader of another process keeps its write-ahead log from
being emptied, until that has 64 MB. Both processes are killed. The clock runs from the start of the
next process to its line ``ready``, and to the watermark of the first usage that is sent to it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import zmq

from accountd.ctl.client import call
from bench import big_ledger
from bench.report import Check, Outcome, Scale, Table, at_most
from bench.running_accountd import END_S, account_of, environment_of, serving
from bench.scenarios import end_with
from shared import zmq_sockets
from shared.announcements import decode_watermark, watermark_topic
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

SECONDS_MAX: Final = 2.0
ACCOUNTS: Final = 2_000
PART: Final = 20_000  # batches that are sent until the log is looked at
_READER: Final = """
import sys
from sqlcipher3 import dbapi2 as sqlcipher
connection = sqlcipher.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA key = \\"x'{open(sys.argv[2]).read().strip()}'\\"")
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM accounts").fetchone()
print("reads", flush=True)
sys.stdin.read()
"""


def measure(scale: Scale) -> Outcome:
    """Kill and start accountd some times."""
    megabytes, wal_bytes = scale.pick((500, 64 * 2**20), quick=(2, 2**18))
    rounds = scale.pick(5, quick=1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        folder = Path(name)
        path, key = folder / "accounts.db", os.urandom(32).hex()
        (folder / "db.key").touch(0o600)
        (folder / "db.key").write_text(key)
        built = big_ledger.build(
            path, key, megabytes=megabytes, accounts=scale.pick(ACCOUNTS, quick=20), schema=None
        )
        env = environment_of(folder)
        sent = 0
        for number in range(rounds):
            sent += _killed_with(env, folder, wal_bytes, scale.pick(PART, quick=500))
            wal = (folder / "accounts.db-wal").stat().st_size
            ready_s, applied_s = _started(env, producer=os.urandom(16))
            sent += 1
            rows.append((number + 1, path.stat().st_size / 2**20, wal / 2**20, ready_s, applied_s))
            scale.tell(f"round {number + 1}: ready {ready_s:.2f} s, applied {applied_s:.2f} s")
        with serving(env):
            audit = call(env["ACCOUNTD_RPC_ENDPOINT"], "audit", {})
    columns = ("round", "database, MB", "its log, MB", "ready, s", "first usage durable, s")
    return Outcome(
        tables=(Table("accountd after SIGKILL", columns, tuple(rows)),),
        bars=(
            at_most("from start to ready, slowest, s", max(row[3] for row in rows), SECONDS_MAX),
            at_most("to the first usage, slowest, s", max(row[4] for row in rows), SECONDS_MAX),
        ),
        checks=(
            Check("usage rows", audit["usage_rows"], built.rows + sent),
            Check(
                "balances that add up", audit["accounts"] - audit["drift_total"], audit["accounts"]
            ),
        ),
    )


def _killed_with(env: Mapping[str, str], folder: Path, wal_bytes: int, part: int) -> int:
    """Let the log grow that long, and kill accountd: how many batches it was sent, all durable."""
    sent = 0
    with serving(env) as daemon, _reading(folder) as reader:
        while (folder / "accounts.db-wal").stat().st_size < wal_bytes:
            subprocess.run(
                [sys.executable, "-m", "bench.usage_load", "--batches", str(part),
                 "--usage", env["ACCOUNTD_USAGE_ENDPOINT"],
                 "--events", env["ACCOUNTD_EVENTS_ENDPOINT"], "--accounts", "20"],
                check=True, capture_output=True,
            )  # fmt: skip
            sent += part
        for process in (daemon, reader):
            process.kill()
            process.wait(END_S)
    return sent


def _started(env: Mapping[str, str], *, producer: bytes) -> tuple[float, float]:
    """Seconds to the line ``ready``, and to the first usage that is durable."""
    batch = UsageBatch(
        account_of(0), "after", "openai", "gpt-realtime", "response", 1, ("r",), Usage(1, 0, 1),
        1_796_000_000_000,
    )  # fmt: skip
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.SUB) as sub:
        for socket in (push, sub):
            zmq_sockets.configure(socket)
        sub.setsockopt(zmq.SUBSCRIBE, watermark_topic(producer))
        started = time.perf_counter()
        with serving(env):
            ready_s = time.perf_counter() - started
            sub.connect(env["ACCOUNTD_EVENTS_ENDPOINT"])
            push.connect(env["ACCOUNTD_USAGE_ENDPOINT"])
            push.send_multipart(encode_envelope(producer, 1, encode_usage(batch)))
            assert sub.poll(END_S * 1000), "no watermark"
            heard = decode_watermark(sub.recv_multipart())
            applied_s = time.perf_counter() - started
            assert heard.applied_through == 1
        context.destroy(linger=0)
    return ready_s, applied_s


@contextmanager
def _reading(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in the middle of a read transaction."""
    command = [
        sys.executable, "-c", _READER, str(folder / "accounts.db"), str(folder / "db.key"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"reads\n"
            yield reader
        finally:
            reader.kill()


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=print)))
