"""A client that comes back with the name of its session continues its conversation, wherever."""

import asyncio
import json
import signal

from tests.support.harness import Cluster, eventually
from tests.support.named_sessions import storing_cluster, talker


def stored(cluster: Cluster, session: str) -> str:
    """What accountd has of a conversation, as text."""
    found = cluster.ask("sessions.list", account_id=None, limit=None)["sessions"]
    for row in found:
        if row["session_id"] == session:
            params = {"account_id": row["account_id"], "session_id": session}
            return json.dumps(cluster.ask("sessions.show", **params)["items"])
    return ""


async def until_stored(cluster: Cluster, session: str, words: str) -> None:
    """Wait until accountd has these words."""
    await asyncio.to_thread(eventually, lambda: words in stored(cluster, session))


async def test_a_conversation_survives_its_gateway() -> None:
    """Two turns, the gateway is killed, and the third turn at another one knows the first."""
    async with storing_cluster(2) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        first, second = cluster.gateways
        async with talker(first, key, "ada") as client:
            await client.say("My name is Ada")
            await client.say("I like tea")
            await until_stored(cluster, "ada", "I like tea")
            first.process.send_signal(signal.SIGKILL)
        async with talker(second, key, "ada") as client:
            answer = await client.say("What do you know?")
    assert answer == (
        "Recalled | user My name is Ada | model | user I like tea | model | user What do you know?"
    )
