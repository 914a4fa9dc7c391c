"""A row says which of its units no rate card entry priced: names of prices, separated by commas.

Rows from before say nothing; ``accountctl rates check`` looks at them too.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE usage_metrics ADD COLUMN unpriced TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX usage_unpriced_index ON usage_metrics (account_id, created_at)"
    " WHERE unpriced <> ''",
)


def up(migrator: Any, db: Any) -> None:
    """Add the column, and what finds the few rows that have something in it."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
