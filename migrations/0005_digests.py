"""Digests of payloads, which tell a duplicate from a conflict after a restart; dismissals.

Older rows have no digest: a message with the sequence of one counts as a duplicate.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE usage_metrics ADD COLUMN digest INTEGER",
    "ALTER TABLE rejected_usage ADD COLUMN digest INTEGER",
    # Finds the quarantined message of a sequence; usage_batch_index does so for usage_metrics.
    "CREATE INDEX rejected_batch_index ON rejected_usage (producer, sequence)"
    " WHERE producer IS NOT NULL",
    # A retry reads the charged rows of a session; its account may have millions of rows.
    "CREATE INDEX usage_session_index ON usage_metrics (account_id, session_id)",
    "ALTER TABLE rejected_usage ADD COLUMN dismissed_at TEXT"
    " CHECK (dismissed_at IS NULL OR retried_at IS NULL)",
    "ALTER TABLE rejected_usage ADD COLUMN dismissed_reason TEXT"
    " CHECK ((dismissed_reason IS NULL) = (dismissed_at IS NULL))",
    "DROP INDEX rejected_waiting_index",
    "CREATE INDEX rejected_waiting_index ON rejected_usage (reason)"
    " WHERE retried_at IS NULL AND dismissed_at IS NULL",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns and indexes."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
