"""Measures how long it takes to note one response in the spool, before its event is forwarded.

Run it from the root of the project: ``.venv/bin/python -m bench.spool_append [--folder F]``. It
notes responses in a real spool on the disk under ``--folder``, as a gateway does, and measures
each. Exit code 1 when the median is above 20 µs.
"""

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from bench.report import Outcome, Scale, Table, at_most
from bench.scenarios import end_with
from gateway.delivery import spool_files
from gateway.delivery.journal import Journal
from shared.usage import Usage, UsageBatch
from shared.wire import PRODUCER_BYTES, encode_usage

RESPONSES: Final = 100_000
BAR_US: Final = 20.0
SINGLE: Final = UsageBatch(
    account_id="acct_0123456789abcdef", session_id="sess_0123456789abcdef01234567",
    provider="openai", model="gpt-realtime-2025-08-28", kind="response", responses=1,
    response_ids=("resp_0123456789abcdef012345",),
    usage=Usage(
        input_tokens=1_200, output_tokens=340, total_tokens=1_540, input_text_tokens=200,
        input_audio_tokens=1_000, input_cached_tokens=600, output_text_tokens=80,
        output_audio_tokens=260,
    ),
    metered_at_ms=1_790_000_000_000,
)  # fmt: skip


def timed(action: Callable[[], object], times: int) -> list[float]:
    """The time of each call, in microseconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter_ns()
        action()
        taken.append((time.perf_counter_ns() - started) / 1000)
    return taken


def measure(scale: Scale) -> Outcome:
    """Measure appending to the spool, on the disk of the working directory."""
    return outcome(folder=".", responses=scale.pick(RESPONSES, quick=1_000))


def outcome(*, folder: str, responses: int) -> Outcome:
    """Time ``responses`` calls of each kind, on the disk of ``folder``."""
    with tempfile.TemporaryDirectory(prefix="spool-", dir=folder) as name:
        producer = secrets.token_bytes(PRODUCER_BYTES)
        store = spool_files.create(Path(name), producer)
        journal = Journal(store, producer, now=time.time())
        payload = encode_usage(SINGLE)
        cases = {
            "append": lambda: journal.note(payload, now=time.time()),
            "encode and append": lambda: journal.note(encode_usage(SINGLE), now=time.time()),
        }
        rows = []
        for case, action in cases.items():
            taken = sorted(timed(action, responses))
            p99 = taken[int(len(taken) * 0.99)]
            rows.append((case, statistics.median(taken), p99, taken[-1]))
        store.close()
    title = f"One response of {len(payload)} bytes into the spool, µs"
    return Outcome(
        tables=(Table(title, ("what", "median", "p99", "worst"), tuple(rows)),),
        bars=tuple(at_most(f"{case}, median, µs", median, BAR_US) for case, median, *_ in rows),
    )


@click.command()
@click.option("--folder", default=".", show_default=True, help="On the disk to measure.")
@click.option("--responses", default=RESPONSES, show_default=True, help="How many to note.")
def main(*, folder: str, responses: int) -> None:
    """Measure appending to the spool."""
    end_with(outcome(folder=folder, responses=responses))


if __name__ == "__main__":
    main()
