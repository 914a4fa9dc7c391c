"""The backups of a running daemon: those that are asked for, and those of a schedule.

Runs on the daemon's loop, which a backup never holds up: a child process makes it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from accountd.maintenance.backup_process import BackupProcess, Job, State
from accountd.maintenance.backup_schedule import BackupFolder, BackupSchedule
from accountd.request_params import Json, Params, RequestError
from shared.errors import cause_of
from shared.metrics import Metric

log = structlog.get_logger()

# After a failure, before the next attempt.
AGAIN_S: Final = 60.0
_PATH_BYTES_MAX: Final = 4_096  # Linux: PATH_MAX


class Backups:
    """Of the database at ``source``. ``tick`` is called in each turn of the loop."""

    def __init__(
        self,
        source: Path,
        key: str,
        schedule: BackupSchedule | None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._process = BackupProcess(source, key)
        self._schedule, self._now = schedule, now
        self._folder = BackupFolder(schedule.folder, source) if schedule else None
        self._told = 0  # the number of the last one whose end was noted
        self._not_before = 0.0  # time.monotonic
        self._failures = 0
        self._succeeded_at = self._seconds = 0.0

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        return [
            Metric(
                "rts_accountd_backup_last_success_seconds", "gauge",
                "When the last backup was made, in Unix time; 0: none since the start.",
                lambda: self._succeeded_at,
            ),
            Metric(
                "rts_accountd_backup_failures_total", "counter",
                "Backups that could not be made.", lambda: self._failures,
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
            assert self._process.state is not None
            busy = self._process.state.job.destination
            raise RequestError("busy", f"a backup to {busy} is being made; try again later")
        return {"number": begun.number}

    def show(self, params: Params) -> Json:
        """``backup.state``: how far that one is, and what came of it."""
        state = self._process.state
        if state is None or state.number != params.integer("number", 1, 2**53):
            raise RequestError("unknown_backup", "another backup was begun since")
        return {
            "doing": state.doing, "done": state.done, "total": state.total,
            "manifest": state.manifest, "error": state.error, "exit_code": state.exit_code,
            "seconds": state.seconds,
        }  # fmt: skip

    def tick(self) -> None:
        """Note the end of one, and begin the one that is due."""
        self._note_end()
        state = self._process.state
        if self._schedule is None or time.monotonic() < self._not_before:
            return
        if state is None or state.is_over:
            self._begin_due(self._schedule)

    def stop(self) -> None:
        """End the one that is being made."""
        self._process.stop()

    def _begin_due(self, schedule: BackupSchedule) -> None:
        assert self._folder is not None
        now = self._now()
        self._not_before = time.monotonic() + AGAIN_S
        try:
            schedule.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            newest = self._folder.newest_at()
        except OSError as exc:
            self._failures += 1
            log.error("backup failed", folder=str(schedule.folder), why=cause_of(exc))
            return
        left_s = schedule.every_s - (now - newest).total_seconds() if newest else 0.0
        if 0 < left_s <= schedule.every_s:  # a clock that was put back makes none wait longer
            self._not_before = time.monotonic() + left_s
            return
        self._process.start(Job(self._folder.name_at(now).absolute(), is_scheduled=True))

    def _note_end(self) -> None:
        state = self._process.state
        if state is not None and state.is_over and state.number > self._told:
            self._told = state.number
            self._note(state)

    def _note(self, state: State) -> None:
        to = str(state.job.destination)
        self._seconds = state.seconds
        if state.manifest is None:
            self._failures += 1
            log.error("backup failed", to=to, why=state.error)
            if state.job.is_scheduled:
                self._not_before = time.monotonic() + AGAIN_S
            return
        self._succeeded_at = time.time()
        findings = state.manifest["audit"]["findings"]
        log.info(
            "backup made", to=to, bytes=state.manifest["bytes"], seconds=round(state.seconds, 1)
        )
        if findings:
            log.error("what was backed up is not right", to=to, why="; ".join(findings))
        if state.job.is_scheduled:
            self._not_before = 0.0
            self._remove_old()

    def _remove_old(self) -> None:
        assert self._schedule is not None
        assert self._folder is not None
        try:
            for path in self._folder.remove_old(self._schedule.keep):
                log.info("old backup removed", path=str(path))
        except OSError as exc:
            log.error("old backups cannot be removed", why=cause_of(exc))


def _path(params: Params, name: str) -> Path:
    text = params.optional_document(name, bytes_max=_PATH_BYTES_MAX)
    if text is None or not Path(text).is_absolute() or "\0" in text:
        raise RequestError("bad_request", f"{name}: expected an absolute path")
    return Path(text)
