"""``accountctl backup``: the running daemon makes a backup."""

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from accountd.ctl.client import call
from accountd.ctl.output import JSON, show
from accountd.maintenance.backup_words import made_text, progress_words
from shared.errors import ExitCode, OperatorError
from shared.progress import TerminalProgress

_LOOK_S: Final = 0.2


class NotMadeError(OperatorError):
    """accountd could not make the backup."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code)


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.option(
    "--new-key-file", type=click.Path(path_type=Path),
    help="A file with another key, which the backup gets; accountd reads it.",
)  # fmt: skip
@JSON
@click.pass_obj
def backup(endpoint: str, destination: Path, new_key_file: Path | None, *, as_json: bool) -> None:
    """Let accountd copy its database to the file DEST and prove the copy.

    Exit 1 when the backup was made and the audit of what is in it is NOT OK.
    """
    asked = {
        "destination": os.path.abspath(destination),
        "new_key_file": new_key_file and os.path.abspath(new_key_file),
    }
    number = call(endpoint, "backup.start", asked)["number"]
    with TerminalProgress() as progress:
        state = _outcome(endpoint, number, progress)
    if state["error"] is not None:
        raise NotMadeError(state["error"], state["exit_code"])
    manifest = state["manifest"]
    show(manifest, as_json, lambda found: made_text(destination, found))
    sys.exit(ExitCode.REFUSED if manifest["audit"]["findings"] else ExitCode.DONE)


def _outcome(endpoint: str, number: int, progress: TerminalProgress) -> Any:
    """Wait for the end of the backup; when this is interrupted, accountd goes on with it."""
    while True:
        state = call(endpoint, "backup.state", {"number": number})
        if state["error"] is not None or state["manifest"] is not None:
            return state
        if state["doing"]:
            progress.tell(*progress_words(state["doing"], state["done"], state["total"]))
        time.sleep(_LOOK_S)
