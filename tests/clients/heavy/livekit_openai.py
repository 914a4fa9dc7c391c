"""A program with livekit's plugin for OpenAI Realtime, without a room."""

import asyncio
import os

import aiohttp
from livekit import rtc
from livekit.agents import llm
from livekit.plugins.openai import realtime

from clients.outcome import ANSWER, ASK_STORY, ASK_TOOL, SAID, Outcome
from tests.support.speech import RATE_HZ, chunks


@llm.function_tool
async def get_weather(question: str, unit: str) -> str:
    """The weather of a place."""
    return ANSWER


async def hold(model: llm.RealtimeModel) -> Outcome:
    """A spoken turn, a tool call, an interruption."""
    outcome = Outcome()
    session = model.session()
    session.on("error", lambda error: print("error:", error))
    await session.update_tools([get_weather])

    push(session, SAID)
    session.commit_audio()
    outcome.heard = await heard(await session.generate_reply())

    outcome.tool = await tool_called(session)
    await heard(await session.generate_reply())

    await ask(session, ASK_STORY)
    generation = await session.generate_reply()
    story = await heard(generation, on_first=session.interrupt)
    if len(story) < 2 * RATE_HZ * 2:  # the simulator's story takes two seconds
        outcome.interrupted = "cut"
    await session.aclose()
    return outcome


def push(session: llm.RealtimeSession, pcm: bytes) -> None:
    """Speak."""
    for piece in chunks(pcm):
        session.push_audio(rtc.AudioFrame(piece, RATE_HZ, 1, len(piece) // 2))


async def ask(session: llm.RealtimeSession, text: str) -> None:
    """Say something in writing."""
    context = session.chat_ctx.copy()
    context.add_message(role="user", content=text)
    await session.update_chat_ctx(context)


async def tool_called(session: llm.RealtimeSession) -> str:
    """Ask for what needs a tool, and answer its call; the tool's name."""
    await ask(session, ASK_TOOL)
    name, context = "", session.chat_ctx.copy()
    async for call in (await session.generate_reply()).function_stream:
        name = call.name
        context = session.chat_ctx.copy()
        context.insert(
            llm.FunctionCallOutput(call_id=call.call_id, name=name, output=ANSWER, is_error=False)
        )
    await session.update_chat_ctx(context)
    return name


async def heard(generation: llm.GenerationCreatedEvent, on_first=lambda: None) -> bytes:
    """The audio of an answer to its end."""
    audio = b""
    async for message in generation.message_stream:
        async for frame in message.audio_stream:
            if not audio:
                on_first()
            audio += bytes(frame.data)
    return audio


async def main() -> None:
    """Connect with the plugin's own parameters only."""
    async with aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(
            model=os.environ["MODEL"],
            base_url=os.environ["GATEWAY_URL"].replace("ws", "http", 1) + "/v1",
            api_key=os.environ["API_KEY"],
            turn_detection=None,
            http_session=http,
        )
        print((await hold(model)).to_json())


if __name__ == "__main__":
    asyncio.run(main())
