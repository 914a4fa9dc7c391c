"""A backup for the daemon, in a process of its own: a crash or a full disk cannot touch the daemon.

``python -c`` runs ``main``. The job, key included, is JSON on standard input. Lines of JSON on
standard output say how far it is; the last one says what came of it. When the daemon is gone the
next line cannot be written, and this ends as well.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from accountd.maintenance.backup import NICE, make_backup
from shared import core_dumps, secret_files
from shared.errors import OperatorError

PROGRAM: Final = "from accountd.maintenance.backup_child import main; main()"


def main() -> None:
    """Do the job on standard input."""
    core_dumps.forbid()
    os.nice(NICE)
    try:
        _say(_done(json.load(sys.stdin)))
    except OperatorError as exc:
        _say({"error": str(exc), "exit_code": exc.exit_code})
        sys.exit(exc.exit_code)


def _done(job: Any) -> Any:
    new_key = None
    if job["new_key_file"]:
        new_key = secret_files.read("--new-key-file", Path(job["new_key_file"])).strip()
    made = make_backup(
        Path(job["source"]), job["key"], Path(job["destination"]), new_key=new_key,
        tell=lambda doing, done, total: _say({"doing": doing, "done": done, "total": total}),
    )  # fmt: skip
    return {"manifest": made.manifest, "ok": made.ok}


def _say(value: Any) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()
