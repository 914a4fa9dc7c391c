"""Whenever a provider is cut off: the conversation is whole, and so are the books."""

import secrets

import pytest

from tests.chaos.provider_cuts import run
from tests.chaos.talkers import MOVING, MovingGeminiTalker


@pytest.mark.parametrize(("is_killed", "blows", "pause_s"), [(False, 10, 0.6), (True, 3, 0.8)])
async def test_conversations_outlast_their_provider(
    is_killed: bool, blows: int, pause_s: float
) -> None:
    """Twenty clients of each protocol; a network that breaks, or a provider that is killed, while
    others are drained: no client's socket is closed, what was said reaches the provider exactly
    once, what was heard is charged once, and nobody is dialled for clients that are gone.
    """
    seed, clients = secrets.randbits(32), 20
    found = await run(seed=seed, clients=clients, blows=blows, pause_s=pause_s, is_killed=is_killed)
    assert found.problems() == [], f"seed {seed}"
    assert sum(talker.statuses["completed"] for talker in found.talkers) > 2 * clients
    moving = [x for x in found.talkers if isinstance(x, MovingGeminiTalker)]
    assert {name for x in moving for name in found.served[x.account]} == set(MOVING)
    assert found.dials > blows * clients / 2
