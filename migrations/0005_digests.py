"""What was applied can be compared after a restart, and a rejection can be settled by hand.

Rows from before have no digest: what repeats them counts as a duplicate.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE usage_metrics ADD COLUMN digest INTEGER",
    "ALTER TABLE rejected_usage ADD COLUMN digest INTEGER",
    # Whether a sequence left a row in quarantine; for usage_metrics usage_batch_index says it.
    "CREATE INDEX rejected_batch_index ON rejected_usage (producer, sequence)"
    " WHERE producer IS NOT NULL",
    # A retry asks what of a session was charged; an account may have millions of rows.
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
    """Add the columns and what finds them."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
