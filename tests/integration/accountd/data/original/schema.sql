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
