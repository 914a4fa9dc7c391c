"""An archive: one encrypted file with the usage rows that left a ledger, readable by itself.

``accountd.maintenance.pruning`` fills it. The tables have the rows as they were, with the names
that their numbers stand for; the view ``archived_usage`` has both together, for people and other
programs. A portion of rows is one transaction, and on the disk when ``add`` returns.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.database import passphrases, silence_sqlcipher, transaction
from shared.errors import DatabaseUnusableError
from shared.usage import USAGE_FIELDS

FORMAT: Final = 1
APPLICATION_ID: Final = 0x52535741  # "RSWA"
ROW_COLUMNS: Final = (
    "id", "account", "session", "label", "metered_at", "producer", "sequence", "responses",
    "topup_deducted", "token_deducted", "waived", "is_estimate", *USAGE_FIELDS, "response_ids",
    "raw_usage",
)  # fmt: skip
NAMES: Final = {
    "usage_accounts": ("account", ("account_id",)),
    "usage_sessions": ("session", ("session_id",)),
    "usage_labels": ("label", ("provider", "model", "kind", "rate_card", "unpriced")),
    "usage_producers": ("producer", ("producer",)),
    "usage_keys": ("key", ("key_hash",)),
}
"""Tables of names: the column with their number, and their own columns, as in the ledger."""

_SCHEMA: Final = (
    "CREATE TABLE archive (archive_id TEXT NOT NULL, format INTEGER NOT NULL) STRICT",
    """
    CREATE TABLE portions (
        number INTEGER PRIMARY KEY, rows INTEGER NOT NULL, first_row INTEGER NOT NULL,
        last_row INTEGER NOT NULL
    ) STRICT
    """,
    *(
        f"CREATE TABLE {table} (number INTEGER PRIMARY KEY, {', '.join(columns)})"
        for table, (_, columns) in NAMES.items()
    ),
    f"""
    CREATE TABLE usage (
        {ROW_COLUMNS[0]} INTEGER PRIMARY KEY, {", ".join(ROW_COLUMNS[1:])}, key INTEGER,
        portion INTEGER NOT NULL
    )
    """,
    f"""
    CREATE VIEW archived_usage AS
    SELECT u.id, strftime('%Y-%m-%dT%H:%M:%fZ', u.metered_at / 1000.0, 'unixepoch') AS created_at,
           a.account_id, s.session_id, l.provider, l.model, l.kind, l.rate_card, l.unpriced,
           u.responses, u.topup_deducted, u.token_deducted,
           u.topup_deducted + u.token_deducted AS credits, u.waived,
           {", ".join(f"u.{name}" for name in USAGE_FIELDS)},
           lower(hex(p.producer)) AS producer, u.sequence, k.key_hash, u.raw_usage
    FROM usage u
    JOIN usage_accounts a ON a.number = u.account
    JOIN usage_sessions s ON s.number = u.session
    JOIN usage_labels l ON l.number = u.label
    LEFT JOIN usage_producers p ON p.number = u.producer
    LEFT JOIN usage_keys k ON k.number = u.key
    """,  # noqa: S608 - constants only
)
_INSERT: Final = f"INSERT INTO usage VALUES ({', '.join('?' * (len(ROW_COLUMNS) + 2))})"  # noqa: S608 - marks


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows that move together, each with the number of its key at the end, and their names."""

    rows: Sequence[tuple[Any, ...]]
    names: dict[str, Sequence[tuple[Any, ...]]]

    @property
    def first(self) -> int:
        """The id of the first row."""
        return int(self.rows[0][0])

    @property
    def last(self) -> int:
        """The id of the last row."""
        return int(self.rows[-1][0])


class Archive:
    """An open archive."""

    def __init__(self, connection: Any, path: Path) -> None:
        self.connection, self.path = connection, path
        ((self.archive_id, self._format),) = connection.execute("SELECT * FROM archive").fetchall()
        if self._format != FORMAT:
            raise DatabaseUnusableError(f"{path} has format {self._format}, expected {FORMAT}")

    @property
    def portions(self) -> int:
        """How many portions it has."""
        (count,) = self.connection.execute(
            "SELECT coalesce(max(number), 0) FROM portions"
        ).fetchone()
        return int(count)

    def count(self) -> int:
        """How many rows it has."""
        (count,) = self.connection.execute("SELECT count(*) FROM usage").fetchone()
        return int(count)

    def add(self, portion: Portion) -> None:
        """Store the rows, durably."""
        number = self.portions + 1
        with transaction(self.connection):
            for table, rows in portion.names.items():
                marks = ", ".join("?" * (1 + len(NAMES[table][1])))
                statement = f"INSERT OR IGNORE INTO {table} VALUES ({marks})"  # noqa: S608
                self.connection.executemany(statement, rows)
            self.connection.executemany(_INSERT, [(*row, number) for row in portion.rows])
            counts = (number, len(portion.rows), portion.first, portion.last)
            self.connection.execute("INSERT INTO portions VALUES (?, ?, ?, ?)", counts)

    def forget_last(self) -> None:
        """Remove the last portion: its rows are in the ledger still."""
        with transaction(self.connection):
            (number,) = self.connection.execute("SELECT max(number) FROM portions").fetchone()
            self.connection.execute("DELETE FROM usage WHERE portion = ?", (number,))
            self.connection.execute("DELETE FROM portions WHERE number = ?", (number,))


@contextmanager
def create_archive(path: Path, key: str) -> Iterator[Archive]:
    """A new archive with mode 0600; an empty one of an interrupted start is used again."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.new")
    staged.unlink(missing_ok=True)
    os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection = _connect(staged, passphrases(key)[0])
    try:
        with transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
            made = (secrets.token_hex(16), FORMAT)
            connection.execute("INSERT INTO archive VALUES (?, ?)", made)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    finally:
        connection.close()
    os.link(staged, path)  # never over another file
    staged.unlink()
    sync_folder(path.parent)
    with open_archive(path, key) as archive:
        yield archive


@contextmanager
def open_archive(path: Path, key: str) -> Iterator[Archive]:
    """An archive that there is; raises ``DatabaseUnusableError``."""
    if not path.is_file():
        raise DatabaseUnusableError(f"no archive at {path}", hint="name the file: --archive FILE")
    for passphrase in passphrases(key):
        try:
            connection = _connect(path, passphrase)
        except sqlcipher.DatabaseError as exc:
            if "not a database" not in str(exc):
                raise
            continue
        try:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            if int(found) != APPLICATION_ID:
                raise DatabaseUnusableError(f"{path} is no archive of accountd prune")
            yield Archive(connection, path)
        finally:
            connection.close()
        return
    raise DatabaseUnusableError(
        f"the key does not open {path}", hint="an archive may have its own: --new-key-file FILE"
    )


def sync_folder(folder: Path) -> None:
    """Make a new name in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path, passphrase: str) -> Any:
    silence_sqlcipher()
    connection = sqlcipher.connect(str(path), isolation_level=None)
    try:
        quoted = passphrase.replace("'", "''")
        connection.execute(f"PRAGMA key = '{quoted}'")
        # One file at any time, and the deletion of its journal is durable as well.
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.execute("PRAGMA synchronous = EXTRA")
    except BaseException:
        connection.close()
        raise
    return connection
