"""Files that hold a secret: read only where nobody else may read them.

Every key, secret and private key that a daemon takes from a file is read, or checked, here. The
group may read a file (a group of its own is a common way to hand it to a service); others may not.
"""

import os
import stat
from pathlib import Path

from shared.errors import ConfigError, cause_of

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def read(name: str, path: Path) -> str:
    """The text of the secret that the setting ``name`` has in ``path``. Raises ``ConfigError``."""
    try:
        with path.open(encoding="utf-8") as file:
            _check(name, path, os.fstat(file.fileno()))
            return file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{name}: cannot read {path}: {cause_of(exc)}") from exc


def check(name: str, path: Path) -> None:
    """Raise ``ConfigError`` where ``path``, which another library reads, cannot be read or is open
    to others.
    """
    try:
        with path.open("rb") as file:
            _check(name, path, os.fstat(file.fileno()))
    except OSError as exc:
        raise ConfigError(f"{name}: cannot read {path}: {cause_of(exc)}") from exc


def _check(name: str, path: Path, found: os.stat_result) -> None:
    if found.st_mode & _OTHERS:
        raise ConfigError(
            f"{name}: found {path} with mode {stat.S_IMODE(found.st_mode):04o}, expected a file"
            f" that others can neither read nor write; run: chmod o-rwx {path}"
        )
