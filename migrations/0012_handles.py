"""Whose a provider's handle is: a call, a conversation, a session to resume.

``name`` is the beginning of the SHA-256 of a handle with its provider and kind; the handle itself
is not here. ``used_at`` is when it was last given or used, in the stored form of a time.
"""

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE handles (
        name BLOB PRIMARY KEY CHECK (length(name) = 16),
        account_id TEXT NOT NULL,
        used_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX handles_used_index ON handles (used_at)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table, and what finds its oldest rows."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
