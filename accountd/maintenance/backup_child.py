"""A backup for the daemon, in a process of its own: a crash, or a disk that is full or does not
answer, cannot touch the daemon.

``python -c`` runs ``main``. The job, key included, is JSON on standard input. Lines of JSON on
standard output say how far it is; the last one says what came of it. When the daemon is gone the
next line cannot be written, and this ends as well.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from accountd.maintenance.backup import NICE, Backup, make_backup
from accountd.maintenance.backup_schedule import BackupFolder
from accountd.maintenance.copy_errors import copy_errors
from shared import core_dumps, secret_files
from shared.errors import ConfigError, OperatorError, cause_of

PROGRAM: Final = "from accountd.maintenance.backup_child import main; main()"


def main() -> None:
    """Do the job on standard input."""
    core_dumps.forbid()
    os.nice(NICE)
    try:
        job = json.load(sys.stdin)
        _say(_scheduled(job) if job["schedule"] else _asked(job))
    except OperatorError as exc:
        _say({"error": str(exc), "exit_code": exc.exit_code})
        sys.exit(exc.exit_code)


def _asked(job: Any) -> Any:
    new_key = None
    if job["new_key_file"]:
        new_key = secret_files.read_key("--new-key-file", Path(job["new_key_file"]))
    return {"manifest": _made(job, Path(job["destination"]), new_key).manifest}


def _scheduled(job: Any) -> Any:
    """The next one of a schedule, where it is due; then those that are too many are removed."""
    source, schedule = Path(job["source"]), job["schedule"]
    path, now = Path(schedule["folder"]), datetime.now(UTC)
    folder = BackupFolder(path, source)
    with copy_errors(source, path, outcome="no backup was made"):
        if path.is_file():
            raise ConfigError(f"{path} is a file", hint="ACCOUNTD_BACKUP_DIR names a folder")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        due_in_s, right_at = folder.due_in_s(schedule["every_s"], now), folder.newest_right_at()
    if due_in_s:
        return {"due_in_s": due_in_s, "right_at": right_at and right_at.timestamp()}
    destination = folder.name_at(now)
    _say({"destination": str(destination)})
    made = _made(job, destination, None)
    try:
        removed, not_removed = folder.remove_old(schedule["keep"]), None
    except OSError as exc:
        removed, not_removed = [], cause_of(exc)
    return {
        "manifest": made.manifest, "removed": [str(path) for path in removed],
        "not_removed": not_removed,
    }  # fmt: skip


def _made(job: Any, destination: Path, new_key: str | None) -> Backup:
    return make_backup(
        Path(job["source"]), job["key"], destination, new_key=new_key,
        tell=lambda doing, done, total: _say({"doing": doing, "done": done, "total": total}),
    )  # fmt: skip


def _say(value: Any) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()
