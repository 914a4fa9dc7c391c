"""Parameters of grants, low-credit marks and their warnings, indexes for statements."""

from typing import Any

STATEMENTS = (
    # The parameters of the request that made a grant. A second request with the same id must have
    # the same ones. The deltas cannot tell: a renewal's delta depends on the balance before it.
    "ALTER TABLE credit_grants ADD COLUMN asked TEXT NOT NULL DEFAULT ''",
    "UPDATE credit_grants SET asked = json_object('amount', topup_delta) WHERE kind = 'topup'",
    "ALTER TABLE accounts ADD COLUMN low_credit_mark INTEGER"
    " CHECK (low_credit_mark IS NULL OR low_credit_mark >= 0)",
    # Written in the transaction of the charge or grant that crossed the mark. The webhook reads it
    # in the order of its ids; message_id stays the same however often one is sent.
    """
    CREATE TABLE low_credit_warnings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL UNIQUE,
        account_id TEXT NOT NULL REFERENCES accounts (id),
        low_credit_mark INTEGER NOT NULL,
        topup_remaining INTEGER NOT NULL,
        token_remaining INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        outcome TEXT CHECK (outcome IN ('sent', 'given_up')),
        settled_at TEXT CHECK ((settled_at IS NULL) = (outcome IS NULL))
    ) STRICT
    """,
    # Has every column that a statement reads, so that SQLite reads a million rows of one account
    # from the index alone. Its first columns are those of the index that it replaces.
    """
    CREATE INDEX usage_statement_index ON usage_metrics (
        account_id, created_at, topup_deducted, token_deducted, kind, model, session_id, responses,
        input_tokens, output_tokens, total_tokens
    )
    """,
    "DROP INDEX idx_usage_account_time",
    "CREATE INDEX credit_grants_time_index ON credit_grants (account_id, created_at)",
    "DROP INDEX credit_grants_account_index",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, the table and the indexes."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
