"""What keys with a spending cap spend, by day.

``usage_of_keys`` says which key the rows of such keys belong to; ``id`` is that of the usage row.
``key_spending`` has the sums of these rows, by key and day: the number of days since 1970, in UTC.
Both are written in the transaction of the usage row. A row of another key is in neither.
"""

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE usage_keys (
        number INTEGER PRIMARY KEY,
        key_hash TEXT NOT NULL UNIQUE CHECK (key_hash <> '')
    ) STRICT
    """,
    """
    CREATE TABLE usage_of_keys (
        id INTEGER PRIMARY KEY REFERENCES usage (id),
        key INTEGER NOT NULL REFERENCES usage_keys (number)
    ) STRICT
    """,
    """
    CREATE TABLE key_spending (
        key INTEGER NOT NULL REFERENCES usage_keys (number),
        day INTEGER NOT NULL,
        credits INTEGER NOT NULL CHECK (credits >= 0),
        PRIMARY KEY (key, day)
    ) STRICT, WITHOUT ROWID
    """,
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
