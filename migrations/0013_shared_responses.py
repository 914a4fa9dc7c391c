"""Shared responses, which several sockets report and accountd charges once, and their repetitions.

``name`` is a hash of provider, account, kind of usage and the response's id; ``day`` is when it was
charged. A repetition has no usage row, so ``repeated_usage`` keeps its digest: a message with the
same producer, sequence and digest is a duplicate, one with another digest a conflict.
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
    """Add the tables, and the indexes that find their oldest rows."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
