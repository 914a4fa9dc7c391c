INSERT INTO accounts (id, email, plan_name, token_remaining, topup_remaining, created_at, updated_at)
    VALUES ('old', 'old@example.org', 'Pro', -40, 25, '2025-01-02 03:04:05', '2025-02-03 04:05:06');
INSERT INTO accounts (id, email, token_remaining, status)
    VALUES ('off', 'off@example.org', 7, 0);
INSERT INTO accounts (id, email) VALUES ('new', 'Ünïcode@example.org');
INSERT INTO usage_metrics (account_id, session_id, provider, input_tokens, output_tokens,
    total_tokens, created_at) VALUES ('old', 's', 'openai', 30, 10, 40, '2025-01-02 03:05:00');
INSERT INTO usage_metrics (account_id, session_id, provider, input_tokens, output_tokens,
    total_tokens) VALUES ('removed', 'gone', 'gemini', NULL, NULL, 12);
INSERT INTO sessions (account_id, session_id, type, data) VALUES ('old', 's', 'CONV', 'hi');
INSERT INTO sessions (account_id, session_id, type, data) VALUES ('old', 's', 'SESSION', '{"voice":"alloy"}');
INSERT INTO api_keys (key_hash, account_id, key_indicator, label)
    VALUES ('KEY_HASH', 'old', 'rsliv…00000', 'from before');
INSERT INTO api_keys (key_hash, account_id, key_indicator, label, expires_at)
    VALUES ('EXPIRED_HASH', 'old', 'rsliv…11111', 'expired', '2025-06-01 00:00:00');
