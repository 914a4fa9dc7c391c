"""How long the disk takes for what a commit of one batch gives it, without accountd.

Used by ``bench.ingestion``, in turns with accountd: beside it both would wait for each other.
"""

import os
import time
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = 4_096
COMMIT_PAGES: Final = 13  # of a batch by itself, an account, a session and a producer with it
FILE_PAGES: Final = 1_000  # a log of SQLite's: from here on it is written over


def fsyncs_ms(folder: Path, *, rate: float, seconds: float) -> list[float]:
    """How long each fsync took, in ms, of ``rate`` a second, in a file of its own."""
    path, page = folder / "fsyncs", os.urandom(PAGE_BYTES * COMMIT_PAGES)
    found = []
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, bytes(PAGE_BYTES * FILE_PAGES), 0)
        os.fsync(file)
        started = time.perf_counter()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
            at = number * COMMIT_PAGES % (FILE_PAGES - COMMIT_PAGES) * PAGE_BYTES
            os.pwrite(file, page, at)
            before = time.perf_counter()
            os.fsync(file)
            found.append((time.perf_counter() - before) * 1000)
    finally:
        os.close(file)
        path.unlink()
    return found
