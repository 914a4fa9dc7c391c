"""Exactly-once delivery although messages get lost: the epoch, end markers, retried rejections."""

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
    # The usage row that a retry inserted. A rejected message is charged once or not at all.
    "ALTER TABLE rejected_usage ADD COLUMN usage_id INTEGER REFERENCES usage_metrics (id)"
    " CHECK ((usage_id IS NULL) = (retried_at IS NULL))",
    # The audit counts unsettled rejections by reason; the list shows them newest first.
    "CREATE INDEX rejected_waiting_index ON rejected_usage (reason) WHERE retried_at IS NULL",
    # For the audit, which counts estimates: few rows of a large table.
    "CREATE INDEX usage_estimate_index ON usage_metrics (account_id) WHERE kind = 'estimate'",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table, columns and indexes."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
