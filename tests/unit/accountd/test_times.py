"""Timestamps as the database stores them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from accountd.times import iso, iso_of_ms, ms_of_iso, parse_time

NOON = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
STORED = [
    # a stored timestamp; the moment
    ("2026-11-24T12:00:00.250Z", NOON),
    ("2026-11-24T13:00:00.250+01:00", NOON),
    ("2026-11-24 12:00:00.250000", NOON),  # the original system's
    ("2026-11-24 12:00:00", NOON.replace(microsecond=0)),  # SQLite's CURRENT_TIMESTAMP
]


@pytest.mark.parametrize(("stored", "moment"), STORED)
def test_every_form_that_was_ever_stored_is_read(stored: str, moment: datetime) -> None:
    """What names no zone is UTC."""
    assert parse_time(stored) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """And not taken for now."""
    with pytest.raises(ValueError, match=r"isoformat|month must be"):
        parse_time(text)


def test_times_are_stored_in_one_form() -> None:
    """So that their texts compare like the times."""
    here = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert iso(here) == "2026-11-24T12:00:00.250Z"
    assert iso(NOON.replace(microsecond=0)) == "2026-11-24T12:00:00.000Z"


@pytest.mark.parametrize("epoch_ms", [0, 1, 1_790_000_000_123, 4_102_444_799_999])
def test_milliseconds_survive(epoch_ms: int) -> None:
    """To the last one."""
    assert ms_of_iso(iso_of_ms(epoch_ms)) == epoch_ms
