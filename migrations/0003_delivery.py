"""Exactly once over a wire that loses: the epoch, ends of producers, retried rejections."""

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE daemon (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL CHECK (epoch > 0)
    ) STRICT
    """,
    "ALTER TABLE producers ADD COLUMN ended_at INTEGER CHECK (ended_at IS NULL OR ended_at > 0)",
    "ALTER TABLE rejected_usage ADD COLUMN retried_at TEXT",
    # The row that a retry made of it. A rejection is charged once or not at all.
    "ALTER TABLE rejected_usage ADD COLUMN usage_id INTEGER REFERENCES usage_metrics (id)"
    " CHECK ((usage_id IS NULL) = (retried_at IS NULL))",
    # The audit counts what waits, by reason; the list shows it newest first.
    "CREATE INDEX rejected_waiting_index ON rejected_usage (reason) WHERE retried_at IS NULL",
    # The audit counts estimates, which are few.
    "CREATE INDEX usage_estimate_index ON usage_metrics (account_id) WHERE kind = 'estimate'",
)


def up(migrator: Any, db: Any) -> None:
    """Add what delivery needs."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
