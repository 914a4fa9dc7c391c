"""The mark by which a file is told that was copied from under a daemon without its log.

``custody.is_open`` is 1 in the file while a daemon serves. Such a file with no write-ahead log
beside it lacks what was in there. After SIGKILL the log is still there. SQLite removes it when the
last connection closes, and then all of it is in the file: where the mark stays, an empty log does.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from shared.errors import DatabaseUnusableError

WITHOUT_LOG: Final = (
    "was copied without its write-ahead log (-wal) from under a running accountd: what was in"
    " there is missing"
)


class OpenMark:
    """The mark of the file at ``path``. Made before the file is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = Path(f"{path}-wal")
        self._is_whole = self._log.exists()

    def check(self, database: Any) -> None:
        """Refuse a file that lacks its log. Raises ``DatabaseUnusableError``."""
        if not self._is_whole and is_set(database.connection()):
            raise DatabaseUnusableError(
                f"{self._path} {WITHOUT_LOG}",
                hint="put its -wal file beside it, or restore a backup: accountd restore. If this"
                " file is all there is, or another program has opened it since accountd was killed,"
                f" touch {self._log}; accountctl audit then says what is missing",
            )
        self._is_whole = True

    def close(self, database: Any) -> None:
        """Close the database, and leave what says that nothing is missing."""
        must_stay = self._is_whole and is_set(database.connection())
        database.close()
        if must_stay:
            with suppress(OSError):
                os.close(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def is_set(connection: Any) -> bool:
    """Whether a daemon had the file open when it was copied, or has."""
    try:
        row = connection.execute("SELECT is_open FROM custody").fetchone()
    except sqlcipher.Error:  # an older schema, or a file that cannot be read
        return False
    return bool(row and row[0])


def set_mark(connection: Any, *, is_open: bool) -> None:
    """Write the mark, and move it from the log into the file. Raises SQLite's errors."""
    statement = "UPDATE custody SET is_open = ?1 WHERE is_open <> ?1"
    if connection.execute(statement, (int(is_open),)).rowcount:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def clear_in_copy(connection: Any) -> None:
    """Clear the mark in a copy that has all of the log, and that nobody else has open."""
    if is_set(connection):
        connection.execute("UPDATE custody SET is_open = 0")
