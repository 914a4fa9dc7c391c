"""Proves a database file: every page, every index, and the books. It never changes a byte of it.

Called by the commands that make copies, or put one in the place of the database, before the copy
counts, and by ``accountd verify``. A file with a write-ahead log may be in use: a private copy of
it is proven, so that the log is held for seconds and not for as long as the proof takes.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import peewee

from accountd.data import database, models, snapshot
from accountd.data.open_mark import WITHOUT_LOG
from accountd.data.partial_file import partial_file
from accountd.maintenance.copy_errors import copy_errors
from accountd.reports.audit import audit
from accountd.request_params import Json, Params
from shared.errors import DatabaseUnusableError, StorageError, cause_of

OnProgress = Callable[[int, int], None]

PARTIAL: Final = ".verify-partial"

# Producers whose watermarks are listed; the digest covers all of them.
WATERMARKS_MAX: Final = 1_000
_DAMAGE_MAX: Final = 20  # lines of SQLite's check
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_LOOK_S: Final = 0.2
_PASSES: Final = 3  # the whole file is read for the digest, the pages' HMACs, and the indexes
_PRAGMAS: Final[dict[str, Any]] = {"query_only": 1, "cache_size": -65_536}
_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
)
_WATERMARKS: Final = "SELECT producer, applied_through FROM producers ORDER BY producer"
_DAMAGED_LOG: Final = "its write-ahead log is damaged: {:,} commits in it cannot be read"
_WITHOUT_LOG: Final = (
    f"it {WITHOUT_LOG}. Copy accounts.db and accounts.db-wal together, or make a copy with accountd"
    " backup"
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What is in a database, and what is wrong with it.

    ``damage``: the file cannot be relied on. ``findings``: it is whole, and its books are not
    right.
    """

    path: Path
    bytes: int = 0
    sha256: str = ""
    database_id: str | None = None  # None before schema 21
    epoch: int = 0
    schema: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    last_usage_row: int = 0
    last_change: int = 0
    producers: int = 0
    watermarks: dict[str, int] | None = None  # None when there are too many
    watermark_digest: str = ""
    audit: Json | None = None  # None where the schema is not that of this release
    damage: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong; none when the file is good."""
        return self.damage + self.findings


def verify(path: Path, key: str, *, on_progress: OnProgress | None = None) -> Verified:
    """Prove the database at ``path``. ``on_progress``: bytes read of the bytes to read.

    Raises an ``OperatorError`` where there is no database, or the key does not open it.
    """
    if not path.is_file():
        raise DatabaseUnusableError(f"no database at {path}", hint="check the path")
    tell = on_progress or (lambda _done, _total: None)
    if not snapshot.has_log(path):
        return _Proof(path, path, key, tell).run()
    with _private_copy(path) as copy:
        snapshot.copy_database(path, key, copy, on_progress=lambda _done, _total: None)
        lost = snapshot.settle(copy, key, is_taken_over=True)
        return _Proof(path, copy, key, tell, lost_commits=lost).run()


class _Proof:
    """One proof: of ``file``, which is that of ``path`` or a copy that includes its log."""

    def __init__(
        self, path: Path, file: Path, key: str, on_progress: OnProgress, *, lost_commits: int = 0
    ) -> None:
        self._path, self._file, self._key = path, file, key
        self._on_progress = on_progress
        self._bytes = file.stat().st_size
        self._pass = 0
        self._damage = [_DAMAGED_LOG.format(lost_commits)] if lost_commits else []
        self._findings: list[str] = []

    def run(self) -> Verified:
        """All checks, the whole file first."""
        digest = self._digest()
        opened = database.connect(self._file, self._key, _PRAGMAS, is_immutable=True)
        models.database.initialize(opened)
        try:
            self._check_pages(opened)
            found = self._read(opened)
        finally:
            models.database.initialize(None)
            opened.close()
        self._on_progress(_PASSES * self._bytes, _PASSES * self._bytes)
        return Verified(
            path=self._path, bytes=self._bytes, sha256=digest, damage=tuple(self._damage),
            findings=tuple(self._findings), **found,
        )  # fmt: skip

    def _digest(self) -> str:
        digest, done = hashlib.sha256(), 0
        try:
            with self._file.open("rb", buffering=0) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    done += len(chunk)
                    self._tell(done)
        except PermissionError as exc:
            raise DatabaseUnusableError(f"cannot read {self._path}: {cause_of(exc)}") from exc
        except OSError as exc:
            raise StorageError(
                f"cannot read {self._path}: {cause_of(exc)}", hint="check the disk"
            ) from exc
        self._pass += 1
        return digest.hexdigest()

    def _check_pages(self, opened: Any) -> None:
        with self._reading():
            self._add(_lines(opened, "PRAGMA cipher_integrity_check"))
        with self._reading():
            found = _lines(opened, f"PRAGMA integrity_check({_DAMAGE_MAX})")
            self._add(line for line in found if line != "ok")

    def _read(self, opened: Any) -> Json:
        found: Json = {}
        try:
            found = _contents(opened)
            is_open = found.pop("is_open")
            if is_open and self._file == self._path:
                self._damage.append(_WITHOUT_LOG)
            if "accounts" not in found["counts"]:
                what = "is no ledger: it has no accounts" if found["counts"] else "is empty"
                self._damage.append(f"it {what}")
            if not self._damage and found["schema"] == newest_schema():
                found["audit"] = result = audit(Params({}))
                if not result["ok"]:
                    self._findings.append(f"audit NOT OK: {audit_words(result)}")
        except peewee.DatabaseError as exc:
            _raise_of_disk(exc)
            if not self._damage:
                self._damage.append(str(exc))
        return found

    def _add(self, lines: Any) -> None:
        self._damage += list(lines)[: max(0, _DAMAGE_MAX - len(self._damage))]

    def _tell(self, done: int) -> None:
        total = _PASSES * self._bytes
        self._on_progress(self._pass * self._bytes + min(done, self._bytes), total)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell how much SQLite reads meanwhile: the kernel counts it."""
        began, is_over = _bytes_read(), threading.Event()

        def look() -> None:
            while not is_over.wait(_LOOK_S):
                self._tell(_bytes_read() - began)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self._pass += 1


