"""The official openai-python client, unmodified, comes back to its conversation."""

import asyncio
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.support.harness import Cluster, Daemon, eventually
from tests.support.named_sessions import RECALL, new_key


async def said(gateway: Daemon, key: str, name: str, words: str, *, core: str) -> str:
    """The SDK's client connects, says something, and hears an answer to its end."""
    client = AsyncOpenAI(api_key=key, base_url=f"http://{gateway.field('listen')}/v1")
    query = {"rs_sessid": name, "rs_core": core}
    written: Any = {"type": "realtime", "output_modalities": ["text"]}
    content: Any = [{"type": "input_text", "text": words}]
    async with client.realtime.connect(model=RECALL, extra_query=query) as connection:
        await connection.session.update(session=written)
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )
        await connection.response.create()
        async for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_text.done":
                found = event.text
            elif event.type == "response.done":
                return found
    raise AssertionError("the connection ended before its response")


@pytest.mark.parametrize(("first", "then"), [("GEMINI", "OPENAI"), ("OPENAI", "GEMINI")])
async def test_openais_sdk_comes_back(pair: Cluster, first: str, then: str) -> None:
    """To another gateway, and there to a provider of another protocol."""
    key, name = new_key(pair, "a"), f"sdk-{first}"
    one, two = pair.gateways
    await said(one, key, name, "My name is Ada", core=first)

    def is_stored() -> bool:
        found = pair.ask("sessions.show", account_id="a", session_id=name)
        return "Recalled" in str(found["items"])

    await asyncio.to_thread(eventually, is_stored)
    answer = await said(two, key, name, "Who am I?", core=then)
    assert answer == "Recalled | user My name is Ada | model | user Who am I?"
