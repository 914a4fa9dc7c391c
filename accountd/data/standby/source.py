"""Reads a live database's write-ahead log to its end, so that no commit is missed.

A *held* read transaction keeps SQLite from starting the log over before everything in it was read.
It moves on hand over hand: the next one is begun before the last one ends. Before the log has grown
to the length at which the daemon's own commits would checkpoint it, it is *rotated* from here: what
it holds is copied into the database file, and the next commit starts it over.

Must run in a process of its own, which ends without closing anything (``os._exit``): closing a
descriptor of the database drops the locks of the whole process, and closing the last connection
would remove the log of a daemon that was killed.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accountd.data import database
from accountd.data.wal_header import HEADER_BYTES, Checksum, Salts, WalHeader, parse_header

# The daemon's commits checkpoint from 1,000 pages on (SQLite's default): 4.1 MB.
ROTATION_BYTES: Final = 3 * 1024 * 1024
# The most that is left to copy into the database file when commits are made to wait for it.
_TAIL_BYTES_MAX: Final = 256 * 1024
PIECE_BYTES_MAX: Final = 1024 * 1024
# How long a rotation waits for a commit to end before it is put off, in ms.
_LOCK_MS: Final = 100
_PRAGMAS: Final[dict[str, Any]] = {"synchronous": "full", "busy_timeout": 1_000}
# Where SQLite locks the file of a database for reading (os.h: SHARED_FIRST, SHARED_SIZE).
_SHARED_FIRST, _SHARED_BYTES = 0x40000002, 510
# Connections that must never be closed, whatever becomes of who uses them.
_OPEN_FOR_GOOD: Final[list[Any]] = []
_FIRST_BYTES: Final = 16  # SQLCipher's salt: the same for as long as the file has one key


class ReplacedError(Exception):
    """Another file has taken the database's place: it was restored, or has another key."""


class MissedError(Exception):
    """The log was started over before all of it was read: it has to be copied anew."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the log that were committed, whole frames; ``left`` more bytes follow by now."""

    header: WalHeader
    offset: int
    data: bytes
    left: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + len(self.data)

    @property
    def is_end(self) -> bool:
        """Whether nothing follows by now."""
        return not self.left


class WalSource:
    """The log of the database at ``path``, from the first byte of what is there at the start."""

    def __init__(self, path: Path, key: str) -> None:
        """Open the database. It is not created, migrated or locked."""
        self._path, self._wal_path = path, Path(f"{path}-wal")
        self._held, self._next, self._checker, self._writer = (
            database.connect(path, key, _PRAGMAS).connection() for _ in range(4)
        )
        _OPEN_FOR_GOOD.extend((self._held, self._next, self._checker, self._writer))
        self._writer.execute(f"PRAGMA busy_timeout = {_LOCK_MS}")
        self._begin(self._held)  # makes the log file, where there is none
        self._database = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # SQLite's own shared lock, again: it is gone since the next connection looked at the file.
        # Without it a daemon that stops would take itself for the last user and remove the log.
        fcntl.lockf(self._database, fcntl.LOCK_SH, _SHARED_BYTES, _SHARED_FIRST)
        self._wal = os.open(self._wal_path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.salt = os.pread(self._database, _FIRST_BYTES, 0)
        self._salts: Salts | None = None
        self._read_to = HEADER_BYTES
        self._is_at_end = True

    # --- the database file ------------------------------------------------------------------------

    @property
    def database_bytes(self) -> int:
        """The length of the database file."""
        return os.fstat(self._database).st_size

    def read_database(self, offset: int, length: int) -> bytes:
        """Bytes of the database file as they are now, perhaps in the middle of a checkpoint."""
        return os.pread(self._database, length, offset)

    # --- the log ----------------------------------------------------------------------------------

    def first_header(self) -> WalHeader | None:
        """The header of the log as it is held; None when the log is empty."""
        header, _ = self._committed()
        return header

    def has(self, salts: Salts, offset: int, checksum: Checksum) -> bool:
        """Whether the log has these bytes up to ``offset``, as the checksum there proves."""
        header, committed = self._committed()
        if header is None or header.salts != salts or not HEADER_BYTES <= offset <= committed:
            return False
        if offset == HEADER_BYTES:
            return header.checksum == checksum
        noted = os.pread(self._wal, 8, offset - header.frame_bytes + 16)
        return (int.from_bytes(noted[:4]), int.from_bytes(noted[4:])) == checksum

    def start_at(self, salts: Salts | None, offset: int) -> None:
        """Read from here; without ``salts`` from the first frame of whatever log there is."""
        self._salts, self._read_to = salts, offset
        self._is_at_end = salts is None

    def read(self) -> Piece | None:
        """The next bytes, and hold what follows; None when the log is empty.

        Raises ``ReplacedError`` and ``MissedError``.
        """
        self._check_place()
        self._begin(self._next)
        header, committed = self._committed()
        if header is None:
            self._move_on()
            return None
        if header.salts != self._salts:
            # A hold at its end, with all of it in the database file, lets it be started over.
            if not self._is_at_end:
                raise MissedError
            self._salts, self._read_to = header.salts, HEADER_BYTES
        left = max(committed - self._read_to, 0)
        length = min(left, PIECE_BYTES_MAX // header.frame_bytes * header.frame_bytes)
        data = os.pread(self._wal, length, self._read_to) if length else b""
        piece = Piece(header, self._read_to, data, left - length)
        self._read_to = piece.end
        self._is_at_end = piece.is_end
        if piece.is_end:
            self._move_on()
        else:  # what is not yet read must stay
            self._next.execute("ROLLBACK")
        return piece

    def rotate(self) -> Piece | None:
        """Let the next commit start the log over; the answer is what was committed until then.

        Commits wait for some milliseconds. Does nothing while an older reader needs the log.
        """
        header = self.first_header()
        _, done = self._checkpoint("PASSIVE")
        if header is None or self._read_to - header.length(done) > _TAIL_BYTES_MAX:
            return None
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except Exception as exc:
            if database.passing_trouble(exc) is None:
                raise
            return None
        try:
            piece = self.read()
            if piece is not None and piece.is_end:
                logged, done = self._checkpoint("PASSIVE")
                if logged == done:  # a reader that begins now needs nothing of the log
                    self._begin(self._next)
                    self._move_on()
            return piece
        finally:
            self._writer.execute("ROLLBACK")

    # --- helpers ----------------------------------------------------------------------------------

    def _committed(self) -> tuple[WalHeader | None, int]:
        """The header of the log, and the length up to its last commit."""
        while True:
            before = os.pread(self._wal, HEADER_BYTES, 0)
            logged, _ = self._checkpoint("NOOP")
            after = os.pread(self._wal, HEADER_BYTES, 0)
            header = parse_header(after)
            if not after or (header is not None and before == after):
                return header, header.length(logged) if header else 0

    def _checkpoint(self, mode: str) -> tuple[int, int]:
        """Frames in the log, and how many of them are in the database file."""
        _, logged, done = self._checker.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return max(logged, 0), max(done, 0)

    def _begin(self, connection: Any) -> None:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _move_on(self) -> None:
        """Let the older hold go, now that the newer one is there."""
        self._held.execute("ROLLBACK")
        self._held, self._next = self._next, self._held

    def _check_place(self) -> None:
        try:
            is_same = (
                os.stat(self._path).st_ino == os.fstat(self._database).st_ino
                and os.stat(self._wal_path).st_ino == os.fstat(self._wal).st_ino
            )
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise ReplacedError
