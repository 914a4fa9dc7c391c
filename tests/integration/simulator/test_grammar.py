"""The simulated providers speak by the grammar that clients may expect, in every conversation.

The same checkers are held to what the gateway translates; here they prove themselves.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support import grammar_gemini, grammar_openai
from tests.support import simulator_client_gemini as gemini
from tests.support.checked_clients import (
    COMMIT,
    SPEECH,
    TOOL,
    VERTEX,
    WRITTEN,
    Gemini,
    OpenAi,
    answer,
    update,
)
from tests.support.harness import Cluster
from tests.support.simulator_client import CREATE, Event, say, send, session, write
from tests.support.speech import silence, tone

PATHS = {"openai": "/v1/realtime", "xai": "/xai/v1/realtime"}


@asynccontextmanager
async def openai(provider: Cluster, name: str, **query: str) -> AsyncIterator[OpenAi]:
    """A conversation, which is over and right at the end."""
    async with session(provider, PATHS[name], **query) as socket:
        client = OpenAi(socket, is_xai=name == "xai")
        yield client
        await client.rest()
    client.checker.finish()


@pytest.mark.parametrize("name", PATHS)
async def test_turns_of_the_openai_family(provider: Cluster, name: str) -> None:
    """Spoken and written turns, a tool, and items that are added, truncated and deleted."""
    async with openai(provider, name) as client:
        await client.say(update(transcriber="whisper-1"), *say(SPEECH))
        spoken = await client.until("response.done")
        await client.respond(WRITTEN, write("Good morning"))
        call = (await client.respond(update(tools=[TOOL]), write("the weather?")))["output"][0]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "{}"}
        await client.respond({"type": "conversation.item.create", "item": output})
        item_id = spoken["response"]["output"][0]["id"]
        place = {"item_id": item_id, "content_index": 0, "audio_end_ms": 10}
        await client.say({"type": "conversation.item.truncate", **place})
        await client.say({"type": "conversation.item.delete", "item_id": item_id})
        await client.respond(update(is_manual=True), *say(tone(0.3)), COMMIT)
        await client.say(*say(tone(0.3)), {"type": "input_audio_buffer.clear"})
    assert client.checker.kinds.count("response.done") == 5


@pytest.mark.parametrize("name", PATHS)
async def test_responses_of_the_openai_family_that_are_cut(provider: Cluster, name: str) -> None:
    """By the client, by a voice, and at a limit of tokens."""
    async with openai(provider, name, pace="4", reply_ms="20000") as client:
        await client.say(CREATE)
        await client.until("response.output_audio.delta")
        await client.say({"type": "response.cancel"})
        await client.until("response.done")
        await client.say(CREATE)
        await client.until("response.output_audio.delta")
        await client.say(*say(tone(0.3) + silence(0.6)))
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        await client.until("response.done")
        limited = {**CREATE, "response": {"max_output_tokens": 5}}
        await client.say(limited)
        assert (await client.until("response.done"))["response"]["status"] == "incomplete"


@pytest.mark.parametrize("query", [
    {"end": "failed"}, {"end": "cancelled"}, {"end": "incomplete"}, {"usage": "null"},
    {"usage": "zero"}, {"quote": "done"}, {"spelling": "odd"}, {"fragment": "3"},
])  # fmt: skip
@pytest.mark.parametrize("name", PATHS)
async def test_what_fails_does_so_by_the_grammar(
    provider: Cluster, name: str, query: dict[str, str]
) -> None:
    """Ends, usages and spellings are another matter."""
    async with openai(provider, name, **query) as client:
        await client.respond()
        await client.respond(WRITTEN)
        await client.respond(update(tools=[TOOL]), write("the weather?"))


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("transcriber", ["whisper-1", "gpt-4o-transcribe", "gpt-realtime-whisper"])
async def test_transcripts(provider: Cluster, when: str, transcriber: str) -> None:
    """Their deltas add up, wherever they come, and whether they stream."""
    async with openai(provider, "openai", transcription=when) as client:
        await client.respond(
            update(transcriber=transcriber, is_manual=True), *say(tone(1.0)), COMMIT
        )
        if when == "after":
            await client.until(f"{grammar_openai.TRANSCRIPTION}.completed")


@asynccontextmanager
async def live(
    provider: Cluster,
    setup: Event,
    *,
    path: str = gemini.PATH,
    has_loose_usage: bool = False,
    **query: str,
) -> AsyncIterator[Gemini]:
    """A conversation, which is over and right at the end."""
    headers = {"Authorization": "Bearer k"}
    checker = grammar_gemini.Checker(is_vertex=path == VERTEX, has_loose_usage=has_loose_usage)
    async with gemini.session(provider, {}, path=path, headers=headers, **query) as socket:
        client = Gemini(socket, checker)
        await client.say({"setup": setup})
        yield client
    checker.finish()


MODELS = ["models/gemini-3.1-flash-live-preview", "models/gemini-2.5-flash-native-audio"]


@pytest.mark.parametrize("path", [gemini.PATH, VERTEX])
@pytest.mark.parametrize("model", MODELS)
async def test_turns_of_gemini(provider: Cluster, path: str, model: str) -> None:
    """Spoken and written turns, a tool, a resumable session."""
    setup = {
        **gemini.SETUP, "model": model, "tools": [gemini.WEATHER, {"googleSearch": {}}],
        "sessionResumption": {},
    }  # fmt: skip
    async with live(provider, setup, path=path) as client:
        await client.turn(*gemini.speech(SPEECH))
        await client.turn(gemini.content("Good morning"))
        await client.say(gemini.content("What is the weather?"))
        call = (await client.until("toolCall"))["functionCalls"][0]
        if path == VERTEX:
            await client.until("serverContent", "turnComplete")
        await client.turn(answer(call))
        await client.turn({"realtimeInput": {"text": "Go on"}})
        await client.until("sessionResumptionUpdate")


async def test_turns_of_gemini_that_are_cut(provider: Cluster) -> None:
    """By a voice, by what is written, and while a tool is waited for."""
    setup = {**gemini.SETUP, "tools": [gemini.WEATHER]}
    async with live(provider, setup, pace="4", reply_ms="20000") as client:
        await client.say(gemini.content("Good morning"))
        await client.until("serverContent", "modelTurn")
        await client.turn(*gemini.speech(tone(0.3) + silence(0.6)))
        await client.until("serverContent", "modelTurn")
        await client.turn(gemini.content("What is the weather?"))
        await client.until("toolCall")
        await client.turn({"clientContent": {"turnComplete": False}})


@pytest.mark.parametrize("query", [
    {"usage": "missing"}, {"usage": "zero"}, {"usage_at": "twice"}, {"quote": "done"},
    {"usage_at": "standalone_before"}, {"usage_at": "standalone_after"}, {"spelling": "odd"},
    {"end": "incomplete"}, {"end": "cancelled"}, {"go_away_ms": "1"}, {"fragment": "3"},
])  # fmt: skip
async def test_what_is_odd_with_gemini_is_so_by_the_grammar(
    provider: Cluster, query: dict[str, str]
) -> None:
    """Ends, usages and spellings are another matter."""
    async with live(provider, gemini.SETUP, has_loose_usage="usage_at" in query, **query) as client:
        await client.turn(gemini.content("Good morning"))
        await client.turn(gemini.content("Go on"))


async def test_a_failure_of_gemini_cuts_the_turn(provider: Cluster) -> None:
    """It closes, for there are no error messages."""
    async with gemini.session(provider, gemini.SETUP, end="failed") as socket:
        checker = grammar_gemini.Checker()
        checker.see({"setupComplete": {}})
        await send(socket, gemini.content("Good morning"))
        with pytest.raises(ConnectionClosed):
            while True:
                checker.see(await socket.recv())
    checker.finish(is_cut=True)
