"""Runs many seeds, or one again."""

import argparse
import contextlib
import multiprocessing
import random
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from . import mutants
from .world import World, WrongWorldError

CHUNK = 50


@dataclass(frozen=True, slots=True)
class Fault:
    """A seed whose world broke a rule."""

    seed: int
    detail: str


def run_seed(seed: int, *, flags: frozenset[str] = frozenset(), is_traced: bool = False) -> str:
    """Run one world: what was wrong with it, or an empty text."""
    try:
        World(seed, flags=flags, is_traced=is_traced).run()
    except WrongWorldError as exc:
        return str(exc)
    except Exception:  # noqa: BLE001 - an assertion of a core, or whatever else it raised
        return traceback.format_exc()
    return ""


def first_fault(first: int, count: int, mutant: str = "") -> Fault | None:
    """The first of ``count`` seeds from ``first`` on that fails."""
    with mutants.applied(mutant) as flags:
        for seed in range(first, first + count):
            detail = run_seed(seed, flags=flags)
            if detail:
                return Fault(seed, detail)
    return None


def replay_command(seed: int, mutant: str = "") -> str:
    """The command that replays a failing seed."""
    extra = f" --mutant '{mutant}'" if mutant else ""
    return f".venv/bin/python -m tests.simulation --replay {seed} --trace{extra}"


def main() -> None:
    """The command line."""
    options = _options()
    if options.replay is not None:
        with mutants.applied(options.mutant) as flags:
            detail = run_seed(options.replay, flags=flags, is_traced=options.trace)
        print(detail or "in order")
        raise SystemExit(bool(detail))
    first = options.first if options.first is not None else random.SystemRandom().randrange(10**9)
    print(f"seeds {first} to {first + options.seeds - 1}", flush=True)
    raise SystemExit(_run_all(first, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--from", dest="first", type=int, help="the first; random otherwise")
    parser.add_argument("--mutant", default="", choices=["", *mutants.NAMES, *mutants.SUBTLE_NAMES])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    parser.add_argument("--replay", type=int, help="one seed again")
    parser.add_argument("--trace", action="store_true", help="print what happens in it")
    return parser.parse_args()


def _run_all(first: int, options: argparse.Namespace) -> int:
    started, done, failed = time.monotonic(), 0, 0
    size = 1 if options.keep_going else CHUNK
    chunks = [
        (start, min(size, first + options.seeds - start), options.mutant)
        for start in range(first, first + options.seeds, size)
    ]
    with _mapper(options.jobs) as run:
        for (_, count, _), fault in zip(chunks, run(_chunk, chunks), strict=True):
            done += count
            if fault is not None:
                failed += 1
                print(f"seed {fault.seed}: {fault.detail}")
                print(replay_command(fault.seed, options.mutant), flush=True)
                if not options.keep_going:
                    return 1
            if done % 1_000 < size:
                _report(done, failed, time.monotonic() - started)
    _report(done, failed, time.monotonic() - started)
    return int(failed > 0)


def _report(done: int, failed: int, seconds: float) -> None:
    each_ms = 1_000 * seconds / done
    print(f"{done} seeds, {failed} failed, {seconds:.1f} s, {each_ms:.1f} ms each", flush=True)


def _chunk(chunk: tuple[int, int, str]) -> Fault | None:
    return first_fault(*chunk)


@contextlib.contextmanager
def _mapper(jobs: int) -> Iterator[object]:
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield pool.imap
