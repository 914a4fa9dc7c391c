"""Bounds the write-ahead log, and truncates it. Runs on the daemon's one writing thread.

While somebody reads a snapshot, SQLite cannot move later commits from the log into the database.
Reports read short ones (``snapshots``). Above ``HOLD_BYTES`` no new one begins until the log is
empty, and above ``INTERRUPT_BYTES`` those that are read are interrupted: the largest group of usage
adds 12 MiB, so that the log stays below 64 MiB. Another process that reads is not interrupted.

Once nobody reads, the next commits truncate the log to 16 MiB (``journal_size_limit``). Without
commits this module empties it.
"""

from pathlib import Path
from typing import Any, Final

import structlog

from accountd.data.database import WAL_BYTES_MAX, passing_trouble
from accountd.data.snapshots import WAIT_S, Readers, readers
from shared.metrics import Metric

log = structlog.get_logger()

# Time without usage before the log is emptied: that copies it into the database, and callers wait.
IDLE_S: Final = 2.0
# Pause after a reader prevented it. Each attempt costs an fsync of the database.
AGAIN_S: Final = 10.0
# The length above which new snapshots wait, and the one above which snapshots are interrupted.
HOLD_BYTES: Final = 24 * 1024 * 1024
INTERRUPT_BYTES: Final = 48 * 1024 * 1024
# So long they wait at most, and so long the writer waits before it tries again to empty the log.
HELD_S: Final = 2.0
RETRY_S: Final = 0.1
assert HELD_S < WAIT_S
assert WAL_BYTES_MAX < HOLD_BYTES < INTERRUPT_BYTES


class Wal:
    """The log of the database at ``path``; ``connection`` is the daemon's writing connection."""

    def __init__(
        self,
        connection: Any,
        path: Path,
        *,
        readers: Readers = readers,
        hold_bytes: int = HOLD_BYTES,
        interrupt_bytes: int = INTERRUPT_BYTES,
    ) -> None:
        self._connection = connection
        self._path = Path(f"{path}-wal")
        self._readers = readers
        self._hold_bytes, self._interrupt_bytes = hold_bytes, interrupt_bytes
        self._wait_until = self._held_until = self._hold_after = self._empty_after = 0.0
        self.peak_bytes = 0

    @property
    def bytes(self) -> int:
        """The length of the file; 0 when there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        return [
            Metric(
                "rts_accountd_wal_bytes", "gauge",
                "Length of the database's write-ahead log.", lambda: self.bytes,
            ),
            Metric(
                "rts_accountd_wal_bytes_peak", "gauge",
                "The greatest length that the log had after a group of usage.",
                lambda: self.peak_bytes,
            ),
            Metric(
                "rts_accountd_snapshots_interrupted_total", "counter",
                "Snapshots of reports that were begun again: the log grew too long meanwhile.",
                lambda: self._readers.interrupted,
            ),
        ]  # fmt: skip

    def used(self, *, now: float) -> None:
        """Usage was committed at ``now``, by any clock in s."""
        self._wait_until = now + IDLE_S

    def tick(self, *, now: float) -> None:
        """Keep the log within its bounds.

        Empty it as well when it is above ``WAL_BYTES_MAX`` and no usage came for ``IDLE_S``.
        """
        self._bound(now)
        if now < self._wait_until:
            return
        self._wait_until = now + IDLE_S
        before = self.bytes
        if before > WAL_BYTES_MAX:
            if self._truncate():
                log.info("write-ahead log cut", bytes=before, left=self.bytes)
            else:
                self._wait_until = now + AGAIN_S

    def _bound(self, now: float) -> None:
        """Let readers wait while the log is too long, and empty it once none reads."""
        length = self.bytes
        self.peak_bytes = max(self.peak_bytes, length)
        if length > self._interrupt_bytes:
            self._readers.interrupt()
        if length <= self._hold_bytes:
            self._readers.release()
        elif now >= self._hold_after:
            self._hold(now)

    def _hold(self, now: float) -> None:
        if not self._readers.have_to_wait:
            self._readers.hold()
            self._held_until = now + HELD_S
        if not self._readers.count and now >= self._empty_after:
            if self._truncate():
                self._readers.release()
                return
            self._empty_after = now + RETRY_S
        if now >= self._held_until:  # another process reads
            self._readers.release()
            self._hold_after = now + AGAIN_S

    def _truncate(self) -> bool:
        """Try to empty the log; false when a reader still needs it.

        Sets the busy timeout to 0 for it: otherwise SQLite would wait for the reader, and with it
        the daemon's loop, for as long as a commit may wait for a lock.
        """
        (patience_ms,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            (is_busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except Exception as exc:
            if passing_trouble(exc) is None:
                raise
            return False
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {patience_ms:d}")
        return not is_busy
