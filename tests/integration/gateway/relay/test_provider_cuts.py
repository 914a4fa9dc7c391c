"""Whenever the network to the provider breaks: the conversation is whole, and so are the books."""

import secrets

from tests.chaos.provider_cuts import run


async def test_conversations_outlast_a_network_that_breaks() -> None:
    """Twenty clients, ten cuts: no client's socket is closed, what was said reaches the provider
    exactly once, what was heard is charged once, and nobody is dialled for clients that are gone.
    """
    seed = secrets.randbits(32)
    found = await run(seed=seed, clients=20, cuts=10, pause_s=0.6)
    assert found.problems() == [], f"seed {seed}"
    assert sum(talker.statuses["completed"] for talker in found.talkers) > 40
    assert found.dials > 10 * len(found.talkers) / 2
