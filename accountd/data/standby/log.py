"""The write-ahead log of a copy: the same bytes as the primary's, up to the last commit received.

Applying it (``fold``) is what SQLite's checkpoint does, with encrypted pages as they are: no key is
needed. Until the database file is on the disk the log stays, so whoever opens the copy after a
crash, this program or SQLite, finds the same commits.
"""

import os
from pathlib import Path

from accountd.data.standby import frames as wal_frames
from accountd.data.standby.frames import Frame
from accountd.data.wal_header import HEADER_BYTES, Checksum, Salts, WalHeader, parse_header


class ForeignFramesError(Exception):
    """Frames that do not continue what is there."""


class StandbyLog:
    """The log at ``path``, made when it is missing. A half commit at its end is cut off."""

    def __init__(self, path: Path) -> None:
        """Read what is there, and prove it."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._is_unsynced = False
        self._header: WalHeader | None = None
        self._pages: dict[int, int] = {}  # where in the log is the newest state of a page?
        self._uncommitted: list[Frame] = []
        self._database_pages = 0
        self._end = HEADER_BYTES  # of whole frames
        self._chain: Checksum = (0, 0)
        self._committed: tuple[int, Checksum] = (HEADER_BYTES, (0, 0))
        self._recover()

    @property
    def salts(self) -> Salts | None:
        """The salts of the log; None when it is empty."""
        return self._header.salts if self._header else None

    @property
    def committed(self) -> tuple[int, Checksum]:
        """The offset behind the last commit, and the checksum there."""
        return self._committed

    @property
    def frames(self) -> int:
        """How many frames SQLite will find here."""
        return (
            (self._committed[0] - HEADER_BYTES) // self._header.frame_bytes if self._header else 0
        )

    def start(self, raw: bytes) -> None:
        """Begin an empty log with this header."""
        header = parse_header(raw)
        if header is None:
            raise ForeignFramesError("this is no header of a log")
        assert self._end == HEADER_BYTES
        os.pwrite(self._file, raw, 0)
        self._begin(header)

    def append(self, offset: int, data: bytes) -> None:
        """Add whole frames, each of which is proven; ``sync`` has to follow."""
        header = self._header
        if header is None or offset != self._end:
            raise ForeignFramesError("the frames continue another log")
        found = list(wal_frames.frames(header, self._chain, offset, data))
        if len(found) * header.frame_bytes != len(data):
            raise ForeignFramesError("a frame's checksum is wrong")
        self._is_unsynced = True
        _write(self._file, data, offset)
        self._take(found)

    def sync(self) -> None:
        """Have all of it on the disk."""
        if self._is_unsynced:
            os.fdatasync(self._file)
            self._is_unsynced = False

    def fold(self, database: int) -> None:
        """Apply all commits to a database file (a descriptor), which is on the disk afterwards."""
        header = self._header
        if header is None or not self._pages:
            return
        for page, offset in sorted(self._pages.items()):
            data = os.pread(self._file, header.page_bytes, offset)
            _write(database, data, (page - 1) * header.page_bytes)
        os.ftruncate(database, self._database_pages * header.page_bytes)
        os.fsync(database)

    def clear(self) -> None:
        """Empty the log, whose commits are in the database file. The file itself stays.

        A database that was open when it was left behind and has no log beside it is taken for a
        copy without its newest commits.
        """
        os.ftruncate(self._file, 0)
        os.fsync(self._file)
        self._begin(None)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _begin(self, header: WalHeader | None) -> None:
        self._header = header
        self._pages, self._uncommitted, self._database_pages = {}, [], 0
        self._end = HEADER_BYTES
        self._chain = header.checksum if header else (0, 0)
        self._committed = (self._end, self._chain)

    def _take(self, found: list[Frame]) -> None:
        assert self._header is not None
        for frame in found:
            self._uncommitted.append(frame)
            self._end += self._header.frame_bytes
            self._chain = frame.checksum
            if frame.database_pages:
                self._pages.update((f.page, f.page_offset) for f in self._uncommitted)
                self._uncommitted.clear()
                self._database_pages = frame.database_pages
                self._committed = (self._end, self._chain)

    def _recover(self) -> None:
        length = os.fstat(self._file).st_size
        data = os.pread(self._file, HEADER_BYTES, 0)
        header = parse_header(data)
        self._begin(header)
        if header is not None:
            rest = _read(self._file, HEADER_BYTES, length - HEADER_BYTES)
            self._take(list(wal_frames.frames(header, header.checksum, HEADER_BYTES, rest)))
            self._uncommitted.clear()
            self._end, self._chain = self._committed
        os.ftruncate(self._file, self._end if header else 0)


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count


def _read(file: int, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(file, min(length, 1 << 24), offset)
        if not part:
            break
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)
