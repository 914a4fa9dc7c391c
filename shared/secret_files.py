"""Files that hold a secret: read only where nobody else may read or replace them.

Every key, secret and private key that a daemon takes from a file is read, or checked, here. The
group may read a file (a group of its own is a common way to hand it to a service); others may not.
Nor may they write in its folder, or in that of a link to it: they could put another file there.
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
    except OSError as exc:
        raise ConfigError(f"{name}: cannot read {path}: {cause_of(exc)}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{name}: found {path} that is no UTF-8, expected text") from exc


def read_key(name: str, path: Path) -> str:
    """The key of a database that ``path`` has for the option ``name``. Raises ``ConfigError``."""
    key = read(name, path).strip()
    if not key:
        raise ConfigError(f"{name}: {path} is empty", hint="64 hex digits or a passphrase")
    return key


def check(name: str, path: Path) -> None:
    """Raise ``ConfigError`` where ``path``, which another library reads, cannot be read or is open
    to others.
    """
    try:
        with path.open("rb") as file:
            _check(name, path, os.fstat(file.fileno()))
    except OSError as exc:
        raise ConfigError(f"{name}: cannot read {path}: {cause_of(exc)}") from exc


def folder_open_to_others(path: Path) -> Path | None:
    """The folder in which others could replace ``path``, or the file that it links to; None where
    there is none. In one with a sticky bit (``/tmp``) each may replace its own files alone.
    """
    for folder in (path.parent, Path(os.path.realpath(path)).parent):
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return folder
    return None


def _check(name: str, path: Path, found: os.stat_result) -> None:
    if found.st_mode & _OTHERS:
        raise ConfigError(
            f"{name}: found {path} with mode {stat.S_IMODE(found.st_mode):04o}, expected a file"
            f" that others can neither read nor write; run: chmod o-rwx {path}"
        )
    if (folder := folder_open_to_others(path)) is not None:
        raise ConfigError(
            f"{name}: found {path} in {folder}, in which others can write, expected a folder where"
            f" they cannot replace the file; run: chmod o-w {folder}"
        )
