"""What lies beside a backup and says what is in it: ``<backup>.manifest.json``."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from accountd.maintenance.verifying import Verified
from accountd.request_params import Json
from shared.errors import DatabaseUnusableError

FORMAT: Final = 1
SUFFIX: Final = ".manifest.json"
# What a proof of the file has to find again, by its name in ``Verified``.
_COMPARED: Final = (
    "bytes", "sha256", "database_id", "epoch", "schema", "counts", "last_usage_row", "last_change",
    "watermark_digest",
)  # fmt: skip


def manifest_path(backup: Path) -> Path:
    """The manifest's file."""
    return backup.with_name(backup.name + SUFFIX)


def manifest_of(found: Verified, *, made_at: str, has_other_key: bool) -> Json:
    """The manifest of a proven backup, a JSON object."""
    compared = {name: getattr(found, name) for name in _COMPARED}
    return {
        "format": FORMAT,
        "made_at": made_at,
        "software": version("realtime-switch"),
        "has_other_key": has_other_key,
        **compared,
        "producers": found.producers,
        "watermarks": found.watermarks,
        "audit": {
            "ok": None if found.audit is None else bool(found.audit["ok"]),
            "findings": list(found.findings),
        },
    }


def read_manifest(backup: Path) -> Json | None:
    """The manifest of a backup; None when there is none. Raises ``DatabaseUnusableError``."""
    path = manifest_path(backup)
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise _unreadable(path) from exc
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise _unreadable(path)
    if found["format"] > FORMAT:
        raise DatabaseUnusableError(
            f"{path} has format {found['format']}, expected {FORMAT} at most",
            hint="use the release that made the backup, or a later one",
        )
    if not found.keys() >= {"made_at", *_COMPARED}:
        raise _unreadable(path)
    return found


def differences(manifest: Json, found: Verified) -> list[str]:
    """In what a file is not what its manifest says."""
    return [
        f"{name}: the manifest says {_short(manifest[name])}, the file has"
        f" {_short(getattr(found, name))}"
        for name in _COMPARED
        if manifest[name] != getattr(found, name)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _unreadable(path: Path) -> DatabaseUnusableError:
    return DatabaseUnusableError(
        f"{path} cannot be read as a manifest",
        hint="take another backup, or move the manifest away to use the file without it",
    )
