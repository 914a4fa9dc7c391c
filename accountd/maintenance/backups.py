"""The backups of a running daemon: those that are asked for, and those of a schedule.

Runs on the daemon's loop, which a backup never holds up: a child process makes it, looks for older
ones, and removes them.
"""

import time
from pathlib import Path
from typing import Final

import structlog

from accountd.maintenance.backup_process import BackupProcess, Job, State
from accountd.maintenance.backup_schedule import BackupSchedule
from accountd.request_params import Json, Params, RequestError
from shared.metrics import Metric

log = structlog.get_logger()

# After a failure, before the next attempt.
AGAIN_S: Final = 60.0
_PATH_BYTES_MAX: Final = 4_096  # Linux: PATH_MAX


class Backups:
    """Of the database at ``source``. ``tick`` is called in each turn of the loop."""

    def __init__(self, source: Path, key: str, schedule: BackupSchedule | None) -> None:
        self._process = BackupProcess(source, key)
        self._job = Job(schedule=schedule) if schedule else None
        self._told = 0  # the number of the last one whose end was noted
        self._not_before = 0.0  # time.monotonic
        self._failures = 0
        self._right_at = self._seconds = 0.0

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        return [
            Metric(
                "rts_accountd_backup_last_success_seconds", "gauge",
                "When the last backup was made whose audit was OK, in Unix time; 0: none is known.",
                lambda: self._right_at,
            ),
            Metric(
                "rts_accountd_backup_failures_total", "counter",
                "Backups of the schedule that could not be made.", lambda: self._failures,
            ),
            Metric(
                "rts_accountd_backup_duration_seconds", "gauge",
                "How long the last backup took.", lambda: self._seconds,
            ),
        ]  # fmt: skip

    def start(self, params: Params) -> Json:
        """``backup.start``: begin one; refused as busy while one is being made."""
        self._note_end()
        new_key_file = _path(params, "new_key_file") if params.has("new_key_file") else None
        begun = self._process.start(Job(_path(params, "destination"), new_key_file))
        if begun is None:
            newest = self._process.newest
            to = f" to {newest.destination}" if newest and newest.destination else ""
            raise RequestError("busy", f"a backup{to} is being made; try again later")
        return {"number": begun.number}

    def show(self, params: Params) -> Json:
        """``backup.state``: how far that one is, and what came of it."""
        state = self._process.state(params.integer("number", 1, 2**53))
        if state is None:
            raise RequestError("unknown_backup", "accountd was started again, or made others since")
        return {
            "doing": state.doing, "done": state.done, "total": state.total,
            "manifest": state.manifest, "error": state.error, "exit_code": state.exit_code,
            "seconds": state.seconds,
        }  # fmt: skip

    def tick(self) -> None:
        """Note the end of one, and begin the one that is due."""
        self._note_end()
        if self._job is not None and time.monotonic() >= self._not_before:
            self._process.start(self._job)

    def stop(self) -> None:
        """End the one that is being made."""
        self._process.stop()

    def _note_end(self) -> None:
        state = self._process.newest
        if state is not None and state.is_over and state.number > self._told:
            self._told = state.number
            self._note(state)

    def _note(self, state: State) -> None:
        if state.job.schedule is not None:
            self._not_before = time.monotonic() + _wait_s(state, state.job.schedule)
        if state.due_in_s is not None:
            self._right_at = max(self._right_at, state.right_at or 0.0)
        elif state.manifest is None:
            self._note_failure(state)
        else:
            self._seconds = state.seconds
            self._note_made(state, state.manifest)

    def _note_failure(self, state: State) -> None:
        """Nobody waits for one of the schedule; who asked for another is told."""
        is_scheduled = state.job.schedule is not None
        self._failures += is_scheduled
        self._seconds = state.seconds
        tell = log.error if is_scheduled else log.info
        tell("backup failed", to=state.destination or _folder(state), why=state.error)

    def _note_made(self, state: State, manifest: Json) -> None:
        to, findings = state.destination, manifest["audit"]["findings"]
        log.info("backup made", to=to, bytes=manifest["bytes"], seconds=round(state.seconds, 1))
        if findings:
            log.error("what was backed up is not right", to=to, why="; ".join(findings))
        else:
            self._right_at = time.time()
        for path in state.removed:
            log.info("old backup removed", path=path)
        if state.not_removed is not None:
            log.error("old backups cannot be removed", why=state.not_removed)


def _wait_s(state: State, schedule: BackupSchedule) -> float:
    """How long the schedule has to wait after that."""
    if state.due_in_s is not None:
        return state.due_in_s
    return AGAIN_S if state.manifest is None else max(0.0, schedule.every_s - state.seconds)


def _folder(state: State) -> str:
    return str(state.job.schedule.folder) if state.job.schedule else ""


def _path(params: Params, name: str) -> Path:
    text = params.optional_document(name, bytes_max=_PATH_BYTES_MAX)
    if text is None or not Path(text).is_absolute() or "\0" in text:
        raise RequestError("bad_request", f"{name}: expected an absolute path")
    return Path(text)
