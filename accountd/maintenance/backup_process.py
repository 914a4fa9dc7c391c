"""The backup that the daemon has made by a child process (``backup_child``), one at a time.

A thread of its own starts it and hears it; the daemon's loop only looks.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from accountd.maintenance.backup_child import PROGRAM
from accountd.request_params import Json
from shared.errors import ExitCode

_END_S: Final = 5.0
_SAID_CHARS_MAX: Final = 300  # of what a child that broke down has written


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for."""

    destination: Path
    new_key_file: Path | None = None
    is_scheduled: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """How far it is. One of ``manifest`` and ``error`` is there at the end."""

    number: int
    job: Job
    began: float  # time.monotonic
    doing: str = ""
    done: int = 0
    total: int = 0
    manifest: Json | None = None
    error: str | None = None
    exit_code: int = 0
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.manifest is not None or self.error is not None


class BackupProcess:
    """Backups of the database at ``source``. The loop's thread calls."""

    def __init__(self, source: Path, key: str) -> None:
        self._source, self._key = source, key
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self.state: State | None = None

    def start(self, job: Job) -> State | None:
        """Begin; None while another one is being made."""
        if self.state is not None and not self.state.is_over:
            return None
        number = 1 if self.state is None else self.state.number + 1
        self.state = started = State(number, job, time.monotonic())
        self._thread = threading.Thread(target=self._run, args=(started,), name="backup")
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
        ended: Json = {}
        try:
            ended = self._heard(state)
        except (OSError, ValueError) as exc:
            ended = {"error": f"the process that makes backups broke down: {exc}"}
        self.state = replace(
            self.state or state,
            manifest=ended.get("manifest"),
            error=None if ended.get("manifest") else ended.get("error", "it was killed"),
            exit_code=ended.get("exit_code", ExitCode.IO_ERROR),
            seconds=time.monotonic() - state.began,
        )

    def _heard(self, state: State) -> Json:
        """Hear the child until it ends; its last words."""
        job = {
            "source": str(self._source.absolute()), "key": str(self._key),
            "destination": str(state.job.destination),
            "new_key_file": str(state.job.new_key_file) if state.job.new_key_file else None,
        }  # fmt: skip
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
            json.dump(job, child.stdin)
            child.stdin.close()
            for line in child.stdout:
                last = json.loads(line)
                if "doing" in last:
                    self.state = replace(self.state or state, **last)
            said = child.stderr.read()
        self._child = None
        if "manifest" in last or "error" in last:
            return last
        return {"error": f"it ended with {child.returncode} {_last_line(said)}".strip()}


def _last_line(text: str) -> Any:
    lines = text.strip().splitlines()
    return lines[-1][-_SAID_CHARS_MAX:] if lines else ""
