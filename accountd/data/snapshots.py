"""Short snapshots for reports. What one reads, the writer cannot move out of the write-ahead log.

A report that takes minutes reads many snapshots in turn (``in_snapshot``). Between two of them it
waits where the log has grown, and the writer empties the log. A snapshot that reads on while the
log grows further is interrupted: it begins again, and after a few times the report fails.
``accountd.data.wal`` decides when; this module knows who reads.
"""

import fcntl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from accountd.data import models
from accountd.data.database import error_name

Read = TypeVar("Read")

INTERRUPTED: Final = "SQLITE_INTERRUPT"
# How often a snapshot is begun.
BEGUN_MAX: Final = 3
# The writer empties the log within a turn of its loop, about a second. Without a writer no one
# does, so that the wait ends.
WAIT_S: Final = 5.0


class Readers:
    """The connections that read long, and whether a new snapshot has to wait. Any thread calls."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading: dict[int, Any] = {}
        self._have_to_wait = False
        self.interrupted = 0

    # --- called by a reader -----------------------------------------------------------------------

    def begin(self, connection: Any) -> None:
        """A snapshot of this thread begins, once the writer lets it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._have_to_wait, WAIT_S)
            self._reading[threading.get_ident()] = connection

    def end(self) -> None:
        """The snapshot of this thread has ended."""
        with self._changed:
            self._reading.pop(threading.get_ident(), None)

    @property
    def is_reading(self) -> bool:
        """Whether this thread is in a snapshot."""
        return threading.get_ident() in self._reading

    # --- called by the writer ---------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many snapshots are being read."""
        return len(self._reading)

    @property
    def have_to_wait(self) -> bool:
        """Whether a new snapshot has to wait."""
        return self._have_to_wait

    def hold(self) -> None:
        """Let new snapshots wait."""
        with self._changed:
            self._have_to_wait = True

    def release(self) -> None:
        """Let them begin."""
        with self._changed:
            self._have_to_wait = False
            self._changed.notify_all()

    def interrupt(self) -> None:
        """End the query of each snapshot. One that is between two queries goes on."""
        with self._changed:
            for connection in self._reading.values():
                connection.interrupt()


# Of the one database that a process has open (``models.database``).
readers: Final = Readers()


def in_snapshot(read: Callable[[], Read]) -> Read:
    """What ``read`` returns, all of whose queries see one state of the database.

    It should take less than a second. It is called again when it was interrupted, so it must not
    keep what it found by then. Inside another one it is a part of that one.
    """
    if readers.is_reading:
        return read()
    begun = 0
    while True:
        begun += 1
        try:
            return _in_snapshot(read)
        except Exception as exc:
            if error_name(exc) != INTERRUPTED:
                raise
            readers.interrupted += 1
            if begun == BEGUN_MAX:
                raise


def in_snapshots(read_some: Callable[[], bool], finish: Callable[[], Read]) -> Read:
    """Read what is only appended, in a snapshot for each portion; return what ``finish`` does.

    ``read_some`` reads the next portion and keeps it; it returns true when there is no more. The
    last one is read in one snapshot with what ``finish`` asks. ``accountd prune`` takes no rows out
    of the ledger meanwhile, for a while (``reading_lock``).
    """

    def last() -> tuple[bool, Read | None]:
        return (True, finish()) if read_some() else (False, None)

    is_over, found = in_snapshot(last)
    with ExitStack() as stack:
        pruning_waits = False
        while not is_over:
            pruning_waits = pruning_waits or _let_pruning_wait(stack)
            if in_snapshot(read_some):
                is_over, found = in_snapshot(last)
    return found  # type: ignore[return-value]


def reading_lock(path: Path) -> Path:
    """The lock file that reports in portions share, beside a database whose rows are pruned.

    It is there while they are. It saves time only: a report whose rows have moved begins anew.
    """
    return path.with_name(f"{path.name}.reading.lock")


def _let_pruning_wait(stack: ExitStack) -> bool:
    path = reading_lock(Path(models.database.obj.database))
    try:
        lock = stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return False
    fcntl.flock(lock, fcntl.LOCK_SH)
    return True


def _in_snapshot(read: Callable[[], Read]) -> Read:
    connection = models.database.connection()
    readers.begin(connection)
    try:
        with models.database.atomic():
            return read()
    finally:
        readers.end()
        if connection.in_transaction:  # what ends the transaction was interrupted
            connection.execute("ROLLBACK")
