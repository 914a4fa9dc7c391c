"""What operators took back of what gateways had been allowed: keys, accounts, sessions.

A row names the sessions that it is about: those of ``account_id``, ``key_hash`` and ``session_id``,
as far as they are given. ``number`` rises over boots; an authorization carries the number that was
the newest when it was given, so that a gateway knows which recalls came after it. A key with
``keeps_sessions`` has sessions that may go on after it has expired.
"""

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE recalls (
        number INTEGER PRIMARY KEY CHECK (number > 0),
        cause TEXT NOT NULL,
        account_id TEXT NOT NULL DEFAULT '',
        key_hash TEXT NOT NULL DEFAULT '',
        session_id TEXT NOT NULL DEFAULT '',
        keeps_sessions INTEGER NOT NULL DEFAULT 0 CHECK (keeps_sessions IN (0, 1)),
        created_at TEXT NOT NULL,
        CHECK (account_id <> '' OR key_hash <> '' OR session_id <> '')
    ) STRICT
    """,
    "CREATE INDEX recalls_created_index ON recalls (created_at)",
    "ALTER TABLE api_keys ADD COLUMN keeps_sessions INTEGER NOT NULL DEFAULT 0"
    " CHECK (keeps_sessions IN (0, 1))",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table, an index that finds the oldest rows, and the column."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
