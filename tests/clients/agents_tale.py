"""A program with openai-agents that tells a tale, in an environment of its own.

It talks all the time: voices are detected, and a story is cut by one.
"""

import asyncio
import os
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner

from clients.outcome import ANSWER, ASK_STORY, ASK_TOOL, SAID, Outcome
from clients.tale import BRIEF, FRENCH, LAST, NAME
from tests.support.speech import chunks, silence

outcome = Outcome()
QUIET = silence(1.0)


@function_tool
async def get_weather(question: str, unit: str) -> str:
    """The weather of a place."""
    outcome.tool = "get_weather"
    return ANSWER


async def main() -> None:
    """All turns."""
    provider = os.environ["PROVIDER"]
    there = f"/provider/{provider}" if provider else ""
    url = f"{os.environ['GATEWAY_URL']}{there}/v1/realtime?model={os.environ['MODEL']}"
    config: Any = {"url": url, "api_key": os.environ["API_KEY"]}
    agent = RealtimeAgent(name="Weather", instructions=BRIEF, tools=[get_weather])
    async with await RealtimeRunner(agent).run(model_config=config) as session:
        await say(session, SAID + QUIET)
        await keep(session)
        await session.send_message(NAME)
        await keep(session)
        await session.send_message(ASK_TOOL)
        await response(session)  # the call
        await keep(session)
        await session.update_agent(agent.clone(instructions=FRENCH))
        await session.send_message(ASK_STORY)
        await until(session, "audio")
        await say(session, SAID + QUIET)
        await until(session, "audio_interrupted")
        outcome.interrupted = (await response(session))["status"]
        await response(session)  # to the voice that interrupted
        await session.send_message(LAST)
        await keep(session)
    print(outcome.to_json())


async def say(session: Any, pcm: bytes) -> None:
    """Speak."""
    for piece in chunks(pcm):
        await session.send_audio(piece)


async def keep(session: Any) -> None:
    """The words of the next answer."""
    (item,) = (await response(session))["output"]
    outcome.answers.append(item["content"][0]["transcript"])


async def response(session: Any) -> Any:
    """The next response that is done."""
    while True:
        event = await until(session, "raw_model_event")
        if event.data.type == "raw_server_event" and event.data.data["type"] == "response.done":
            return event.data.data["response"]


async def until(session: Any, kind: str) -> Any:
    """The next event of a kind; the audio of the first answer is kept."""
    async for event in session:
        assert event.type != "error", event
        if event.type == "audio" and not outcome.answers:
            outcome.heard += event.audio.data
        if event.type == kind:
            return event
    raise AssertionError(f"the session ended before {kind}")


asyncio.run(main())
