"""What a meter found in one frame, for tests that expect one thing at most."""

from collections.abc import Sequence

from gateway.metering.base import Found


def the_one(found: Sequence[Found]) -> Found | None:
    """The only thing that was found, or None."""
    assert len(found) <= 1, found
    return found[0] if found else None
