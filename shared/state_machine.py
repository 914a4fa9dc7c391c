"""State machines whose legal moves are a table beside their states. Pure.

A state is an ``Enum`` member, and a table says for every state which ones may follow. Whoever holds
the state moves with ``advance``, so a move that is not in the table is found where it happens.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)


def advance(table: Mapping[S, AbstractSet[S]], before: S, after: S) -> S:
    """``after``, which must be allowed to follow ``before``:

    ``self.state = advance(TRANSITIONS, self.state, State.ENDED)``
    """
    assert after in table[before], f"{before} -> {after}"
    return after
