"""Moves of state machines."""

from enum import Enum, auto

import pytest

from shared.state_machine import advance


class Door(Enum):
    """A machine of two states."""

    OPEN = auto()
    SHUT = auto()


TABLE = {Door.OPEN: {Door.SHUT}, Door.SHUT: set[Door]()}


def test_a_move_in_the_table_is_made() -> None:
    """The answer is the new state."""
    assert advance(TABLE, Door.OPEN, Door.SHUT) is Door.SHUT


@pytest.mark.parametrize(
    ("before", "after"), [(Door.SHUT, Door.OPEN), (Door.OPEN, Door.OPEN), (Door.SHUT, Door.SHUT)]
)
def test_any_other_move_is_found_where_it_happens(before: Door, after: Door) -> None:
    """Staying is a move, too."""
    with pytest.raises(AssertionError, match=f"{before} -> {after}"):
        advance(TABLE, before, after)
