"""A copy of a real encrypted log, whatever commits, checkpoints and crashes come in between."""

import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accountd.data import database
from accountd.data.standby import frames
from accountd.data.standby.log import ForeignFramesError, StandbyLog
from accountd.data.standby.source import Piece, WalSource
from accountd.data.wal_header import HEADER_BYTES, parse_header
from tests.support.database import KEY

BLOCK = 4096


class Primary:
    """A writer as the daemon is one, in a folder."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.path, self._rng = folder / "a.db", rng
        self.path.touch()
        self.connection = database._connect(self.path, f"x'{KEY}'").connection()
        self.connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)")
        # Restarts of the log every few commits, by whoever is first: SQLite or the shipper.
        self.connection.execute("PRAGMA wal_autocheckpoint = 40")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.commit()

    def commit(self) -> None:
        """One transaction of some pages; some grow the file, some make it smaller."""
        with database.transaction(self.connection):
            for _ in range(self._rng.randrange(1, 6)):
                text = "x" * self._rng.randrange(1, 1_500)
                number = self._rng.randrange(150)
                self.connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (number, text))
            if self._rng.random() < 0.1:
                self.connection.execute("DELETE FROM t WHERE id % 3 = 0")
        if self._rng.random() < 0.01:
            self.connection.execute("VACUUM")

    def rows(self) -> list[Any]:
        """What it holds."""
        return rows(self.connection)


def rows(connection: Any) -> list[Any]:
    """What a database holds."""
    return list(connection.execute("SELECT id, text FROM t ORDER BY id"))


class Copy:
    """A file and a log that get what a source reads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s.db"
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self.log = StandbyLog(Path(f"{self.path}-wal"))

    def take(self, piece: Piece | None) -> None:
        """As the receiver does."""
        if piece is None:
            return
        if piece.header.salts != self.log.salts:
            self.log.fold(self.file)
            self.log.clear()
            self.log.start(piece.header.raw)
        self.log.append(piece.offset, piece.data)

    def crash(self, rng: random.Random) -> None:
        """Begin anew from the files, perhaps in the middle of applying the log."""
        if rng.random() < 0.5:
            self.log.fold(self.file)
        self.log.close()
        self.log = StandbyLog(Path(f"{self.path}-wal"))

    def rows(self, folder: Path) -> list[Any]:
        """What SQLite finds in the two files as they are."""
        looked_at = folder / "looked-at.db"
        shutil.copyfile(self.path, looked_at)
        shutil.copyfile(f"{self.path}-wal", f"{looked_at}-wal")
        opened = database.connect(looked_at, KEY)
        try:
            assert list(opened.execute_sql("PRAGMA integrity_check")) == [("ok",)]
            return rows(opened.connection())
        finally:
            opened.close()


def read_all(source: WalSource) -> Iterator[Piece | None]:
    """Pieces up to the end."""
    while True:
        piece = source.read()
        yield piece
        if piece is None or piece.is_end:
            return


def copy_base(source: WalSource, copy: Copy, primary: Primary, rng: random.Random) -> None:
    """The database file, block by block, while it is written to and checkpointed."""
    offset = 0
    while data := source.read_database(offset, BLOCK):
        os.pwrite(copy.file, data, offset)
        offset += BLOCK
        if rng.random() < 0.3:
            primary.commit()
        if rng.random() < 0.3:
            copy.take(source.read())
        if rng.random() < 0.1:
            copy.take(source.rotate())
    for piece in read_all(source):
        copy.take(piece)


def check_position(source: WalSource, copy: Copy) -> None:
    """Where the logs are the same, the source knows that, and believes no other checksum."""
    offset, checksum = copy.log.committed
    header = source.first_header()
    if header is not None and header.salts == copy.log.salts:
        assert source.has(header.salts, offset, checksum)
        assert not source.has(header.salts, offset, (checksum[0] ^ 1, checksum[1]))


@pytest.mark.parametrize("seed", range(2))
def test_a_copy_is_the_primary_after_every_piece(seed: int, tmp_path: Path) -> None:
    """Commits, checkpoints of both sides, crashes of the copy, and a base read in the middle."""
    rng = random.Random(seed)
    primary = Primary(tmp_path, rng)
    for _ in range(rng.randrange(20)):
        primary.commit()
    source, copy = WalSource(primary.path, KEY), Copy(tmp_path)
    source._checker.execute("PRAGMA synchronous = OFF")
    source.start_at(None, HEADER_BYTES)
    copy_base(source, copy, primary, rng)
    starts: set[Any] = set()
    for step in range(60):
        for _ in range(rng.randrange(4)):
            primary.commit()
        copy.take(source.rotate() if rng.random() < 0.2 else source.read())
        if rng.random() < 0.1:
            primary.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if rng.random() < 0.1:
            copy.crash(rng)
            check_position(source, copy)
        starts.add(copy.log.salts)
        if step % 20 == 19:
            for piece in read_all(source):
                copy.take(piece)
            assert copy.rows(tmp_path) == primary.rows()
    assert len(starts) > 3, "the log was hardly ever started over"


def test_the_checksums_are_those_of_the_file_format(tmp_path: Path) -> None:
    """Against the loop of the specification, word by word."""
    primary = Primary(tmp_path, random.Random(7))
    primary.commit()
    primary.commit()
    data = Path(f"{primary.path}-wal").read_bytes()
    header = parse_header(data)
    assert header is not None
    found = list(frames.frames(header, header.checksum, 32, data[32:]))
    assert len(found) == (len(data) - 32) // header.frame_bytes > 3
    first, second = header.checksum
    for number, frame in enumerate(found):
        at = 32 + number * header.frame_bytes
        words = struct.unpack("<2I", data[at : at + 8])
        words += struct.unpack("<1024I", data[at + 24 : at + 24 + 4096])
        for a, b in zip(words[::2], words[1::2], strict=True):
            first = (first + a + second) % 2**32
            second = (second + b + first) % 2**32
        assert frame.checksum == (first, second)


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_bit_ends_the_log_there(seed: int, tmp_path: Path) -> None:
    """Neither what arrives nor what lies on the standby's disk is believed."""
    rng = random.Random(seed)
    primary = Primary(tmp_path, rng)
    data = bytearray(Path(f"{primary.path}-wal").read_bytes())
    header = parse_header(bytes(data))
    assert header is not None
    bit = rng.randrange(HEADER_BYTES * 8, len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    before = (bit // 8 - HEADER_BYTES) // header.frame_bytes
    assert len(list(frames.frames(header, header.checksum, 32, bytes(data[32:])))) == before
    log = StandbyLog(tmp_path / "new-wal")
    log.start(header.raw)
    with pytest.raises(ForeignFramesError):
        log.append(HEADER_BYTES, bytes(data[32:]))
    (tmp_path / "damaged-wal").write_bytes(data)
    kept = StandbyLog(tmp_path / "damaged-wal")
    assert kept.frames <= before
    assert kept.committed[0] == (tmp_path / "damaged-wal").stat().st_size
