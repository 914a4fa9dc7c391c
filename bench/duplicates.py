"""Measures how many duplicates accountd refuses in a second, with a real process and database.

Run it from the root of the project: ``.venv/bin/python -m bench.duplicates``. It sends 1,000
batches, waits until they are durable, and sends 200,000 repetitions of them as fast as PUSH takes
them, then one new batch. The clock stops when that batch is announced. Below ``RATE_MIN`` the exit
code is 1.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import zmq

from accountd.ctl.client import call
from bench.report import Check, Outcome, Scale, Table, at_least
from bench.running_accountd import account_of, accountd
from bench.scenarios import end_with
from shared import zmq_sockets
from shared.announcements import decode_watermark, watermark_topic
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

ORIGINALS: Final = 1_000
DUPLICATES: Final = 200_000
DEADLINE_S: Final = 120
RATE_MIN: Final = 100_000  # resends after an outage must not delay new usage
PRODUCER: Final = b"duplicates-bench"


def measure(scale: Scale) -> Outcome:
    """Measure the refusal of duplicates."""
    return outcome(duplicates=scale.pick(DUPLICATES, quick=2_000))


def outcome(*, duplicates: int) -> Outcome:
    """Send ``duplicates`` repetitions; each original must be charged once."""
    with tempfile.TemporaryDirectory(prefix="rts-") as name, accountd(Path(name), 1) as (env, _):
        with zmq.Context() as context:
            push, sub = _connect(context, env)
            _send(push, range(1, ORIGINALS + 1))
            _wait(sub, ORIGINALS)
            started = time.perf_counter()
            _send(push, (n % ORIGINALS + 1 for n in range(duplicates)))
            _send(push, [ORIGINALS + 1])
            _wait(sub, ORIGINALS + 1)
            elapsed_s = time.perf_counter() - started
            push.close()
            sub.close()
        charged = _charged(env)
    rate = duplicates / elapsed_s
    row = (duplicates, elapsed_s, rate)
    return Outcome(
        tables=(Table("Duplicates refused", ("duplicates", "seconds", "a second"), (row,)),),
        bars=(at_least("duplicates refused a second", rate, RATE_MIN),),
        checks=(Check("batches charged", charged, ORIGINALS + 1),),
    )


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
            account_of(0), "session", "openai", "gpt-realtime", "response", 1,
            (f"resp_{sequence:032}",), Usage(sequence, 1, sequence + 1, 1, sequence - 1),
            1_790_000_000_000 + sequence,
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
    rows = call(env["ACCOUNTD_RPC_ENDPOINT"], "usage", {"account_id": account_of(0), "limit": 1})
    return int(rows["totals"]["responses"])


if __name__ == "__main__":
    end_with(outcome(duplicates=DUPLICATES))
