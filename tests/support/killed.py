"""Acts that are cut off at an exact place, counted in operations on files."""

import itertools
import os
import warnings
from collections.abc import Callable
from typing import Any, Final

OPERATIONS: Final = ("open", "fsync", "rename", "unlink")


def before_each(act: Callable[[int], None]) -> dict[str, Callable[..., Any]]:
    """``OPERATIONS`` of ``os``, each of which first calls ``act`` with its number from 0."""
    steps = itertools.count()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            act(next(steps))
            return real(*arguments, **options)

        return operation

    return {name: wrapped(getattr(os, name)) for name in OPERATIONS}


def killed_at(at: int, act: Callable[[], object]) -> int:
    """Run ``act`` in a child that is killed before operation ``at``; its exit code, 0 when it came
    to its end.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which none is needed
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def die(step: int) -> None:
        if step == at:
            os.kill(os.getpid(), 9)

    for name, operation in before_each(die).items():
        setattr(os, name, operation)
    code = 1
    try:
        act()
        code = 0
    finally:
        os._exit(code)
