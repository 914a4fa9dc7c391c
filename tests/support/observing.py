"""What a meter found in one frame, for tests that expect one thing at most."""

from collections.abc import Sequence

from gateway.metering.base import MeterResult


def the_one(found: Sequence[MeterResult]) -> MeterResult | None:
    """The only thing that was found, or None."""
    assert len(found) <= 1, found
    return found[0] if found else None
