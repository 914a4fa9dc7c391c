"""Responses that several sockets hear are charged once: which were, and what repeated them.

``name`` is a hash of the provider, the account, what was counted and the response's id; ``day`` is
when it was charged. A repetition leaves no usage row, so its digest is here: a resend of it is a
duplicate, and anything else under its number a conflict.
"""

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE shared_responses (
        name BLOB PRIMARY KEY CHECK (length(name) = 16),
        day TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX shared_responses_day_index ON shared_responses (day)",
    """
    CREATE TABLE repeated_usage (
        producer BLOB NOT NULL CHECK (length(producer) = 16),
        sequence INTEGER NOT NULL CHECK (sequence > 0),
        digest INTEGER NOT NULL,
        account_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        response_id TEXT NOT NULL,
        received_at TEXT NOT NULL,
        PRIMARY KEY (producer, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX repeated_usage_time_index ON repeated_usage (received_at)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables, and what finds their oldest rows."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
