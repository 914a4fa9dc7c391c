"""What proves that nothing is missing: the ledger's identity, its admin changes, what is expected.

``custody.is_open`` is 1 in the file while a daemon serves: a copy that says so and has no
write-ahead log beside it lacks what was in there. Triggers write ``admin_changes`` in the
transaction of each change of an account, of a key, and of each grant, with the row as it is then.
None of them fires for what usage writes. ``is_replaying`` silences them, within a transaction.

``expected_usage``: up to which sequence a producer's usage was acknowledged once, by this database
or by one that it replaces. ``missing_changes``: admin changes of which gateways were told, and that
are not here; a range that ends before it begins: nobody knows whether there are any. An operator
may settle either, with a reason.
"""

from typing import Any

_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_ACCOUNT = (
    "id", "email", "plan_name", "status", "low_credit_mark", "estimates_forgiven_at", "deleted_at",
    "deleted_email", "limits", "created_at", "updated_at",
)  # fmt: skip
_KEY = (
    "key_hash", "account_id", "key_indicator", "label", "created_at", "expires_at", "revoked_at",
    "keeps_sessions", "limits",
)  # fmt: skip
_GRANT = (
    "id", "account_id", "kind", "topup_delta", "token_delta", "reason", "asked", "created_at",
)  # fmt: skip
# Written by the transaction of every charge as well.
_NOT_WATCHED = ("updated_at",)

TABLES = (
    """
    CREATE TABLE custody (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        database_id TEXT NOT NULL CHECK (length(database_id) = 32),
        is_open INTEGER NOT NULL DEFAULT 0 CHECK (is_open IN (0, 1)),
        is_replaying INTEGER NOT NULL DEFAULT 0 CHECK (is_replaying IN (0, 1))
    ) STRICT
    """,
    "INSERT INTO custody (id, database_id) VALUES (1, lower(hex(randomblob(16))))",
    """
    CREATE TABLE admin_changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        subject TEXT NOT NULL CHECK (subject IN ('account', 'key', 'grant')),
        name TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT
    """,
    """
    CREATE TABLE expected_usage (
        producer BLOB PRIMARY KEY CHECK (length(producer) = 16),
        through INTEGER NOT NULL CHECK (through > 0),
        source TEXT NOT NULL CHECK (source <> ''),
        noted_at TEXT NOT NULL,
        settled_at TEXT,
        settled_reason TEXT CHECK ((settled_reason IS NULL) = (settled_at IS NULL))
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE missing_changes (
        first INTEGER PRIMARY KEY CHECK (first > 0),
        last INTEGER NOT NULL CHECK (last >= first - 1),
        source TEXT NOT NULL CHECK (source <> ''),
        noted_at TEXT NOT NULL,
        settled_at TEXT,
        settled_reason TEXT CHECK ((settled_reason IS NULL) = (settled_at IS NULL))
    ) STRICT
    """,
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables and the triggers."""
    for statement in TABLES:
        db.execute_sql(statement)
    for table, subject, columns in (
        ("accounts", "account", _ACCOUNT),
        ("api_keys", "key", _KEY),
        ("credit_grants", "grant", _GRANT),
    ):
        db.execute_sql(_trigger(table, subject, columns, event="INSERT"))
        if subject != "grant":
            db.execute_sql(_trigger(table, subject, columns, event="UPDATE"))


def _trigger(table: str, subject: str, columns: tuple[str, ...], *, event: str) -> str:
    watched = [column for column in columns if column not in _NOT_WATCHED]
    is_update = event == "UPDATE"
    condition = "(SELECT is_replaying FROM custody) = 0"
    if is_update:
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in watched)
        condition = f"({differs}) AND {condition}"
    values = ", ".join(f"'{column}', NEW.{column}" for column in columns)
    return f"""
        CREATE TRIGGER {table}_{event.lower()}_admin_changes
        AFTER {event}{f" OF {', '.join(watched)}" if is_update else ""} ON {table}
        WHEN {condition}
        BEGIN
            INSERT INTO admin_changes (at, subject, name, body)
            VALUES ({_NOW}, '{subject}', NEW.{columns[0]}, json_object({values}));
        END
    """  # noqa: S608 - constants only
