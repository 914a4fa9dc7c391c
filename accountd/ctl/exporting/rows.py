"""One row of an export, and the name by which every system knows it. Pure."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def event_id(row: Row) -> str:
    """The same in every export of the row, and no other row's.

    It is the number under which a gateway sent the usage, so it stays when usage is sent again to a
    ledger that was restored and the row gets another id. A row that came under no number (a
    conflict that was charged, rows of the original system) has its id and its time.
    """
    if row["producer"]:
        return f"{row['producer']}-{row['sequence']}"
    return f"row-{row['id']}-{row['created_at']}"
