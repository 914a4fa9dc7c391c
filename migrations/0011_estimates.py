"""Waived estimates of an account, and since when its estimates are charged."""

from typing import Any

STATEMENTS = (
    # What an uncharged estimate would have cost, in credits.
    "ALTER TABLE usage_metrics ADD COLUMN waived INTEGER NOT NULL DEFAULT 0 CHECK (waived >= 0)",
    # The bound was passed then; None: it was not, or the operator forgave it.
    "ALTER TABLE accounts ADD COLUMN estimates_charged_since TEXT",
    # What was metered until then counts no more.
    "ALTER TABLE accounts ADD COLUMN estimates_forgiven_at TEXT NOT NULL DEFAULT ''",
    # All kinds of estimates now, and all columns that are asked for. A query must name the kinds in
    # the same words, or SQLite does not see that the index is enough.
    """
    CREATE INDEX usage_estimates_index ON usage_metrics (
        account_id, created_at, waived, responses, total_tokens
    ) WHERE kind IN ('estimate', 'estimated_duration', 'estimated_transcription')
    """,
    "DROP INDEX usage_estimate_index",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and what finds an account's estimates."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
