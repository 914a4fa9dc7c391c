"""``accountd backup``."""

import json
import os
import sys
from pathlib import Path

import click

from accountd.commands.options import DB_PATH, FILE, JSON
from accountd.config import load_database
from accountd.maintenance.backup import NICE, make_backup
from accountd.maintenance.backup_words import made_text, progress_words
from shared import core_dumps, secret_files
from shared.errors import ExitCode
from shared.progress import TerminalProgress


@click.command()
@DB_PATH
@click.argument("destination", metavar="DEST", type=FILE)
@click.option(
    "--new-key-file", type=FILE,
    help="A file with another key, which the backup gets: 64 hex digits or a passphrase.",
)  # fmt: skip
@JSON
def backup(db_path: str, destination: Path, new_key_file: Path | None, *, as_json: bool) -> None:
    """Copy the database to the file DEST and prove the copy; accountd may run meanwhile.

    Exit 1 when the backup was made and the audit of what is in it is NOT OK.
    """
    core_dumps.forbid()
    os.nice(NICE)
    loaded = load_database({"db_path": db_path})
    new_key = secret_files.read_key("--new-key-file", new_key_file) if new_key_file else None
    with TerminalProgress() as progress:
        made = make_backup(
            loaded.path, loaded.key, destination.absolute(), new_key=new_key,
            tell=lambda *step: progress.tell(*progress_words(*step)),
        )  # fmt: skip
    click.echo(json.dumps(made.manifest) if as_json else made_text(destination, made.manifest))
    sys.exit(ExitCode.DONE if made.ok else ExitCode.REFUSED)
