"""The backups that the daemon has made by child processes (``backup_child``), one at a time.

A thread of its own starts each and hears it; the daemon's loop only looks. No file is touched here:
the disk of the backups may be one that does not answer.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from accountd.maintenance.backup_child import PROGRAM
from accountd.maintenance.backup_schedule import BackupSchedule
from accountd.request_params import Json
from shared.errors import ExitCode

_END_S: Final = 5.0
_STATES_MAX: Final = 8  # one that is over is asked for once more, when the next one has begun
_SAID_CHARS_MAX: Final = 300  # of what a child that broke down has written


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for: a file, or what a schedule says."""

    destination: Path | None = None
    new_key_file: Path | None = None
    schedule: BackupSchedule | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How far it is. One of ``manifest``, ``error`` and ``due_in_s`` is there at the end."""

    number: int
    job: Job
    began: float  # time.monotonic
    destination: str = ""
    doing: str = ""
    done: int = 0
    total: int = 0
    manifest: Json | None = None
    removed: tuple[str, ...] = ()
    not_removed: str | None = None  # why
    error: str | None = None
    exit_code: int = 0
    due_in_s: float | None = None  # of a schedule: it was not time
    right_at: float | None = None  # then: when the newest one was begun whose audit was OK
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return (self.manifest, self.error, self.due_in_s) != (None, None, None)


class BackupProcess:
    """Backups of the database at ``source``. The loop's thread calls."""

    def __init__(self, source: Path, key: str) -> None:
        self._source, self._key = source, key
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._number = time.time_ns() // 1_000_000  # of no earlier boot
        self._states: dict[int, State] = {}

    @property
    def newest(self) -> State | None:
        """The one that was begun last."""
        return self._states.get(self._number)

    def state(self, number: int) -> State | None:
        """One of those that were begun last."""
        return self._states.get(number)

    def start(self, job: Job) -> State | None:
        """Begin; None while another one is being made."""
        if self.newest is not None and not self.newest.is_over:
            return None
        self._number += 1
        started = State(self._number, job, time.monotonic(), str(job.destination or ""))
        self._states[self._number] = started
        self._states.pop(self._number - _STATES_MAX, None)
        # The end of the process does not wait for it: the child may wait for a disk for good.
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="backup", daemon=True
        )
        self._thread.start()
        return started

    def stop(self) -> None:
        """Kill the child: the daemon's end does not wait for it."""
        self._is_stopping = True
        if self._child is not None:
            self._child.kill()
        if self._thread is not None:
            self._thread.join(_END_S)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self, state: State) -> None:
        try:
            said = self._heard(state)
        except (OSError, ValueError) as exc:
            said = _broken(f"the process that makes backups broke down: {exc}")
        self._note(state.number, {**said, "seconds": time.monotonic() - state.began})

    def _note(self, number: int, said: Mapping[str, Any]) -> None:
        self._states[number] = replace(self._states[number], **said)

    def _heard(self, state: State) -> Json:
        """Hear the child until it ends; its last words."""
        last: Json = {}
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            self._child = child
            if self._is_stopping:
                child.kill()
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None
            json.dump(self._told(state.job), child.stdin)
            child.stdin.close()
            for line in child.stdout:
                last = json.loads(line)
                if not last.keys() & {"manifest", "error", "due_in_s"}:
                    self._note(state.number, last)
            said = child.stderr.read()
        self._child = None
        if last.keys() & {"manifest", "error", "due_in_s"}:
            return last
        return _ended(child.returncode, said)

    def _told(self, job: Job) -> Json:
        values = {"source": self._source.absolute(), "key": self._key, **asdict(job)}
        return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def _ended(code: int, said: str) -> Json:
    """What is known of a child that did not come to its end."""
    if code < 0:
        return _broken(
            f"the process that made the backup was killed ({signal.Signals(-code).name}); there is"
            " a file with that name only where it is whole (run this again)",
            exit_code=ExitCode.NOT_NOW,
        )
    lines = said.strip().splitlines()
    return _broken(
        f"the process that made the backup ended with {code}: "
        + (lines[-1][-_SAID_CHARS_MAX:] if lines else "it said nothing")
    )


def _broken(error: str, *, exit_code: ExitCode = ExitCode.IO_ERROR) -> Json:
    return {"error": error, "exit_code": exit_code}
