"""``accountd verify``."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import click

from accountd.commands.options import DB_PATH, FILE, JSON, key_file_named
from accountd.config import load_database
from accountd.data import database
from accountd.data.links import followed
from accountd.maintenance.backup_words import MB, VERIFYING, progress_words
from accountd.maintenance.manifests import differences, read_manifest
from accountd.maintenance.verifying import Verified
from accountd.maintenance.verifying import verify as proven
from shared import core_dumps, secret_files
from shared.errors import ExitCode
from shared.progress import TerminalProgress


@click.command()
@DB_PATH
@click.argument("file", required=False, type=FILE)
@click.option(
    "--key-file", type=FILE,
    help="The key of FILE, where it is another one than that of the database.",
)  # fmt: skip
@JSON
def verify(db_path: str, file: Path | None, key_file: Path | None, *, as_json: bool) -> None:
    """Prove FILE, or the database: pages, indexes, the audit, and a backup's manifest.

    Changes nothing; a database that is in use is copied first. Exit 1 when something is wrong.
    """
    core_dumps.forbid()
    if file is not None:
        file = followed(file)
    if file is None or key_file is None:
        loaded = load_database({"db_path": db_path})
        path, key = file or loaded.path, loaded.key
    else:
        path = file
    if key_file is not None:
        key = secret_files.read_key("--key-file", key_file)
    manifest = read_manifest(path) if path.is_file() else None
    named = key_file_named(key_file if file else path)
    with TerminalProgress() as progress, database.errors_translated(path), named:
        found = proven(
            path, key,
            on_progress=lambda done, total: progress.tell(*progress_words(VERIFYING, done, total)),
        )  # fmt: skip
    problems = [*found.problems]
    if manifest is not None:
        problems += differences(manifest, found)
    if as_json:
        click.echo(json.dumps(_as_json(found, problems, has_manifest=manifest is not None)))
    else:
        click.echo(_text(found, problems, has_manifest=manifest is not None))
    sys.exit(ExitCode.REFUSED if problems else ExitCode.DONE)


def _as_json(found: Verified, problems: list[str], *, has_manifest: bool) -> dict[str, object]:
    values = {one.name: getattr(found, one.name) for one in fields(found)}
    return {
        **values,
        "path": str(found.path),
        "ok": not problems,
        "has_manifest": has_manifest,
        "problems": problems,
    }


def _text(found: Verified, problems: list[str], *, has_manifest: bool) -> str:
    lines = [
        f"{'NOT OK' if problems else 'OK'}: {found.path}, {found.bytes / MB:,.1f} MB, schema"
        f" {found.schema}, usage rows {found.counts.get('usage', 0):,}, accounts"
        f" {found.counts.get('accounts', 0):,}, producers {found.producers:,}",
        f"sha256 {found.sha256}"
        + (", compared with its manifest" if has_manifest else ", no manifest beside it"),
    ]
    if found.audit is None and not found.damage:
        lines.append("no audit: the schema is of another release")
    return "\n".join([*lines, *(f"  {line}" for line in problems)])
