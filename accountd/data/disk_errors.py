"""What an operator is told of a file that cannot be read or written. Pure."""

import errno
from pathlib import Path
from typing import Final

from shared.errors import ConfigError, NotNowError, OperatorError, StorageError, cause_of

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)


def disk_error(exc: OSError, path: Path, *, then: str) -> OperatorError:
    """The error for ``exc``: a full disk is one for now, a forbidden file one of the configuration.

    ``path`` is named where ``exc`` names no file; ``then`` ends what to do.
    """
    where = f"{exc.filename or path}: {cause_of(exc)}"
    if exc.errno in _FULL:
        return NotNowError(where, hint=f"free some space; {then}")
    if exc.errno in _FORBIDDEN:
        return ConfigError(where, hint=f"let this user read and write there; {then}")
    return StorageError(where, hint=f"check the disk; {then}")
