"""``accountd prune`` and ``accountd archive``: old usage rows, and the file that has them."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from accountd.clock import now_iso
from accountd.commands.options import DB_PATH, FILE
from accountd.config import load_database
from accountd.data import database
from accountd.data.archive_file import open_archive
from accountd.data.disk_errors import disk_error
from accountd.data.links import belongs_to
from accountd.maintenance import pruning
from accountd.maintenance.archive_proof import UNCOUNTED, problems_of, rows_of
from shared import core_dumps, secret_files
from shared.errors import ConfigError, OperatorError

# Statements of the month that goes on, and of the last one, show their rows.
DAYS_MIN: Final = 35
_KEY_FILE: Final = click.option(
    "--new-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the archive's own key. Otherwise it has the database's.",
)


@contextmanager
def _disk_errors_told(archive: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise disk_error(exc, archive, then="or name another file: --archive") from exc


@click.command()
@DB_PATH
@click.option("--before", required=True, help="Rows metered before this day, YYYY-MM-DD, in UTC.")
@click.option(
    "--archive",
    type=FILE,
    help="The archive, a new one or one to go on with. Otherwise a file beside the database.",
)
@click.option(
    "--begin-anew",
    is_flag=True,
    help="Leave the archive of an interrupted run as it is, and begin another one.",
)
@_KEY_FILE
@click.option("--yes", is_flag=True, help=f"Move rows of the last {DAYS_MIN} days, too.")
def prune(
    before: str,
    archive: Path | None,
    new_key_file: Path | None,
    *,
    begin_anew: bool,
    yes: bool,
    **settings: str | None,
) -> None:
    """Move old usage rows into an encrypted archive, beside a running accountd or without one.

    Their sums by account, day, provider, model, kind and rate card stay, so that balances,
    statements and the audit are what they were. After an interruption run it again.
    """
    core_dumps.forbid()
    loaded = load_database(settings)
    before_ms = _day(before, is_sure=yes)
    began = time.monotonic()
    with (
        database.errors_translated(loaded.path),
        database.open_for_pruning(loaded.path, loaded.key) as opened,
    ):
        ledger = opened.database.connection()
        pruning.check_settled(ledger, before_ms)
        begun = None if begin_anew else pruning.unfinished(ledger)
        path = _path(begun, archive, loaded.path, before)
        order = pruning.Order(
            before_ms, path, _key(new_key_file, loaded.key), leaves_unfinished=begin_anew
        )
        with _Progress() as progress, _disk_errors_told(path):
            done = pruning.prune(ledger, loaded.path, order, now=now_iso(), progress=progress.show)
        (free,) = ledger.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = ledger.execute("PRAGMA page_size").fetchone()
    free_mb = int(free) * int(page_bytes) / 1e6
    if not done.rows_of_archive:
        click.echo("no rows to move: the newest ones stay, some 16,000 at least")
        return
    click.echo(
        f"moved {done.rows:,} rows metered before {before} in {time.monotonic() - began:.1f} s\n"
        f"archive: {done.path}, {done.rows_of_archive:,} rows in all\n"
        f"free in the database: {free_mb:,.0f} MB, which new usage fills; the file"
        " keeps its length"
    )


@click.command()
@DB_PATH
@click.argument("file", type=FILE)
@_KEY_FILE
def archive(file: Path, new_key_file: Path | None, **settings: str | None) -> None:
    """Prove an archive: its rows add up exactly to the sums that stay in the database."""
    core_dumps.forbid()
    loaded = load_database(settings)
    with (
        database.errors_translated(loaded.path),
        database.open_for_pruning(loaded.path, loaded.key) as opened,
        database.errors_translated(file),
        open_archive(file, _key(new_key_file, loaded.key)) as found,
    ):
        problems = problems_of(found, opened.database.connection())
        rows, uncounted = rows_of(found, opened.database.connection())
    for problem in problems:
        click.echo(f"{file}: {problem}")
    click.echo("NOT OK" if problems else f"OK: {rows:,} rows add up to the sums in the database")
    if uncounted and not problems:
        click.echo(f"{uncounted:,} rows more are not counted there: {UNCOUNTED}")
    sys.exit(1 if problems else 0)


# --- helpers -------------------------------------------------------------------------------------


def _day(text: str, *, is_sure: bool) -> int:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"--before: found {text!r}, expected a day as YYYY-MM-DD") from None
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if day > today:
        raise ConfigError(f"--before: {text} is not over yet", hint="name a day in the past")
    if day > today - timedelta(days=DAYS_MIN) and not is_sure:
        raise ConfigError(
            f"--before: {text} is less than {DAYS_MIN} days ago: statements of the month that goes"
            " on would lose their rows",
            hint="name an earlier day, or add --yes",
        )
    return int(day.timestamp()) * 1000


def _path(begun: Path | None, asked: Path | None, db_path: Path, before: str) -> Path:
    """The file of the archive; ``begun`` by an interrupted run, it is finished first."""
    if asked is not None and belongs_to(db_path, asked):
        raise ConfigError(f"{asked} belongs to the database", hint="choose another name: --archive")
    if begun is None:
        default = db_path.with_name(f"{db_path.stem}-before-{before}.archive")
        return (asked or default).resolve()
    path = (asked or begun).resolve()
    if not path.exists():
        raise OperatorError(
            f"an interrupted run has begun the archive {begun}",
            hint="bring it back, or name where it is: --archive FILE; if it is lost:"
            " --archive NEWFILE --begin-anew",
        )
    return path


def _key(file: Path | None, key: str) -> str:
    if file is None:
        return key
    return secret_files.read_key("--new-key-file", file)


class _Progress:
    """A line on a terminal, rewritten as rows move."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            click.echo("\r\033[K", err=True, nl=False)

    def show(self, moved: int, total: int) -> None:
        """So many rows of these have moved."""
        if self._is_shown:
            click.echo(f"\rmoved {moved:,} of {total:,} rows", err=True, nl=False)
