"""Timestamps as the database stores them: UTC, milliseconds, Z. Pure."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """A timestamp as it is stored: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of_ms(epoch_ms: int) -> str:
    """The stored form of a Unix time in milliseconds."""
    return iso(datetime.fromtimestamp(epoch_ms / 1000, UTC))


def ms_of_iso(stored: str) -> int:
    """The Unix time in milliseconds of a stored timestamp."""
    return round(parse_time(stored).timestamp() * 1000)


def parse_time(text: str) -> datetime:
    """Read a stored timestamp: ours, the original system's, or SQLite's CURRENT_TIMESTAMP (UTC).

    Raises ``ValueError`` for anything else.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
