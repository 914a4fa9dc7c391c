"""Commits that SQLite does not see any more, because the write-ahead log is damaged before them.

SQLite reads a log up to the first frame whose checksum is wrong, without an error: a flipped bit in
the middle looks to it like the end of a log whose last transaction was torn. accountd waits for
the disk at every commit, so only the last transaction of a log can be torn. Where a second one lies
beyond what SQLite has read, bytes that were on the disk have changed since.
"""

import os
import shutil
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from accountd.data.wal_header import FRAME_HEADER_BYTES, HEADER_BYTES, parse_header

log = structlog.get_logger()

# Of SQLCipher 4, where the log's own header cannot be believed.
_PAGE_BYTES: Final = 4096


def keep_damaged_log(path: Path, connection: Any) -> int:
    """Keep a copy of the log of the database at ``path``, and log it, where commits are lost in it.

    Returns their number. For what is called when, see ``lost_commits``.
    """
    lost = lost_commits(connection)
    if lost:
        kept = Path(f"{path}-wal.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        with suppress(OSError):  # a full disk does not keep the daemon from serving
            shutil.copyfile(f"{path}-wal", kept, follow_symlinks=False)
            kept.chmod(0o600)
        log.error(
            "write-ahead log damaged", database=str(path), lost_commits=lost, kept=str(kept),
            hint="check the disk; gateways send usage again that they hold, admin changes come back"
            " from the journal, and accountctl audit says what is missing",
        )  # fmt: skip
    return lost


def lost_commits(connection: Any) -> int:
    """How many commits lie in the log of the main database beyond what SQLite has read of it.

    Ask before anything is written through ``connection``. Others may write meanwhile. Raises
    ``OSError`` and SQLite's errors.
    """
    wal = Path(f"{connection.execute('PRAGMA database_list').fetchone()[2]}-wal")
    before, read = -1, _read(connection)
    while before != read:
        if not (lost := _lost_beyond(wal, read)):
            return 0
        before, read = read, _read(connection)
    return lost


def _read(connection: Any) -> int:
    """How many frames SQLite knows of now."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    _, frames, _ = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return max(int(frames), 0)  # -1: there is no log


def _lost_beyond(wal: Path, read: int) -> int:
    try:
        descriptor = os.open(wal, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return _lost_commits(descriptor, read)
    finally:
        os.close(descriptor)


def _lost_commits(descriptor: int, read: int) -> int:
    header = parse_header(os.pread(descriptor, HEADER_BYTES, 0))
    frame_bytes = FRAME_HEADER_BYTES + (header.page_bytes if header else _PAGE_BYTES)
    end = os.fstat(descriptor).st_size - frame_bytes
    salts, found = header.salts if header else None, 0
    for offset in range(HEADER_BYTES + read * frame_bytes, end + 1, frame_bytes):
        fields = struct.unpack(">6I", os.pread(descriptor, FRAME_HEADER_BYTES, offset))
        salts = salts or fields[2:4]  # without a header, those of the first frame
        found += fields[1] > 0 and fields[2:4] == salts
    return found if found > 1 or header is None else 0
