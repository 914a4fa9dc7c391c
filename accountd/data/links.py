"""The file to which a symbolic link leads.

SQLite keeps the write-ahead log beside that file, and not beside the link. So there must be the
lock, the journal and the copies: one file that is reached by two names is one database.
"""

import os
from pathlib import Path


def followed(path: Path) -> Path:
    """``path``, or where it leads, whether or not a file is there, or can be."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path
