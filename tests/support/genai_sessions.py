"""Google's own SDK on a gateway without TLS: a client, a question, and the answer to it."""

import asyncio

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from tests.support.harness import Cluster


def google(cluster: Cluster, key: str) -> genai.Client:
    """The SDK, on a connection without TLS."""
    client = genai.Client(api_key=key)
    api = client._api_client
    api._websocket_base_url = lambda _options: f"ws://{cluster.address}"
    api._websocket_ssl_ctx = {}
    return client


async def ask(session: AsyncSession, words: str) -> None:
    """Ask in writing."""
    turn = types.Content(role="user", parts=[types.Part(text=words)])
    await session.send_client_content(turns=turn, turn_complete=True)


async def answer(session: AsyncSession) -> tuple[str, list[types.LiveServerMessage]]:
    """The words of one turn, and its messages."""
    words, heard = "", []
    async with asyncio.timeout(20):
        async for message in session.receive():
            heard.append(message)
            content = message.server_content
            if content is not None and content.output_transcription is not None:
                words += content.output_transcription.text or ""
    return words, heard


def of_user(words: str) -> list[str]:
    """What the user has said, as the simulator recalls it."""
    return [x.removeprefix("user ") for x in words.split(" | ") if x.startswith("user ")]
