"""When the next backup is due, what it is called, and which old ones are removed.

A folder may have other files: only those with the name of a backup of this database, and its
manifest, are looked at, and removed.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from accountd.maintenance.manifests import SUFFIX, manifest_path

EVERY_DEFAULT: Final = "1h"
KEEP_DEFAULT: Final = 48
KEEP_MAX: Final = 100_000
EVERY_S_MIN: Final = 60
EVERY_S_MAX: Final = 7 * 24 * 3600
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_STAMPED: Final = r"-\d{8}T\d{6}Z"
_EVERY: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class BackupSchedule:
    """The settings of backups that the daemon makes by itself."""

    folder: Path
    every_s: int
    keep: int


def parse_every(text: str) -> int:
    """``30m``, ``1h``, ``1d`` in seconds."""
    found = _EVERY.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not EVERY_S_MIN <= seconds <= EVERY_S_MAX:
        raise ValueError("expected a time from 1m to 7d, like 30m, 1h or 1d")
    return seconds


class BackupFolder:
    """The backups of the database at ``source`` in a folder."""

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder, self._source = folder, source

    def name_at(self, now: datetime) -> Path:
        """What a backup is called that begins ``now``, in UTC."""
        stamp = now.astimezone(UTC).strftime(_STAMP)
        return self._folder / f"{self._source.stem}-{stamp}.db"

    def backups(self) -> list[Path]:
        """Those that count: they have a manifest. The oldest first."""
        found = [path for path in self._named(".db") if manifest_path(path).is_file()]
        return sorted(found)

    def newest_at(self) -> datetime | None:
        """When the newest one was begun."""
        found = self.backups()
        return self._begun_at(found[-1]) if found else None

    def newest_right_at(self) -> datetime | None:
        """When the newest one was begun whose audit was OK."""
        found = self._newest_right()
        return self._begun_at(found) if found else None

    def due_in_s(self, every_s: int, now: datetime) -> float:
        """How long it is until the next one; 0: now. A clock that was put back makes none wait."""
        newest = self.newest_at()
        left_s = every_s - (now - newest).total_seconds() if newest else 0.0
        return left_s if 0 < left_s <= every_s else 0.0

    def remove_old(self, keep: int) -> list[Path]:
        """Remove the oldest beyond ``keep``, and tell which.

        The newest one whose audit was OK stays, however old it is.
        """
        right = self._newest_right()
        removed = [path for path in self.backups()[:-keep] if path != right]
        for path in removed:
            path.unlink()
            manifest_path(path).unlink(missing_ok=True)
        for manifest in self._named(f".db{SUFFIX}"):
            if not manifest.with_name(manifest.name.removesuffix(SUFFIX)).exists():
                manifest.unlink()
        return removed

    def _newest_right(self) -> Path | None:
        return next((path for path in reversed(self.backups()) if _is_right(path)), None)

    def _begun_at(self, path: Path) -> datetime:
        stamp = path.stem.removeprefix(f"{self._source.stem}-")
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)

    def _named(self, end: str) -> list[Path]:
        name = re.compile(re.escape(self._source.stem) + _STAMPED + re.escape(end))
        return [path for path in self._folder.iterdir() if name.fullmatch(path.name)]


def _is_right(path: Path) -> bool:
    try:
        return bool(json.loads(manifest_path(path).read_bytes())["audit"]["ok"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
