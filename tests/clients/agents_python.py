"""A program with openai-agents, in an environment of its own: it wants an older ``websockets``.

Nothing is configured but the URL and the key: voices are detected as the SDK asks for by default.
"""

import asyncio
import os
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner

from clients.outcome import ASK_STORY, ASK_TOOL, SAID, Outcome
from tests.support.speech import chunks, silence, tone

outcome = Outcome()


@function_tool
async def get_weather(question: str, unit: str) -> str:
    """The weather of a place."""
    outcome.tool = "get_weather"
    return '{"celsius": 21}'


async def main() -> None:
    """A spoken turn, a tool call, an interruption by voice."""
    agent = RealtimeAgent(name="Weather", instructions="Be brief.", tools=[get_weather])
    url = f"{os.environ['GATEWAY_URL']}/v1/realtime?model={os.environ['MODEL']}"
    config: Any = {"url": url, "api_key": os.environ["API_KEY"]}
    async with await RealtimeRunner(agent).run(model_config=config) as session:
        for piece in chunks(SAID + silence(1.0)):
            await session.send_audio(piece)
        await listen(session, turns=1)

        await session.send_message(ASK_TOOL)
        await listen(session, turns=2)

        await session.send_message(ASK_STORY)
        await until(session, "audio")
        for piece in chunks(tone(0.5)):
            await session.send_audio(piece)
        await until(session, "audio_interrupted")
        done = await until(session, "raw_model_event", server_event="response.done")
        outcome.interrupted = done.data.data["response"]["status"]
    print(outcome.to_json())


async def listen(session: Any, *, turns: int) -> None:
    """Hear the agent out; the first answer is kept."""
    is_first = not outcome.heard
    while turns:
        event = await until(session)
        if event.type == "audio" and is_first:
            outcome.heard += event.audio.data
        turns -= event.type == "agent_end"


async def until(session: Any, kind: str = "", *, server_event: str = "") -> Any:
    """The next event of a kind."""
    async for event in session:
        assert event.type != "error", event
        if server_event:
            raw = getattr(event, "data", None)
            if getattr(raw, "type", "") == "raw_server_event" and raw.data["type"] == server_event:
                return event
        elif kind in ("", event.type):
            return event
    raise AssertionError(f"the session ended before {kind or 'anything'}")


asyncio.run(main())
