"""Measures how long it takes to note one response in the spool, before its event is forwarded.

Run it from the root of the project: ``.venv/bin/python -m bench.spool_append [--folder F]``. It
notes responses in a real spool on the disk under ``--folder``, as a gateway does, and measures
each. Exit code 1 when the median is above 20 µs.
"""

import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from gateway.delivery import spool_files
from gateway.delivery.journal import Journal
from shared.usage import Usage, UsageBatch
from shared.wire import PRODUCER_BYTES, encode_usage

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


@click.command()
@click.option("--folder", default=".", show_default=True, help="On the disk to measure.")
@click.option("--responses", default=100_000, show_default=True, help="How many to note.")
def main(*, folder: str, responses: int) -> None:
    """Measure appending to the spool."""
    with tempfile.TemporaryDirectory(prefix="spool-", dir=folder) as name:
        producer = secrets.token_bytes(PRODUCER_BYTES)
        store = spool_files.create(Path(name), producer)
        journal = Journal(store, producer, now=time.time())
        payload = encode_usage(SINGLE)
        cases = {
            "append": lambda: journal.note(payload, now=time.time()),
            "encode and append": lambda: journal.note(encode_usage(SINGLE), now=time.time()),
        }
        print(f"  {'one response, µs':<20}{'median':>8}{'p99':>8}{'worst':>10}")
        medians = []
        for case, action in cases.items():
            taken = sorted(timed(action, responses))
            medians.append(statistics.median(taken))
            p99 = taken[int(len(taken) * 0.99)]
            print(f"  {case:<20}{medians[-1]:>8.1f}{p99:>8.1f}{taken[-1]:>10.1f}")
        store.close()
    print(f"  {len(payload)} bytes each; bar: a median of {BAR_US:g} µs")
    sys.exit(0 if max(medians) <= BAR_US else 1)


if __name__ == "__main__":
    main()
