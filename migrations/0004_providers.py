"""Usage beside tokens: billed milliseconds, and the parts of a usage object that no column has."""

from typing import Any

COLUMNS = (
    "billed_ms INTEGER NOT NULL DEFAULT 0 CHECK (billed_ms >= 0)",
    "raw_usage TEXT NOT NULL DEFAULT '[]'",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    for column in COLUMNS:
        db.execute_sql(f"ALTER TABLE usage_metrics ADD COLUMN {column}")
