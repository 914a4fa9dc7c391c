"""A program with livekit's plugin for OpenAI Realtime that tells a tale, without a room."""

import asyncio
import os

import aiohttp
from livekit.agents import llm
from livekit.plugins.openai import realtime

from clients.heavy.livekit_openai import ask, get_weather, push, tool_called
from clients.outcome import ASK_STORY, SAID, Outcome
from clients.tale import BRIEF, FRENCH, LAST, NAME


async def main() -> None:
    """All turns; the plugin's user says when a turn of the user's is over."""
    provider = os.environ["PROVIDER"]
    there = f"/provider/{provider}" if provider else ""
    outcome = Outcome()
    async with aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(
            model=os.environ["MODEL"],
            base_url=os.environ["GATEWAY_URL"].replace("ws", "http", 1) + f"{there}/v1/realtime",
            api_key=os.environ["API_KEY"],
            turn_detection=None,
            http_session=http,
        )
        session = model.session()
        session.on("error", lambda error: print("error:", error))
        await session.update_instructions(BRIEF)
        await session.update_tools([get_weather])

        push(session, SAID)
        session.commit_audio()
        words, outcome.heard = await answer(session)
        outcome.answers.append(words)
        await ask(session, NAME)
        outcome.answers.append((await answer(session))[0])
        outcome.tool = await tool_called(session)
        outcome.answers.append((await answer(session))[0])
        await session.update_instructions(FRENCH)
        await ask(session, ASK_STORY)
        outcome.interrupted = await cut(session)
        await ask(session, LAST)
        outcome.answers.append((await answer(session))[0])
        await session.aclose()
    print(outcome.to_json())


async def answer(session: llm.RealtimeSession) -> tuple[str, bytes]:
    """Ask for an answer: its words and its audio."""
    words, audio = "", b""
    async for message in (await session.generate_reply()).message_stream:
        async for frame in message.audio_stream:
            audio += bytes(frame.data)
        words += "".join([str(piece) async for piece in message.text_stream])
    return words, audio


async def cut(session: llm.RealtimeSession) -> str:
    """Ask for the story, which waits to be cut, and cut it at its first sound."""
    metrics: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
    session.on("metrics_collected", metrics.put_nowait)
    async for message in (await session.generate_reply()).message_stream:
        async for _ in message.audio_stream:
            session.interrupt()
            break
    return "cancelled" if (await metrics.get()).cancelled else ""


if __name__ == "__main__":
    asyncio.run(main())
