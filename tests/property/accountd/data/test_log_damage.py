"""A damaged write-ahead log is told from one whose end was torn; SQLite reads real ones."""

import random
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from accountd.data import database
from accountd.data.log_damage import keep_damaged_log, lost_commits

KEY = "cd" * 32
HEADER, FRAME = 32, 24 + 4096
COMMITS = 6


class Files:
    """A database whose daemon was killed: the file, and a log of some commits."""

    def __init__(self, folder: Path) -> None:
        self._source, self.path = folder / "source.db", folder / "killed.db"
        self.wal = Path(f"{self.path}-wal")
        with database.open_for_migrating(self._source, KEY) as opened:
            connection = opened.database.connection()
            connection.execute("CREATE TABLE filler (number INTEGER, data BLOB)")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.write(connection)
            self.kill()

    def write(self, connection: Any) -> None:
        """So many commits, of one to nine pages each."""
        for number in range(1, COMMITS + 1):
            connection.execute("BEGIN")
            values = (number, number * 5000)
            connection.execute("INSERT INTO filler VALUES (?, zeroblob(?))", values)
            connection.execute("COMMIT")

    def kill(self) -> None:
        """What is on the disk at this moment."""
        shutil.copy(self._source, self.path)
        shutil.copy(f"{self._source}-wal", self.wal)

    def commit_frames(self) -> list[int]:
        """The numbers of the frames that commit, from 1."""
        data = self.wal.read_bytes()
        places = range(HEADER, len(data), FRAME)
        return [n for n, at in enumerate(places, 1) if struct.unpack_from(">I", data, at + 4)[0]]

    def opened(self) -> tuple[int, int, list[Path]]:
        """How many commits SQLite finds, how many are called lost, and what was kept."""
        opened = database.connect(self.path, KEY)
        try:
            lost = keep_damaged_log(self.path, opened.connection())
            ((found,),) = opened.execute_sql("SELECT coalesce(max(number), 0) FROM filler")
        finally:
            opened.close()
        return found, lost, list(self.path.parent.glob("killed.db-wal.damaged-*"))


@pytest.mark.parametrize("seed", range(12))
def test_every_commit_is_found_or_called_lost(seed: int, tmp_path: Path) -> None:
    """Wherever a bit flips, save in the last transaction, which may have been torn."""
    rng, files = random.Random(seed), Files(tmp_path)
    data = bytearray(files.wal.read_bytes())
    last = HEADER + files.commit_frames()[-2] * FRAME
    bit = rng.randrange(HEADER * 8) if seed < 3 else rng.randrange(HEADER * 8, last * 8)
    data[bit // 8] ^= 1 << bit % 8
    files.wal.write_bytes(data)
    with capture_logs() as logged:
        found, lost, kept = files.opened()
    assert found < COMMITS
    assert found + lost == COMMITS
    assert [path.read_bytes() for path in kept] == [bytes(data)]
    assert [(line["event"], line["lost_commits"]) for line in logged] == [
        ("write-ahead log damaged", lost)
    ]


def torn(files: Files) -> None:
    """The power went while the last transaction was written."""
    data = bytearray(files.wal.read_bytes())
    data[-3 * FRAME] ^= 1
    files.wal.write_bytes(data)


def cut(files: Files) -> None:
    """Within a frame."""
    files.wal.write_bytes(files.wal.read_bytes()[: -FRAME - 7])


def whole(_files: Files) -> None:
    """Nothing happened to it."""


def empty(files: Files) -> None:
    """It was emptied before."""
    files.wal.write_bytes(b"")


@pytest.mark.parametrize(("happened", "found"), [
    (torn, COMMITS - 1), (cut, COMMITS - 1), (whole, COMMITS), (empty, 0),
])  # fmt: skip
def test_no_alarm(happened: Callable[[Files], None], found: int, tmp_path: Path) -> None:
    """Of what a kill or a lost power leaves."""
    files = Files(tmp_path)
    happened(files)
    assert files.opened() == (found, 0, [])


def test_a_log_that_began_again_is_no_alarm(tmp_path: Path) -> None:
    """Behind its end lie commits of before."""
    path = tmp_path / "plain.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE filler (number INTEGER, data BLOB)")
    for number in range(9):
        connection.execute("INSERT INTO filler VALUES (?, zeroblob(9000))", (number,))
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    connection.execute("INSERT INTO filler VALUES (10, '')")
    wal = Path(f"{path}-wal")
    assert wal.stat().st_size > 20 * FRAME
    _, read, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert 0 < read < 5
    assert lost_commits(connection) == 0
    connection.close()
