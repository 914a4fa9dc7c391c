"""Which names are of one database: links that lead to it, and what lies beside it.

SQLite keeps the write-ahead log beside the file, and not beside a link to it. So there must be the
lock, the journal and the copies: one file that is reached by two names is one database.
"""

import os
from pathlib import Path
from typing import Final

_BESIDE: Final = (
    "", "-wal", "-shm", "-journal", ".lock", ".pruning.lock", ".reading.lock", ".swap", ".staged",
)  # fmt: skip


def followed(path: Path) -> Path:
    """``path``, or where it leads, whether or not a file is there, or can be."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def belongs_to(database: Path, path: Path) -> bool:
    """Whether ``path`` is the database, or what accountd and SQLite keep beside it; the journal is
    neither.
    """
    real = Path(os.path.realpath(database))
    return Path(os.path.realpath(path)) in {Path(f"{real}{end}") for end in _BESIDE}
