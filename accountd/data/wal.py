"""Truncates the write-ahead log. Runs on the daemon's one writing thread.

While a report reads, SQLite cannot move later commits from the log into the database, so a report
of minutes makes the log grow by all usage of that time. Afterwards the next commits truncate it to
16 MiB (``journal_size_limit``). Without commits this module empties it.
"""

from pathlib import Path
from typing import Any, Final

import structlog

from accountd.data.database import WAL_BYTES_MAX, passing_trouble
from shared.metrics import Metric

log = structlog.get_logger()

# Time without usage before the log is emptied: that copies it into the database, and callers wait.
IDLE_S: Final = 2.0
# Pause after a reader prevented it. Each attempt costs an fsync of the database.
AGAIN_S: Final = 10.0


class Wal:
    """The log of the database at ``path``; ``connection`` is the daemon's writing connection."""

    def __init__(self, connection: Any, path: Path) -> None:
        self._connection = connection
        self._path = Path(f"{path}-wal")
        self._wait_until = 0.0

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
            )
        ]  # fmt: skip

    def used(self, *, now: float) -> None:
        """Usage was committed at ``now``, by any clock in s."""
        self._wait_until = now + IDLE_S

    def tick(self, *, now: float) -> None:
        """Empty the log when it is above ``WAL_BYTES_MAX`` and no usage came for ``IDLE_S``."""
        if now < self._wait_until:
            return
        self._wait_until = now + IDLE_S
        before = self.bytes
        if before > WAL_BYTES_MAX:
            if self._truncate():
                log.info("write-ahead log cut", bytes=before, left=self.bytes)
            else:
                self._wait_until = now + AGAIN_S

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
