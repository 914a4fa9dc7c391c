"""Usage as CloudEvents 1.0 in JSON, which metering systems read. Pure.

A receiver knows an event by its ``source`` and ``id``: to send one again is harmless.
"""

from typing import Any, Final

from accountd.ctl.exporting.rows import Row, event_id
from shared.usage import USAGE_FIELDS

TYPE: Final = "realtime-switch.usage"
_DATA: Final = (
    "session_id", "provider", "model", "kind", "responses", *USAGE_FIELDS, "credits",
    "topup_deducted", "token_deducted", "waived", "rate_card", "unpriced",
)  # fmt: skip


def source_of(ledger: str) -> str:
    """The source of a ledger's events, unless its operator names another."""
    return f"/realtime-switch/ledgers/{ledger}"


def event(row: Row, source: str) -> dict[str, Any]:
    """The event of one row; all of its counts are there, also those that are 0."""
    return {
        "specversion": "1.0",
        "id": event_id(row),
        "source": source,
        "type": TYPE,
        "subject": row["account_id"],
        "time": row["created_at"],
        "datacontenttype": "application/json",
        "data": {"row": row["id"], **{name: row[name] for name in _DATA}},
    }