def newest_schema() -> str:
    """The name of the last migration of this release."""
    return database.newest_migration()


def audit_words(found: Json) -> str:
    """What an audit that is not OK has found, in a few words."""
    counts = {
        "accounts whose balance drifts": found["drift_total"],
        "incomplete producers": found["producers"]["incomplete_total"],
        "unsettled messages in quarantine": sum(found["unsettled"].values()),
        "segments of the index that differ": len(found["wrong_segments"]),
        "days of keys that differ": len(found["wrong_spending"]),
        "batches that were durable once": found["expected"]["batches_total"],
        "changes that are missing": found["expected"]["changes_total"],
        "restore without a journal": found["expected"]["changes_unknown_after"] is not None,
    }
    told = [f"{count:,} {name}" for name, count in counts.items() if count]
    return ", ".join(told) or "see accountctl audit"


def _contents(opened: Any) -> Json:
    """What is in the database, whatever its schema is."""
    tables = [name for (name,) in opened.execute_sql(_TABLES)]
    found: Json = {
        "schema": _first(opened, "SELECT max(name) FROM schema_migration")
        if "schema_migration" in tables
        else "",
        "counts": {
            name: _first(opened, f'SELECT count(*) FROM "{name}"')  # noqa: S608 - a table's name
            for name in tables
        },
        "epoch": _first(opened, "SELECT epoch FROM daemon") if "daemon" in tables else 0,
        "database_id": None,
        "is_open": False,
    }
    if "custody" in tables:
        custody = opened.execute_sql("SELECT database_id, is_open FROM custody").fetchone()
        found["database_id"], found["is_open"] = custody or (None, False)
        found["last_change"] = _first(opened, "SELECT max(number) FROM admin_changes")
    if "usage" in tables:
        found["last_usage_row"] = _first(opened, "SELECT max(id) FROM usage")
    if "producers" in tables:
        marks = [(bytes(p).hex(), n) for p, n in opened.execute_sql(_WATERMARKS)]
        text = "".join(f"{producer} {through}\n" for producer, through in marks)
        found["producers"] = len(marks)
        found["watermarks"] = dict(marks) if len(marks) <= WATERMARKS_MAX else None
        found["watermark_digest"] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _first(opened: Any, statement: str) -> Any:
    row = opened.execute_sql(statement).fetchone()
    return (row and row[0]) or 0


def _lines(opened: Any, statement: str) -> list[str]:
    try:
        return [str(line) for (line,) in opened.execute_sql(statement)]
    except peewee.DatabaseError as exc:
        _raise_of_disk(exc)
        return [str(exc)]


def _raise_of_disk(exc: Exception) -> None:
    """What the disk did not give to be read is no damage that was found."""
    if database.error_name(exc).startswith("SQLITE_IOERR"):
        raise exc


def _bytes_read() -> int:
    with open("/proc/self/io", encoding="ascii") as file:
        return int(file.readline().split()[1])


@contextlib.contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    """Where a copy is made: beside the file, where there is room for it; else with temporary files.

    Verify may run more than once at a time, so that the name has the number of the process.
    """
    folder = path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())
    copy = folder / f"{path.name}.{os.getpid()}"
    with (
        copy_errors(path, copy, outcome="nothing was proven"),
        partial_file(copy, PARTIAL) as partial,
    ):
        yield partial
