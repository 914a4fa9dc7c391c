"""Short snapshots of a real encrypted database, while its one writer bounds the log."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from accountd.data import models, snapshots
from accountd.data.database import error_name
from accountd.data.snapshots import INTERRUPTED, in_snapshot, in_snapshots, readers
from accountd.data.wal import RETRY_S, Wal
from tests.support.database import empty_database

HOLD, INTERRUPT = 256 * 1024, 512 * 1024
WAIT_S = 30.0
COUNTED = "SELECT count(*) FROM filler"
# A query of minutes.
ENDLESS = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
    " SELECT count(*) FROM n, (SELECT count(*) FROM filler)"
)


class Writer:
    """The daemon's writing connection and its log, with bounds of a few hundred kilobytes."""

    def __init__(self, connection: Any) -> None:
        path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        connection.execute("CREATE TABLE filler (data BLOB)")
        connection.execute("PRAGMA wal_autocheckpoint = 10")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute(f"PRAGMA journal_size_limit = {HOLD // 2}")
        self.connection = connection
        self.wal = Wal(connection, path, hold_bytes=HOLD, interrupt_bytes=INTERRUPT)
        self.now = 0.0

    def commit(self, *, now: float | None = None) -> None:
        """A group of usage, and the turn of the loop after it."""
        self.connection.execute("INSERT INTO filler VALUES (zeroblob(16384))")
        self.now = time.monotonic() if now is None else now
        self.wal.used(now=self.now)
        self.wal.tick(now=self.now)

    def let_readers_end(self) -> None:
        """Wait for an interrupted snapshot, which a busy machine may give no CPU."""
        while self.wal.bytes > INTERRUPT and readers.count:
            self.wal.tick(now=time.monotonic())

    def counted(self) -> int:
        """How many groups are committed."""
        (count,) = self.connection.execute(COUNTED).fetchone()
        return int(count)


@pytest.fixture
def writer() -> Iterator[Writer]:
    """On the thread of the test."""
    with empty_database() as opened:
        yield Writer(opened.connection())
        readers.release()


@pytest.fixture
def reader() -> Iterator[ThreadPoolExecutor]:
    """A thread that reports run on, with a connection of its own."""
    with ThreadPoolExecutor(1, initializer=models.database.connect) as thread:
        yield thread
        is_closed = thread.submit(models.database.close)
        while not is_closed.done():  # of a test that has failed, its query goes on
            readers.interrupt()
            time.sleep(RETRY_S)


def _count() -> int:
    ((count,),) = models.database.execute_sql(COUNTED).fetchall()
    return int(count)


def test_a_report_of_many_snapshots_leaves_a_short_log(
    writer: Writer, reader: ThreadPoolExecutor
) -> None:
    """Far more is written while it reads than its log ever has, and commits go on."""
    is_over, snapshots_read = threading.Event(), 0

    def read_some() -> bool:
        nonlocal snapshots_read
        snapshots_read += 1
        _count()
        return is_over.is_set()

    report = reader.submit(in_snapshots, read_some, _count)
    for _ in range(300):
        writer.commit()
        writer.let_readers_end()
    is_over.set()
    while not report.done():
        writer.wal.tick(now=time.monotonic())
    assert report.result(WAIT_S) == writer.counted() == 300
    assert snapshots_read > 1
    assert writer.wal.peak_bytes < 2 * INTERRUPT


def test_new_snapshots_wait_while_the_log_is_long(
    writer: Writer, reader: ThreadPoolExecutor
) -> None:
    """They begin once the one that reads has ended and the log is empty, with no commit between."""
    has_begun, may_end = threading.Event(), threading.Event()

    def read() -> int:
        found = _count()
        has_begun.set()
        assert may_end.wait(WAIT_S)
        return found

    report = reader.submit(in_snapshot, read)
    assert has_begun.wait(WAIT_S)
    while writer.wal.bytes <= HOLD:
        writer.commit()
    assert readers.have_to_wait
    may_end.set()
    assert report.result(WAIT_S) == 0
    assert writer.wal.bytes > HOLD
    writer.wal.tick(now=writer.now + RETRY_S)
    assert (writer.wal.bytes, readers.have_to_wait) == (0, False)


def test_a_snapshot_that_reads_on_is_interrupted(
    writer: Writer, reader: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does: it is begun again, and fails in the end, so that the log is bounded."""
    monkeypatch.setattr(snapshots, "WAIT_S", WAIT_S)
    before = readers.interrupted
    begun = 0

    def read() -> int:
        nonlocal begun
        begun += 1
        ((count,),) = models.database.execute_sql(ENDLESS).fetchall()
        return int(count)

    report = reader.submit(in_snapshot, read)
    while not report.done():
        writer.commit()
        assert writer.wal.bytes < 2 * INTERRUPT
        writer.let_readers_end()
    failed = report.exception()
    assert failed is not None
    assert error_name(failed) == INTERRUPTED
    assert begun == snapshots.BEGUN_MAX
    assert readers.interrupted - before == begun


def test_an_interrupted_snapshot_begins_again(writer: Writer, reader: ThreadPoolExecutor) -> None:
    """It reads the newer state from its beginning."""
    found = []

    def read() -> int:
        found.append(_count())
        if len(found) == 1:
            models.database.execute_sql(ENDLESS).fetchall()
        return found[-1]

    report = reader.submit(in_snapshot, read)
    while not report.done():
        writer.commit()
    assert report.result() == found[1] > found[0]


def test_an_interrupt_at_any_moment_leaves_no_transaction_open(
    writer: Writer, reader: ThreadPoolExecutor
) -> None:
    """Also one that meets the end of the snapshot: the next one begins."""
    writer.commit()

    def read_often() -> int:
        interrupted = 0
        for _ in range(500):
            try:
                in_snapshot(_count)
            except Exception as exc:
                if error_name(exc) != INTERRUPTED:
                    raise
                interrupted += 1
        return interrupted

    report = reader.submit(read_often)
    while not report.done():
        readers.interrupt()
    report.result()
    assert readers.interrupted > 0


def test_another_process_that_reads_holds_no_report_up_for_good(
    writer: Writer, reader: ThreadPoolExecutor
) -> None:
    """The log cannot be emptied then; a report waits for a few seconds at most, and reads."""
    other = ThreadPoolExecutor(1, initializer=models.database.connect)
    other.submit(models.database.execute_sql, "BEGIN").result()
    other.submit(_count).result()
    for turn in range(60):
        writer.commit(now=turn * RETRY_S)
    assert writer.wal.bytes > HOLD
    assert not readers.have_to_wait
    assert reader.submit(in_snapshot, _count).result(WAIT_S) == 60
    other.submit(models.database.close).result()
    other.shutdown()
