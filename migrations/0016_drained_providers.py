"""The providers that an operator has taken out of service, until they are resumed.

``provider`` is a name as gateways have it; ``drained_at`` is in the stored form of a time.
"""

from typing import Any

STATEMENT = """
    CREATE TABLE drained_providers (
        provider TEXT PRIMARY KEY CHECK (length(provider) BETWEEN 1 AND 64),
        drained_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
"""


def up(migrator: Any, db: Any) -> None:
    """Add the table."""
    db.execute_sql(STATEMENT)
