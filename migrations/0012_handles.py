"""The account that owns a provider's handle: of a call, a conversation, a session to resume.

``name`` is the first 16 bytes of the SHA-256 of provider, kind and handle; the handle itself is not
stored. ``used_at`` is when the handle was last issued or used, in the stored form of a time.
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
    """Add the table, and an index that finds its oldest rows."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
