"""Who else may read or write the files of a database.

The daemon warns of it; ``accountd migrate`` takes it from others, and leaves the group, which an
operator may have chosen. SQLite makes the log with the mode of the database.
"""

import stat
from pathlib import Path

from accountd.data import unopenable
from shared.secret_files import folder_open_to_others


def open_to_others(path: Path) -> list[str]:
    """What others may do with the files of the database at ``path``, each with what to run."""
    found = [
        f"{file} has mode {mode(file):04o}: run chmod o-rwx {file}"
        for file in unopenable.traces_of(path)
        if mode(file) & stat.S_IRWXO
    ]
    if (folder := folder_open_to_others(path)) is not None:
        found.append(f"others can replace files in {folder}: run chmod o-w {folder}")
    return found


def close_to_others(path: Path) -> list[str]:
    """Take from others what they may do with the files; says what was done, or could not be."""
    told = []
    for file in unopenable.traces_of(path):
        before = mode(file)
        if before & stat.S_IRWXO:
            try:
                file.chmod(before & ~stat.S_IRWXO)
            except OSError as exc:
                told.append(
                    f"{file} has mode {before:04o}, which cannot be changed: {exc.strerror}"
                )
            else:
                told.append(f"{file} had mode {before:04o}, now {mode(file):04o}")
    if (folder := folder_open_to_others(path)) is not None:
        told.append(f"others can replace files in {folder}: run chmod o-w {folder}")
    return told


def mode(file: Path) -> int:
    """The bits of who may do what."""
    return stat.S_IMODE(file.stat().st_mode)
