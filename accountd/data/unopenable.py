"""Why a file does not open with a key, and what lies beside a database that is not there.

Called by ``database`` and by the configuration. No message has a word of the key.
"""

import re
from pathlib import Path
from typing import Final

from shared.errors import ConfigError, DatabaseUnusableError

PLAIN_HEADER: Final = b"SQLite format 3\x00"
HEADER_BYTES: Final = 24
RAW_KEY_DIGITS: Final = 64
# So far from 64 a text of hex digits is a raw key of which some were lost, or came twice.
_DIGITS_APART_MAX: Final = 4
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_BYTE_ORDER_MARK: Final = "\ufeff"
# Bytes 21 to 23 of every SQLite file: the shares of a page that a row may take. 16 and 17 are the
# page's size.
_PLAIN_SHARES: Final = b"\x40\x20\x20"
_PAGE_SIZES: Final = {(1 << n).to_bytes(2, "big") for n in range(9, 16)} | {b"\x00\x01"}
# Made anew, or of no use without the file beside which they lie.
_NO_TRACES: Final = (".lock", "-shm")


def refuse_plain(path: Path, head: bytes) -> None:
    """Raise ``DatabaseUnusableError`` for a file whose first bytes are in plain text."""
    if head.startswith(PLAIN_HEADER):
        raise DatabaseUnusableError(
            f"{path} is a plain SQLite file, expected an encrypted one",
            hint="DB_PATH names another program's file, or one that was never encrypted",
        )
    # Its salt may look like anything, so the chance of a file of ours is 8 in 2 ** 40.
    if head[16:18] in _PAGE_SIZES and head[21:24] == _PLAIN_SHARES:
        raise DatabaseUnusableError(
            f"{path} was written by SQLite3 Multiple Ciphers (better-sqlite3-multiple-ciphers)"
            " without the pragma legacy=4: bytes 16 to 23 are in plain text",
            hint="convert it with that library: open it with its key, then PRAGMA"
            " journal_mode=DELETE; PRAGMA cipher='sqlcipher'; PRAGMA legacy=4; PRAGMA rekey='…'",
        )


class KeyDoesNotOpenError(DatabaseUnusableError):
    """The key does not open the file."""


def key_does_not_open(path: Path, key: str) -> DatabaseUnusableError:
    """The error for an encrypted file that ``key`` does not open: which key, and what it lacks."""
    flaw = flaw_of(key)
    return KeyDoesNotOpenError(
        f"the key in {source_of(key)} does not open {path}" + (f": it {flaw}" if flaw else ""),
        hint="put back the key that the database was made with; a damaged first page looks the"
        " same: then restore a backup",
    )


def refuse_flawed(path: Path, key: str) -> None:
    """Raise ``ConfigError`` where a new database would get a key that nobody meant."""
    flaw = flaw_of(key)
    if flaw:
        raise ConfigError(
            f"the key in {source_of(key)} {flaw}: no database was made at {path}",
            hint="expected 64 hex digits, or a passphrase, on one line",
        )


def flaw_of(key: str) -> str:
    """What looks wrong with a key, as the end of a sentence; empty where nothing does."""
    if key.startswith(_BYTE_ORDER_MARK):
        return "begins with a byte-order mark; save the file as UTF-8 without one"
    lines = len(key.splitlines())
    if lines > 1:
        return f"has {lines} lines, expected one"
    if key != key.strip():
        return "begins or ends with white space"
    apart = abs(len(key) - RAW_KEY_DIGITS)
    if 0 < apart <= _DIGITS_APART_MAX and _HEX.fullmatch(key):
        return f"has {len(key)} hex digits, expected {RAW_KEY_DIGITS}"
    return ""


def source_of(key: str) -> str:
    """Where a key came from: a setting, or a setting and its file."""
    return str(getattr(key, "source", "DB_ENCRYPTION_KEY(_FILE)"))


def way_back(path: Path, unknown: list[str]) -> str:
    """How a release that does not know the migrations ``unknown`` can be used; may be empty."""
    copy = copy_before(path, min(unknown))
    return f", or put {copy} in its place: the copy from before them" if copy.exists() else ""


def copy_before(path: Path, migration: str) -> Path:
    """The copy of the database that is made before ``migration``."""
    return path.with_name(f"{path.name}.before-{migration[:4]}")


def traces_of(path: Path) -> list[Path]:
    """What there is of a database at ``path``: itself, its log, journal, copies and backups."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return []
    return [
        file
        for file in beside
        if (file.name.startswith(path.name) or file.name.endswith(".manifest.json"))
        and not file.name.endswith(_NO_TRACES)
        and file.is_file()
        and file.stat().st_size
    ]


def missing(path: Path) -> DatabaseUnusableError:
    """There is no database; what to do depends on whether there was one."""
    if traces := traces_of(path):
        hint = f"{traces[0].name} lies beside it: put it back, or accountd restore a backup"
    else:
        hint = "run: accountd migrate"
    return DatabaseUnusableError(f"no database at {path}", hint=hint)


def refuse_new_beside_traces(path: Path) -> None:
    """Raise where a database would be made anew although one was there."""
    traces = traces_of(path)
    if traces:
        raise DatabaseUnusableError(
            f"{path} is missing or empty, but {traces[0].name} lies beside it: no new database is"
            " made there",
            hint="put the database back or restore a backup; to begin anew, move the other files"
            " away",
        )
