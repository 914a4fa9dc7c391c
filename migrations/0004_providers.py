"""What providers report beside tokens: seconds, and what is not known here."""

from typing import Any

COLUMNS = (
    "billed_ms INTEGER NOT NULL DEFAULT 0 CHECK (billed_ms >= 0)",
    "raw_usage TEXT NOT NULL DEFAULT '[]'",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    for column in COLUMNS:
        db.execute_sql(f"ALTER TABLE usage_metrics ADD COLUMN {column}")
