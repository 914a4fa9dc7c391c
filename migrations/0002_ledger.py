"""The ledger: the deduction of each usage row from each bucket, grants, producers, quarantine.

Each account of an existing database (the original system's) gets an opening grant of its present
balances, so that the ledger's equation holds from then on: for every account
``topup_remaining = sum of topup_delta - sum of topup_deducted``, and the same for tokens.
"""

from typing import Any

USAGE_COLUMNS = (
    "producer BLOB CHECK (producer IS NULL OR length(producer) = 16)",
    "sequence INTEGER CHECK (sequence IS NULL OR sequence > 0)",
    "model TEXT NOT NULL DEFAULT ''",
    "kind TEXT NOT NULL DEFAULT 'response'",
    "responses INTEGER NOT NULL DEFAULT 1 CHECK (responses > 0)",
    "response_ids TEXT NOT NULL DEFAULT '[]'",
    "input_text_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_text_tokens >= 0)",
    "input_audio_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_audio_tokens >= 0)",
    "input_image_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_image_tokens >= 0)",
    "input_cached_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_cached_tokens >= 0)",
    "output_text_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_text_tokens >= 0)",
    "output_audio_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_audio_tokens >= 0)",
    "output_thought_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_thought_tokens >= 0)",
    "topup_deducted INTEGER NOT NULL DEFAULT 0 CHECK (topup_deducted >= 0)",
    "token_deducted INTEGER NOT NULL DEFAULT 0 CHECK (token_deducted >= 0)",
)

STATEMENTS = (
    # No batch can be charged twice: the database refuses the second row, whatever the code decides.
    "CREATE UNIQUE INDEX usage_batch_index ON usage_metrics (producer, sequence)",
    "ALTER TABLE api_keys ADD COLUMN revoked_at TEXT",
    """
    CREATE TABLE credit_grants (
        id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts (id),
        kind TEXT NOT NULL CHECK (kind IN ('opening', 'topup', 'renewal', 'adjustment')),
        topup_delta INTEGER NOT NULL,
        token_delta INTEGER NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX credit_grants_account_index ON credit_grants (account_id)",
    """
    CREATE TABLE producers (
        producer BLOB PRIMARY KEY CHECK (length(producer) = 16),
        applied_through INTEGER NOT NULL CHECK (applied_through >= 0),
        first_seen_at TEXT NOT NULL,
        last_seen_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE applied_ahead (
        producer BLOB NOT NULL REFERENCES producers (producer),
        sequence INTEGER NOT NULL CHECK (sequence > 0),
        PRIMARY KEY (producer, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE rejected_usage (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        producer BLOB,
        sequence INTEGER,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '',
        payload BLOB NOT NULL,
        received_at TEXT NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO credit_grants (id, account_id, kind, topup_delta, token_delta, reason, created_at)
    SELECT 'opening-' || id, id, 'opening', topup_remaining, token_remaining,
           'balance found by the migration', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    FROM accounts
    """,
)


def up(migrator: Any, db: Any) -> None:
    """Add the ledger."""
    for column in USAGE_COLUMNS:
        db.execute_sql(f"ALTER TABLE usage_metrics ADD COLUMN {column}")
    for statement in STATEMENTS:
        db.execute_sql(statement)
