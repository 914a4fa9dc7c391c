"""The journal of changes: what a backup of the ledger lacks, in an encrypted file of its own.

It has every admin change (``admin_changes``) under the number that it has in the ledger, and for
each producer up to which sequence its usage was durable. The daemon appends to it after the commit
and before it answers; nothing is ever changed or removed there. The key is that of the ledger.

No write-ahead log: the file alone is the journal, so that a copy of it is one, too.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.database import error_name, passphrases, silence_sqlcipher, transaction
from shared.errors import DatabaseUnusableError

SUFFIX: Final = ".journal"
# The daemon applies no usage meanwhile, and tries again by itself.
_BUSY_S: Final = 0.1
_PRAGMAS: Final = ("journal_mode = delete", "synchronous = full")
_TABLES: Final = (
    """
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        database_id TEXT NOT NULL CHECK (length(database_id) = 32)
    ) STRICT
    """,
    """
    CREATE TABLE admin_changes (
        number INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        subject TEXT NOT NULL,
        name TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TRIGGER appended_only BEFORE UPDATE ON admin_changes
    BEGIN SELECT RAISE(ABORT, 'the journal is only appended to'); END
    """,
    """
    CREATE TRIGGER never_removed BEFORE DELETE ON admin_changes
    BEGIN SELECT RAISE(ABORT, 'the journal is only appended to'); END
    """,
    """
    CREATE TABLE watermarks (
        producer BLOB PRIMARY KEY CHECK (length(producer) = 16),
        through INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)
_APPEND: Final = (
    "INSERT INTO admin_changes (number, at, subject, name, body) VALUES (?, ?, ?, ?, ?)"
)
_NOTE: Final = """
    INSERT INTO watermarks (producer, through) VALUES (?1, ?2)
    ON CONFLICT (producer) DO UPDATE SET through = ?2 WHERE ?2 > through
"""


class JournalFault(Enum):
    """Why a journal cannot be used."""

    MISSING = "there is none"
    OTHER_KEY = "the key does not open it, or its first page is damaged"
    DAMAGED = "it is damaged"
    OTHER_LEDGER = "it is that of another ledger"
    OTHER_FILE = "it is another database, and no journal"
    UNREACHABLE = "it cannot be read or written"


_HINTS: Final = {
    JournalFault.OTHER_KEY: "it needs the key that the ledger had; a backup of it may be whole",
    JournalFault.DAMAGED: "set it aside; a copy of it may be whole",
    JournalFault.OTHER_LEDGER: "ACCOUNTD_JOURNAL names the file of another ledger; set it aside",
    JournalFault.OTHER_FILE: "ACCOUNTD_JOURNAL names the wrong file",
    JournalFault.UNREACHABLE: "check the disk, and the modes of the file and its folder",
}


class JournalError(DatabaseUnusableError):
    """The journal cannot be used; the text names the file and says why."""

    def __init__(self, path: Path, fault: JournalFault, detail: str = "") -> None:
        what = f"the journal {path}: {fault.value}{f' ({detail})' if detail else ''}"
        super().__init__(what, hint=_HINTS.get(fault, ""))
        self.path, self.fault = path, fault


@dataclass(frozen=True, slots=True)
class AdminChange:
    """A row as it was after a change of an account or a key, or a grant. ``body`` is JSON."""

    number: int
    at: str
    subject: str
    name: str
    body: str


class ChangeSource(Protocol):
    """Something that knows admin changes: a journal, or another copy of the ledger."""

    @property
    def database_id(self) -> str:
        """Which ledger they are changes of."""

    def newest(self) -> int:
        """The highest number; 0 when there is none."""

    def changes_after(self, number: int) -> Iterator[AdminChange]:
        """Those with higher numbers, in their order."""


class StoredChanges:
    """The admin changes in an open ledger."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def database_id(self) -> str:
        """Which ledger it is."""
        (found,) = self._connection.execute("SELECT database_id FROM custody").fetchone()
        return str(found)

    def newest(self) -> int:
        """The highest number; 0 when there is none."""
        return _newest(self._connection)

    def changes_after(self, number: int) -> Iterator[AdminChange]:
        """Those with higher numbers, in their order."""
        return _changes_after(self._connection, number)


class Journal:
    """An open journal, for one thread. ``close`` at the end."""

    def __init__(self, path: Path, connection: Any, database_id: str) -> None:
        self.path = path
        self.database_id = database_id
        self._connection = connection
        self._file = _identity(path)

    @classmethod
    def open(cls, path: Path, key: str) -> "Journal":
        """The journal in an existing file. Raises ``JournalError``."""
        try:
            if not path.stat().st_size:
                raise JournalError(path, JournalFault.MISSING)
        except FileNotFoundError:
            raise JournalError(path, JournalFault.MISSING) from None
        except OSError as exc:
            raise JournalError(path, JournalFault.UNREACHABLE, exc.strerror or "") from exc
        for passphrase in passphrases(key):
            found = _connected(path, passphrase)
            if found is not None:
                return found
        raise JournalError(path, JournalFault.OTHER_KEY)

    @classmethod
    def create(cls, path: Path, key: str, database_id: str) -> "Journal":
        """A new and empty journal; its folder must exist. Raises ``JournalError``."""
        staged = path.with_name(f"{path.name}.new")
        try:
            staged.unlink(missing_ok=True)
            os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            connection = _connect(staged, passphrases(key)[0])
            with transaction(connection):
                for table in _TABLES:
                    connection.execute(table)
                connection.execute("INSERT INTO journal VALUES (1, ?)", (database_id,))
            connection.close()
            staged.rename(path)
            _sync_folder(path.parent)
        except (OSError, sqlcipher.Error) as exc:
            raise JournalError(path, JournalFault.UNREACHABLE, str(exc)) from exc
        return cls.open(path, key)

    def newest(self) -> int:
        """The highest number; 0 when there is none."""
        with self._translated():
            return _newest(self._connection)

    def oldest(self) -> int:
        """The lowest number; 0 when there is none."""
        with self._translated():
            query = "SELECT coalesce(min(number), 0) FROM admin_changes"
            return int(self._connection.execute(query).fetchone()[0])

    def changes_after(self, number: int) -> Iterator[AdminChange]:
        """Those with higher numbers, in their order."""
        with self._translated():
            yield from _changes_after(self._connection, number)

    def watermarks(self) -> dict[bytes, int]:
        """Up to which sequence the usage of each producer was durable, when it was noted last."""
        with self._translated():
            rows = self._connection.execute("SELECT producer, through FROM watermarks")
            return {bytes(producer): through for producer, through in rows}

    def append(self, changes: Iterable[AdminChange]) -> None:
        """Add changes with higher numbers than those before: all of them, or none."""
        with self._translated(), transaction(self._connection):
            self._connection.executemany(_APPEND, map(astuple, changes))

    def note_watermarks(self, throughs: Mapping[bytes, int]) -> None:
        """These were durable. One that is noted never goes back."""
        with self._translated(), transaction(self._connection):
            self._connection.executemany(_NOTE, throughs.items())

    def prove_writable(self) -> None:
        """Write what is there already. Raises ``JournalError`` where nothing could be appended."""
        with self._translated(), transaction(self._connection):
            self._connection.execute("UPDATE journal SET database_id = database_id")

    @property
    def is_in_place(self) -> bool:
        """Whether the file is still there, and no other one in its place."""
        return self._file is not None and _identity(self.path) == self._file

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _translated(self) -> "_Translated":
        return _Translated(self.path)


class _Translated:
    """Turns an error of SQLite into a ``JournalError``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        if isinstance(exc, sqlcipher.Error):
            raise JournalError(self._path, _fault(exc), str(exc)) from exc


def _fault(exc: sqlcipher.Error) -> JournalFault:
    is_damage = error_name(exc).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
    return JournalFault.DAMAGED if is_damage else JournalFault.UNREACHABLE


def _connected(path: Path, passphrase: str) -> Journal | None:
    """The journal, or None where this is not its key."""
    connection: Any = None
    try:
        connection = _connect(path, passphrase)
        (database_id,) = connection.execute("SELECT database_id FROM journal").fetchone()
    except sqlcipher.Error as exc:
        if connection is not None:
            connection.close()
        if error_name(exc) == "SQLITE_NOTADB":
            return None
        if "no such table" in str(exc):
            raise JournalError(path, JournalFault.OTHER_FILE) from None
        raise JournalError(path, _fault(exc), str(exc)) from exc
    return Journal(path, connection, database_id)


def _connect(path: Path, passphrase: str) -> Any:
    silence_sqlcipher()
    connection = sqlcipher.connect(str(path), isolation_level=None, timeout=_BUSY_S)
    quoted = passphrase.replace("'", "''")
    try:
        connection.execute(f"PRAGMA key = '{quoted}'")
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _newest(connection: Any) -> int:
    (found,) = connection.execute("SELECT coalesce(max(number), 0) FROM admin_changes").fetchone()
    return int(found)


def _changes_after(connection: Any, number: int) -> Iterator[AdminChange]:
    rows = connection.execute(
        "SELECT number, at, subject, name, body FROM admin_changes WHERE number > ?"
        " ORDER BY number",
        (number,),
    )
    return (AdminChange(*row) for row in rows)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
