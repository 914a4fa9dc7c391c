"""Accounts that were deleted: closed for ever, their books kept.

The row stays, because grants and usage refer to it. ``deleted_email`` keeps the address, so that
``email``, which is unique, gives it free. An index finds addresses in any case of their letters.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE accounts ADD COLUMN deleted_at TEXT CHECK (deleted_at IS NULL OR status = 0)",
    "ALTER TABLE accounts ADD COLUMN deleted_email TEXT"
    " CHECK ((deleted_email IS NULL) = (deleted_at IS NULL))",
    "CREATE INDEX accounts_folded_email_index ON accounts (lower(email))",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and the index."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
