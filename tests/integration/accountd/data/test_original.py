"""A database of the original system opens in place."""

import hashlib

import pytest
from sqlcipher3 import dbapi2 as sqlcipher
from websockets.sync.client import connect

from tests.support.harness import Cluster

ORIGINAL = """
    CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE,
        plan_name TEXT NOT NULL DEFAULT 'Free', token_remaining INTEGER NOT NULL DEFAULT 1000,
        topup_remaining INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL DEFAULT 1,
        created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE api_keys (key_hash TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
        key_indicator TEXT NOT NULL, label TEXT NOT NULL,
        created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, expires_at TEXT, last_used_at TEXT);
    CREATE TABLE sessions (account_id TEXT NOT NULL, session_id TEXT NOT NULL,
        type TEXT NOT NULL CHECK(type IN ('SESSION', 'CONV')), data TEXT NOT NULL DEFAULT '',
        created_at TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,
        PRIMARY KEY (account_id, session_id, type));
    CREATE TABLE usage_metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, account_id TEXT NOT NULL,
        session_id TEXT NOT NULL, provider TEXT NOT NULL, input_tokens INTEGER DEFAULT 0,
        output_tokens INTEGER DEFAULT 0, total_tokens INTEGER DEFAULT 0,
        created_at TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL);
    CREATE INDEX accounts_email_index ON accounts (email);
    INSERT INTO accounts (id, email, token_remaining, topup_remaining)
        VALUES ('old', 'old@example.org', -40, 25), ('off', 'off@example.org', 7, 0);
    UPDATE accounts SET status = 0 WHERE id = 'off';
    INSERT INTO usage_metrics (account_id, session_id, provider, input_tokens, output_tokens,
        total_tokens) VALUES ('old', 's', 'openai', 30, 10, 40);
    INSERT INTO sessions (account_id, session_id, type, data) VALUES ('old', 's', 'CONV', 'hi');
    INSERT INTO api_keys (key_hash, account_id, key_indicator, label)
        VALUES ('KEY_HASH', 'old', 'rsliv…00000', 'from before');
"""
OLD_KEY = "rslive_v1_" + "0" * 48


@pytest.mark.parametrize("passphrase", ["it's a passphrase", "ab" * 32])
def test_a_database_of_the_original_system_opens_in_place(
    prepared: Cluster, passphrase: str
) -> None:
    """Accounts, keys and rows stay; the ledger's equation holds from the first moment."""
    for leftover in prepared.folder.glob("accounts.db*"):
        leftover.unlink()
    (prepared.folder / "db.key").write_text(passphrase)
    connection = sqlcipher.connect(str(prepared.folder / "accounts.db"))
    quoted = passphrase.replace("'", "''")
    connection.execute(f"PRAGMA key = '{quoted}'")
    key_hash = hashlib.sha256(OLD_KEY.encode()).hexdigest()
    connection.executescript(ORIGINAL.replace("KEY_HASH", key_hash))
    connection.close()

    assert prepared.run("accountd", "serve").returncode == 78
    assert prepared.run("accountd", "migrate").returncode == 0
    prepared.start_accountd()
    shown = prepared.accountctl("account", "show", "old")
    assert (shown["token_remaining"], shown["topup_remaining"]) == (-40, 25)
    assert prepared.accountctl("account", "show", "off")["status"] == "disabled"
    (row,) = prepared.usage_rows("old")
    assert (row["total_tokens"], row["topup_deducted"]) == (40, 0)
    assert prepared.audit()["ok"]
    prepared.accountctl("account", "topup", "old", "100")
    assert prepared.audit()["ok"]
    (listed,) = prepared.accountctl("key", "list", "old")["keys"]
    assert (listed["label"], listed["key_hash"]) == ("from before", key_hash)
    (kept,) = prepared.accountctl("sessions", "list")["sessions"]
    assert (kept["session_id"], kept["bytes"], kept["updated_at"]) == ("s", 2, None)
    prepared.start_simulator()
    gateway = prepared.start_gateway()
    url = f"ws://{gateway.field('listen')}/v1/realtime?model=gpt-realtime&rs_key={OLD_KEY}"
    with connect(url, max_size=None) as client:
        assert '"session.created"' in str(client.recv(timeout=10))
