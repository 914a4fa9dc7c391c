"""Runs ``accountctl export`` again and again, and kills it at each call that changes a file.

``python killed_exports.py ENDPOINT FOLDER``: in FOLDER/N, a process gets SIGKILL before its call
number N, then the export is asked for anew: the same file where N is even, another one where it is
odd. Ends with the first that lived; prints how many were killed.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accountd.ctl import cli
from accountd.ctl.exporting import command  # noqa: F401 - loaded once, not in each process

CALLS = ("fsync", "replace", "unlink", "open")


def main(endpoint: str, folder: Path) -> None:
    """Kill, then ask anew, for each point."""
    for number in range(1_000):
        here = folder / str(number)
        here.mkdir()
        code = in_a_process(lambda here=here, n=number: export(endpoint, here / "1.jsonl", kill=n))
        again = here / ("2.jsonl" if number % 2 else "1.jsonl")
        if code == -signal.SIGKILL:
            assert in_a_process(lambda path=again: export(endpoint, path)) in (0, 1)
        in_a_process(lambda here=here: export(endpoint, here / "3.jsonl"))
        if code != -signal.SIGKILL:
            print(number)
            return


def export(endpoint: str, path: Path, *, kill: int | None = None) -> None:
    """What is new, to ``path``."""
    if kill is not None:
        kill_before(kill)
    sys.argv[1:] = [
        "--accountd-rpc-endpoint", endpoint, "export", "--format", "jsonl", "--account", "acct",
        "--cursor", str(path.with_name("cursor")), "-o", str(path),
    ]  # fmt: skip
    cli.main()


def kill_before(number: int) -> None:
    """Kill this process before its call with this number."""
    counted = iter(range(1_000_000))

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted_call(*given: Any, **named: Any) -> Any:
            if next(counted) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return counted_call

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))


def in_a_process(run: Callable[[], None]) -> int:
    """The exit code of a process of its own, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            run()
        except SystemExit as exc:
            code = int(exc.code or 0)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
