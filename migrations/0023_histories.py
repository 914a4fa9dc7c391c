"""Which history of usage rows a ledger has: another one once it has gone back to an older state.

Usage that is sent again is charged in another order, so that a row may be another one than in what
was exported before. ``custody.history`` is empty in a ledger that has never gone back.
"""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add the column."""
    db.execute_sql("ALTER TABLE custody ADD COLUMN history TEXT NOT NULL DEFAULT ''")
