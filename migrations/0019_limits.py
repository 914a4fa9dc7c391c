"""What a key, and what an account, may do at most.

A JSON object of what was set there, by the names of ``shared.limits.Limits``: null stands for no
limit, and of what is absent the setting of accountd says what holds.
"""

from typing import Any

STATEMENTS = tuple(
    f"ALTER TABLE {table} ADD COLUMN limits TEXT NOT NULL DEFAULT '{{}}' CHECK (json_valid(limits))"
    for table in ("api_keys", "accounts")
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
