"""The original system's tables, column for column.

A table that exists is not changed, so that a database of the original system can be used in place.
"""

from typing import Any

TABLES = {
    "accounts": """
        CREATE TABLE accounts (
            id TEXT PRIMARY KEY,
            email TEXT NOT NULL UNIQUE,
            plan_name TEXT NOT NULL DEFAULT 'Free',
            token_remaining INTEGER NOT NULL DEFAULT 1000,
            topup_remaining INTEGER NOT NULL DEFAULT 0,
            status INTEGER NOT NULL DEFAULT 1,
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
            updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        )
    """,
    "api_keys": """
        CREATE TABLE api_keys (
            key_hash TEXT PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            key_indicator TEXT NOT NULL,
            label TEXT NOT NULL,
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
            expires_at TEXT,
            last_used_at TEXT
        )
    """,
    "sessions": """
        CREATE TABLE sessions (
            account_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            type TEXT NOT NULL CHECK (type IN ('SESSION', 'CONV')),
            data TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
            PRIMARY KEY (account_id, session_id, type)
        )
    """,
    "usage_metrics": """
        CREATE TABLE usage_metrics (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            provider TEXT NOT NULL,
            input_tokens INTEGER DEFAULT 0,
            output_tokens INTEGER DEFAULT 0,
            total_tokens INTEGER DEFAULT 0,
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        )
    """,
}

INDEXES = (
    "CREATE INDEX IF NOT EXISTS accounts_email_index ON accounts (email)",
    "CREATE INDEX IF NOT EXISTS accounts_status_index ON accounts (status)",
    "CREATE INDEX IF NOT EXISTS api_keys_account_id_index ON api_keys (account_id)",
    "CREATE INDEX IF NOT EXISTS sessions_created_index ON sessions (created_at)",
    "CREATE INDEX IF NOT EXISTS idx_usage_account ON usage_metrics (account_id)",
    "CREATE INDEX IF NOT EXISTS idx_usage_provider ON usage_metrics (provider)",
    "CREATE INDEX IF NOT EXISTS idx_usage_created ON usage_metrics (created_at)",
    "CREATE INDEX IF NOT EXISTS idx_usage_account_time ON usage_metrics (account_id, created_at)",
)


def up(migrator: Any, db: Any) -> None:
    """Create the tables and indexes that do not exist."""
    existing = set(db.get_tables())
    for table, statement in TABLES.items():
        if table not in existing:
            db.execute_sql(statement)
    for statement in INDEXES:
        db.execute_sql(statement)
