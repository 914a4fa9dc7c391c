"""What is said of a backup while it is made, and afterwards. Pure.

It imports no module of accountd, so that accountctl does not load the database.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

COPYING: Final = "copied"
VERIFYING: Final = "verified"
MB: Final = 1_000_000
# Of the time of a backup, the copying takes so much; proving it takes the rest.
_COPYING_SHARE: Final = 0.15


def progress_words(doing: str, done: int, total: int) -> tuple[str, float]:
    """What to show, and the share of the whole that is done."""
    share = done / total if total else 1.0
    whole = _COPYING_SHARE * share if doing == COPYING else _COPYING_SHARE
    if doing == VERIFYING:
        whole += (1 - _COPYING_SHARE) * share
    return f"{doing} {done / MB:,.0f} of {total / MB:,.0f} MB", whole


def made_text(path: Path, manifest: Mapping[str, Any]) -> str:
    """What there is now."""
    counts = manifest["counts"]
    lines = [
        f"backup {path}: {manifest['bytes'] / MB:,.1f} MB, usage rows {counts.get('usage', 0):,},"
        f" accounts {counts.get('accounts', 0):,}, schema {manifest['schema']}"
        + (", with another key" if manifest["has_other_key"] else ""),
        f"sha256 {manifest['sha256']}",
    ]
    findings = manifest["audit"]["findings"]
    if findings:
        lines.append("the backup is whole; what was copied is not right:")
        lines += [f"  {line}" for line in findings]
    elif manifest["audit"]["ok"] is None:
        lines.append("pages and indexes are right; no audit: the schema is of another release")
    else:
        lines.append("pages, indexes and the audit are right")
    return "\n".join(lines)
