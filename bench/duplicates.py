"""Measures how many duplicates accountd refuses in a second, with a real process and database.

Run it from the root of the project: ``.venv/bin/python -m bench.duplicates``. It sends 1,000
batches, waits until they are durable, and sends 200,000 repetitions of them as fast as PUSH takes
them, then one new batch. The clock stops when that batch is announced. The last line is
``duplicates refused: N/s``; below ``RATE_MIN`` the exit code is 1.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import zmq

from accountd.ctl.client import call
from shared import zmq_sockets
from shared.announcements import decode_watermark, watermark_topic
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

ORIGINALS: Final = 1_000
DUPLICATES: Final = 200_000
DEADLINE_S: Final = 120
RATE_MIN: Final = 50_000  # resends after an outage must not delay new usage
BIN: Final = Path(sys.executable).parent
PRODUCER: Final = b"duplicates-bench"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="rts-") as name, accountd(Path(name)) as env:
        with zmq.Context() as context:
            push, sub = _connect(context, env)
            _send(push, range(1, ORIGINALS + 1))
            _wait(sub, ORIGINALS)
            started = time.perf_counter()
            _send(push, (n % ORIGINALS + 1 for n in range(DUPLICATES)))
            _send(push, [ORIGINALS + 1])
            _wait(sub, ORIGINALS + 1)
            elapsed_s = time.perf_counter() - started
            push.close()
            sub.close()
        charged = _charged(env)
    if charged != ORIGINALS + 1:
        sys.exit(f"{charged} batches were charged, expected {ORIGINALS + 1}")
    print(f"{DUPLICATES:,} duplicates in {elapsed_s:.2f} s, {charged:,} batches charged")
    rate = DUPLICATES / elapsed_s
    print(f"duplicates refused: {rate:.0f}/s")
    if rate < RATE_MIN:
        sys.exit(f"expected at least {RATE_MIN:,}/s")


@contextmanager
def accountd(folder: Path) -> Iterator[dict[str, str]]:
    """A running accountd with one account, ``acct``; yields the environment with its endpoints."""
    (folder / "db.key").write_text(os.urandom(32).hex())
    endpoints = {
        f"ACCOUNTD_{name}_ENDPOINT": f"ipc://{folder}/run/{name.lower()}.sock"
        for name in ("USAGE", "RPC", "EVENTS")
    }
    env = {
        **os.environ, **endpoints,
        "DB_PATH": str(folder / "accounts.db"), "DB_ENCRYPTION_KEY_FILE": str(folder / "db.key"),
    }  # fmt: skip
    subprocess.run([BIN / "accountd", "migrate"], env=env, check=True, capture_output=True)
    with subprocess.Popen([BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith(b"ready")
            create = ("account", "create", "--email", "bench@example.org", "--id", "acct")
            subprocess.run([BIN / "accountctl", *create], env=env, check=True, capture_output=True)
            yield env
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE_S)


def _connect(context: "zmq.Context[Any]", env: dict[str, str]) -> list["zmq.Socket[Any]"]:
    sockets = []
    for kind, name in ((zmq.PUSH, "USAGE"), (zmq.SUB, "EVENTS")):
        socket: zmq.Socket[Any] = context.socket(kind)
        zmq_sockets.configure(socket)
        socket.setsockopt(zmq.SNDTIMEO, DEADLINE_S * 1000)
        socket.connect(env[f"ACCOUNTD_{name}_ENDPOINT"])
        sockets.append(socket)
    sockets[1].setsockopt(zmq.SUBSCRIBE, watermark_topic(PRODUCER))
    return sockets


def _payload(sequence: int) -> bytes:
    return encode_usage(
        UsageBatch(
            "acct", "session", "openai", "gpt-realtime", "response", 1, (f"resp_{sequence:032}",),
            Usage(sequence, 1, sequence + 1, 1, sequence - 1), 1_790_000_000_000 + sequence,
        )
    )  # fmt: skip


_MESSAGES: Final = [encode_envelope(PRODUCER, n, _payload(n)) for n in range(1, ORIGINALS + 2)]


def _send(push: "zmq.Socket[Any]", sequences: Any) -> None:
    for sequence in sequences:
        push.send_multipart(_MESSAGES[sequence - 1])


def _wait(sub: "zmq.Socket[Any]", applied_through: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if not sub.poll(1_000):
            continue
        if decode_watermark(sub.recv_multipart()).applied_through == applied_through:
            return
    sys.exit(f"no watermark {applied_through} within {DEADLINE_S} s")


def _charged(env: dict[str, str]) -> int:
    rows = call(env["ACCOUNTD_RPC_ENDPOINT"], "usage", {"account_id": "acct", "limit": 1})
    return int(rows["totals"]["responses"])


if __name__ == "__main__":
    main()
