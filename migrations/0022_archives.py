"""Archives of old usage rows, and the sums that stay for them.

Rows that move to an archive (``accountd prune``) leave ``usage``, ``usage_entries`` and
``usage_of_keys``. Their sums stay, for each archive: by account, day and label in
``usage_summaries``, and what keys with a cap spent in ``archived_spending``. ``archives`` counts
the portions of which both are true. ``is_charged`` is 0 for the sum of estimates that took nothing.

A message that was retried refers to its row by id, which may be in an archive.
"""

from typing import Any

_COUNTS = (
    "input_tokens", "output_tokens", "total_tokens", "input_text_tokens", "input_audio_tokens",
    "input_image_tokens", "input_cached_tokens", "output_text_tokens", "output_audio_tokens",
    "output_thought_tokens", "billed_ms", "input_cached_text_tokens", "input_cached_audio_tokens",
    "input_cached_image_tokens", "input_cache_write_tokens", "web_searches", "grounding_queries",
    "tool_calls",
)  # fmt: skip

STATEMENTS = (
    """
    CREATE TABLE archives (
        number INTEGER PRIMARY KEY,
        archive_id TEXT NOT NULL UNIQUE,
        file TEXT NOT NULL,
        before_ms INTEGER NOT NULL,
        portions INTEGER NOT NULL DEFAULT 0,
        rows INTEGER NOT NULL DEFAULT 0,
        began_at TEXT NOT NULL,
        ended_at TEXT
    ) STRICT
    """,
    f"""
    CREATE TABLE usage_summaries (
        account INTEGER NOT NULL,
        day INTEGER NOT NULL,
        label INTEGER NOT NULL,
        is_charged INTEGER NOT NULL,
        archive INTEGER NOT NULL REFERENCES archives (number),
        rows INTEGER NOT NULL CHECK (rows > 0),
        metered_at INTEGER NOT NULL,
        responses INTEGER NOT NULL,
        topup_deducted INTEGER NOT NULL,
        token_deducted INTEGER NOT NULL,
        waived INTEGER NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL" for name in _COUNTS)},
        PRIMARY KEY (account, day, label, is_charged, archive)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE archived_spending (
        key INTEGER NOT NULL REFERENCES usage_keys (number),
        day INTEGER NOT NULL,
        archive INTEGER NOT NULL REFERENCES archives (number),
        credits INTEGER NOT NULL CHECK (credits >= 0),
        PRIMARY KEY (key, day, archive)
    ) STRICT, WITHOUT ROWID
    """,
)
# The message's row: it is usage_id all the same, and may be in an archive.
REFERENCE = "REFERENCES usage (id)"
MOVED = (
    "INSERT INTO rejected_usage_new SELECT * FROM rejected_usage ORDER BY id",
    "DROP TABLE rejected_usage",
    "ALTER TABLE rejected_usage_new RENAME TO rejected_usage",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables, and make rejected_usage anew without its reference."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
    found = db.execute_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'rejected_usage' AND sql IS NOT NULL"
    ).fetchall()
    (table,) = (sql for kind, sql in found if kind == "table")
    assert REFERENCE in table
    db.execute_sql(table.replace(REFERENCE, "").replace("rejected_usage", "rejected_usage_new", 1))
    for statement in (*MOVED, *(sql for kind, sql in found if kind != "table")):
        db.execute_sql(statement)
