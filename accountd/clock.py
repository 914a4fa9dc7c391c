"""The wall clock, in the stored form of timestamps."""

from datetime import UTC, datetime

from accountd.times import iso


def now_iso() -> str:
    """The time now, in the stored form."""
    return iso(datetime.now(UTC))
