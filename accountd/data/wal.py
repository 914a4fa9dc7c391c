"""Keeps the write-ahead log small. Runs on the daemon's one writing thread.

While a report reads, nothing that was written since can leave the log, so a statement that reads
for minutes lets it grow by all that is charged meanwhile. ``journal_size_limit`` cuts the file when
commits go on after that; here it is cut when none come.
"""

from pathlib import Path
from typing import Any, Final

import structlog

from accountd.data.database import WAL_BYTES_MAX, passing_trouble
from shared.metrics import Metric

log = structlog.get_logger()

IDLE_S: Final = 2.0  # without usage: a cut copies what is left in the log, and callers wait for it
# After a reader kept it from being cut. An attempt costs an fsync of the database.
AGAIN_S: Final = 10.0


class Wal:
    """The log of the database at ``path``; ``connection`` is the daemon's writing connection."""

    def __init__(self, connection: Any, path: Path) -> None:
        self._connection = connection
        self._path = Path(f"{path}-wal")
        self._wait_until = 0.0

    @property
    def bytes(self) -> int:
        """How long the file is now."""
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
        """Cut the log when it has grown and nothing has been committed for a while."""
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
        """Whether it was cut: not while somebody reads what it alone holds. Never waits for them.

        SQLite's busy handler would hold the loop up for as long as a commit may wait for a lock.
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
