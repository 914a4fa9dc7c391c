"""A program with livekit's plugin for Gemini Live, without a room."""

import asyncio
import os
import ssl

from google.genai import types
from livekit.agents import llm
from livekit.plugins.google import realtime

from clients.heavy.livekit_openai import get_weather, heard, push, tool_called
from clients.outcome import SAID, Outcome
from tests.support.speech import RATE_HZ, silence


async def main() -> None:
    """A spoken turn, a tool call, an interruption by voice."""
    tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    named = os.environ["PROVIDER"]
    provider = f"/provider/{named}" if named else ""
    model = realtime.RealtimeModel(
        model=os.environ["MODEL"],
        api_key=os.environ["API_KEY"],
        http_options=types.HttpOptions(
            base_url=os.environ["GATEWAY_URL_TLS"].replace("wss", "https", 1) + provider,
            async_client_args={"ssl": tls},
        ),
    )
    outcome = Outcome()
    session = model.session()
    generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
    session.on("generation_created", generations.put_nowait)
    session.on("error", lambda error: print("error:", error))

    await session.update_tools([get_weather])

    push(session, SAID + silence(1.5))
    outcome.heard = await heard(await generations.get())

    outcome.tool = await tool_called(session)
    await heard(await generations.get())

    generation = await session.generate_reply()
    story = await heard(generation, on_first=lambda: push(session, SAID))
    if len(story) < 2 * RATE_HZ * 2:  # the simulator's answer takes two seconds
        outcome.interrupted = "interrupted"
    await session.aclose()
    print(outcome.to_json())


if __name__ == "__main__":
    asyncio.run(main())
