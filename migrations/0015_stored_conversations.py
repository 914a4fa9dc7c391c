"""Who may write a stored conversation, and when it was written, in the original's ``sessions``.

A conversation has two rows: ``SESSION`` holds how the session was configured, and by ``holder``
which connection of its client is the newest; ``CONV`` holds what was said. ``updated_at`` is when
the row was last written or read, in the stored form of a time. Rows of the original system have
none: no age deletes what was not written here.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE sessions ADD COLUMN holder BLOB CHECK (holder IS NULL OR length(holder) = 16)",
    "ALTER TABLE sessions ADD COLUMN updated_at TEXT",
    "CREATE INDEX sessions_updated_index ON sessions (updated_at)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and an index that finds the oldest rows."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
