"""The write-ahead log of a real encrypted database, while somebody reads and afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.database import WAL_BYTES_MAX
from accountd.data.wal import AGAIN_S, IDLE_S, Wal
from tests.support.database import KEY, empty_database

WRITTEN_BYTES = WAL_BYTES_MAX + 2**20
LATER = 1_000.0


@pytest.fixture
def connection() -> Iterator[Any]:
    """The daemon's writing connection, to a file with a table to fill."""
    with empty_database() as opened:
        writer = opened.connection()
        writer.execute("CREATE TABLE filler (data BLOB)")
        yield writer


@pytest.fixture
def path(connection: Any) -> Path:
    """The file."""
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


@pytest.fixture
def reader(path: Path) -> Iterator[Any]:
    """Another connection, in a transaction that has read."""
    reading = sqlcipher.connect(str(path), isolation_level=None)
    reading.execute(f"PRAGMA key = \"x'{KEY}'\"")
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM filler").fetchone()
    yield reading
    reading.close()


def write(connection: Any, size: int) -> None:
    """Commit so many bytes, in pieces of a mebibyte."""
    for _ in range(size // 2**20):
        connection.execute("INSERT INTO filler VALUES (zeroblob(1048576))")


def test_the_log_shrinks_at_idle_after_a_long_reader(
    connection: Any, path: Path, reader: Any
) -> None:
    """It grows while somebody reads; once nobody does it is empty, with no commit in between."""
    wal = Wal(connection, path)
    write(connection, WRITTEN_BYTES)
    wal.tick(now=LATER)
    assert wal.bytes > WAL_BYTES_MAX
    reader.execute("COMMIT")
    wal.tick(now=LATER + AGAIN_S - 1)
    assert wal.bytes > WAL_BYTES_MAX, "it is tried again, but not at every turn"
    wal.tick(now=LATER + AGAIN_S)
    assert wal.bytes == 0
    assert connection.execute("SELECT count(*) FROM filler").fetchone() == (17,)


def test_commits_shrink_the_log_after_a_long_reader(
    connection: Any, path: Path, reader: Any
) -> None:
    """A daemon that is never idle has SQLite's own limit."""
    wal = Wal(connection, path)
    write(connection, 2 * WRITTEN_BYTES)
    assert wal.bytes > 2 * WAL_BYTES_MAX
    reader.execute("COMMIT")
    write(connection, 2 * 2**20)
    assert wal.bytes <= WAL_BYTES_MAX


def test_a_busy_daemon_does_not_cut_the_log(connection: Any, path: Path, reader: Any) -> None:
    """The copying would hold up what arrives; a log of the usual size is left alone, too."""
    wal = Wal(connection, path)
    wal.tick(now=LATER)
    write(connection, WRITTEN_BYTES)
    reader.execute("COMMIT")
    wal.used(now=LATER + 100)
    wal.tick(now=LATER + 100 + IDLE_S / 2)
    assert wal.bytes > WAL_BYTES_MAX
    wal.tick(now=LATER + 100 + IDLE_S)
    assert wal.bytes == 0


def test_a_cut_waits_for_nobody_and_leaves_the_patience(
    connection: Any, path: Path, reader: Any
) -> None:
    """The loop goes on while somebody reads; commits wait for locks as before."""
    patience = connection.execute("PRAGMA busy_timeout").fetchone()
    write(connection, WRITTEN_BYTES)
    calls: list[str] = []
    connection.set_trace_callback(calls.append)
    Wal(connection, path).tick(now=LATER)
    connection.set_trace_callback(None)
    assert calls.index("PRAGMA busy_timeout = 0") < calls.index("PRAGMA wal_checkpoint(TRUNCATE)")
    assert connection.execute("PRAGMA busy_timeout").fetchone() == patience
