"""Options that the commands share."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from accountd.data.unopenable import KeyDoesNotOpenError
from shared.config import setting
from shared.errors import cause_of

DB_PATH: Final = setting(
    "DB_PATH",
    default="var/accounts.db",
    help="The encrypted database. Its key: DB_ENCRYPTION_KEY_FILE or DB_ENCRYPTION_KEY.",
)
JOURNAL: Final = setting(
    "ACCOUNTD_JOURNAL",
    "--journal",
    help="The journal of accounts, keys and grants, which a restore needs; best on another disk."
    " Absent: <DB_PATH>.journal.",
)


class _File(click.Path):
    """The name of a file, which may be there or not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a path; one that no system call takes is wrong use."""
        try:
            os.stat(value)
        except OSError as exc:
            if exc.errno == errno.ENAMETOOLONG:
                self.fail(f"{cause_of(exc)}: choose a shorter one", param, ctx)
        return super().convert(value, param, ctx)


FILE: Final = _File(path_type=Path)
JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, for programs."
)


@contextmanager
def key_file_named(key_file: Path | None) -> Iterator[None]:
    """Name the option of a backup's own key where the database's does not open it."""
    try:
        yield
    except KeyDoesNotOpenError as exc:
        if key_file is None:
            exc.hint = f"--key-file names the key that it was made with, if another; {exc.hint}"
        raise
