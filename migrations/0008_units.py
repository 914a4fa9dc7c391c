"""Units that are billed by the piece, and tokens that were written to a cache."""

from typing import Any

COLUMNS = (
    "input_cache_write_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_cache_write_tokens >= 0)",
    "web_searches INTEGER NOT NULL DEFAULT 0 CHECK (web_searches >= 0)",
    "grounding_queries INTEGER NOT NULL DEFAULT 0 CHECK (grounding_queries >= 0)",
    "tool_calls INTEGER NOT NULL DEFAULT 0 CHECK (tool_calls >= 0)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    for column in COLUMNS:
        db.execute_sql(f"ALTER TABLE usage_metrics ADD COLUMN {column}")
