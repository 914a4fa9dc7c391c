"""The waived credits of an estimate, and since when the estimates of an account are charged."""

from typing import Any

STATEMENTS = (
    # The price of an estimate that was not charged, in credits.
    "ALTER TABLE usage_metrics ADD COLUMN waived INTEGER NOT NULL DEFAULT 0 CHECK (waived >= 0)",
    # When the account passed the bound of waived estimates; None: it did not, or the operator reset
    # it (``accountctl account estimates ID --reset``).
    "ALTER TABLE accounts ADD COLUMN estimates_charged_since TEXT",
    # When the operator reset it; estimates that were metered until then do not count any more.
    "ALTER TABLE accounts ADD COLUMN estimates_forgiven_at TEXT NOT NULL DEFAULT ''",
    # Covers all kinds of estimates and all columns that are read. SQLite uses a partial index only
    # for a query whose WHERE has the same term, so queries name the kinds exactly like this.
    """
    CREATE INDEX usage_estimates_index ON usage_metrics (
        account_id, created_at, waived, responses, total_tokens
    ) WHERE kind IN ('estimate', 'estimated_duration', 'estimated_transcription')
    """,
    "DROP INDEX usage_estimate_index",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and an index of an account's estimates."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
