"""The units of a usage row that no entry of the rate card priced: names separated by commas.

The column is empty in older rows; ``accountctl rates check`` prices those anew.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE usage_metrics ADD COLUMN unpriced TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX usage_unpriced_index ON usage_metrics (account_id, created_at)"
    " WHERE unpriced <> ''",
)


def up(migrator: Any, db: Any) -> None:
    """Add the column, and an index of the rows in which it is not empty."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
