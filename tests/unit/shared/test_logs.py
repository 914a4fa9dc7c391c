"""Log lines, as far as they are not structlog's own."""

from datetime import UTC, datetime

from structlog.processors import TimeStamper

from shared.logs import add_timestamp


def test_a_timestamp_is_that_of_structlog() -> None:
    """In the same form, and of the same time."""
    before, ours, after = (
        stamp(None, "info", {})["timestamp"]
        for stamp in (TimeStamper(fmt="iso", utc=True), add_timestamp, TimeStamper(fmt="iso"))
    )
    assert datetime.fromisoformat(before) <= datetime.fromisoformat(ours)
    assert datetime.fromisoformat(ours) <= datetime.fromisoformat(after)
    assert len(ours) == len("2026-11-29T22:51:22.574882Z")
    assert datetime.fromisoformat(ours).tzinfo == UTC
