"""A client sees the grammar of its own protocol, whatever the provider speaks, whatever happens.

The gateway and the simulated providers are real processes; the checkers are those that the
simulated providers themselves are held to.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support import grammar_gemini
from tests.support import simulator_client_gemini as gemini
from tests.support.checked_clients import (
    COMMIT,
    SPEECH,
    TOOL,
    WRITTEN,
    Gemini,
    OpenAi,
    answer,
    update,
)
from tests.support.harness import cluster_folder
from tests.support.simulator_client import CREATE, Event, say, write
from tests.support.speech import silence, tone

# Providers that end within a second are replaced again and again, without a long pause.
SOON_REPLACED = {
    "gateway.relay.replacement.PAUSE_S": 0.01,
    "gateway.relay.replacement.GOOD_S": 0.5,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client connects, and with which key."""

    address: str
    key: str


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A gateway whose every provider is simulated, as fast as it can."""
    with cluster_folder() as running:
        running.start_accountd()
        simulator = running.start_simulator("--pace", "0")
        host = f"http://{simulator.field('listen')}"
        running.start_gateway(
            XAI_API_KEY="k", XAI_BASE_URL=f"{host}/xai/v1", GEMINI_API_KEY="k",
            GEMINI_BASE_URL=host, tuned=SOON_REPLACED,
        )  # fmt: skip
        yield Place(running.address, running.create_account("a"))
        assert running.audit()["ok"]


@asynccontextmanager
async def openai(
    place: Place, model: str, *, is_cut: bool = False, **query: str
) -> AsyncIterator[OpenAi]:
    """A client of OpenAI's, led to Gemini."""
    pairs = "&".join(f"{n}={v}" for n, v in {"provider": "gemini", "model": model, **query}.items())
    headers = {"Authorization": f"Bearer {place.key}"}
    async with connect(
        f"ws://{place.address}/v1/realtime?{pairs}", additional_headers=headers
    ) as socket:
        client = OpenAi(socket, is_xai=False)
        yield client
        if not is_cut:
            await client.rest()
    client.checker.finish(is_cut=is_cut)


@asynccontextmanager
async def live(
    place: Place, provider: str, model: str, *, is_cut: bool = False, **setup: object
) -> AsyncIterator[Gemini]:
    """A client of Gemini's, led to ``provider``."""
    url = f"ws://{place.address}/provider/{provider}{gemini.PATH}"
    headers = {"x-goog-api-key": place.key}
    async with connect(url, additional_headers=headers, max_size=2**20) as socket:
        client = Gemini(socket, grammar_gemini.Checker())
        await client.say({"setup": {**gemini.SETUP, "model": f"models/{model}", **setup}})
        yield client
    client.checker.finish(is_cut=is_cut)


MODELS = [
    "gemini-3.8-live", "gemini-2.5-flash-native-audio", "sim-activity", "sim-usage_style-vertex",
    "sim-usage_at-standalone_before", "sim-usage_at-standalone_after", "sim-usage_at-twice",
    "sim-usage-missing", "sim-usage-zero", "sim-spelling", "sim-fragment",
    "sim-quote", "sim-end-incomplete", "sim-end-cancelled",
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
async def test_turns_of_gemini_for_a_client_of_openai(place: Place, model: str) -> None:
    """Spoken, written, with a tool, committed by the client; items that come and go."""
    async with openai(place, model) as client:
        await client.say(update(transcriber="whisper-1"), *say(SPEECH))
        spoken = await client.until("response.done")
        await client.respond(write("Good morning"))
        if "end" not in model:  # else it ends before it calls
            asked = await client.respond(update(tools=[TOOL]), write("the weather?"))
            call_id = asked["output"][0]["call_id"]
            output = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
            await client.respond({"type": "conversation.item.create", "item": output})
        item_id = spoken["response"]["output"][0]["id"]
        heard = {"item_id": item_id, "content_index": 0, "audio_end_ms": 10}
        await client.say({"type": "conversation.item.truncate", **heard})
        await client.say({"type": "conversation.item.delete", "item_id": item_id})
        await client.respond(update(is_manual=True), *say(tone(0.3)), COMMIT)
        await client.say(*say(tone(0.3)), {"type": "input_audio_buffer.clear"})
    assert client.checker.kinds.count("response.done") == (3 if "end" in model else 5)


async def test_words_of_gemini_for_a_client_of_openai(place: Place) -> None:
    """A client that wants text gets it."""
    async with openai(place, "gemini-3.8-live") as client:
        response = await client.respond(WRITTEN, write("Good morning"))
    assert response["output"][0]["content"][0]["type"] == "output_text"


async def test_answers_of_gemini_that_are_cut(place: Place) -> None:
    """By the client before and after it has begun, and by a voice."""
    async with openai(place, "sim-held") as client:
        await client.say(write("A story, please"), CREATE)
        await client.until("response.output_audio.delta")
        await client.say({"type": "response.cancel"})
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        await client.say(write("Another story"), CREATE, {"type": "response.cancel"})
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        await client.say(write("One more story"), CREATE)
        await client.until("response.output_audio.delta")
        await client.say(*say(tone(0.3) + silence(0.6)))
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        assert (await client.until("response.done"))["response"]["status"] == "completed"


async def test_a_session_outlasts_those_of_gemini(place: Place) -> None:
    """Whose end is announced, and which is resumed; the client hears nothing of it."""
    async with openai(place, "sim-recall,go_away_ms-200") as client:
        for number in range(12):
            response = await client.respond(write(f"This is {number}"))
            said = response["output"][0]["content"][0]["transcript"]
            assert said.count("user This is") == number + 1
            await asyncio.sleep(0.1)


async def test_a_failure_of_gemini_is_told_by_the_grammar(place: Place) -> None:
    """The response ends, and the session goes on or is closed."""
    async with openai(place, "sim-end-failed", is_cut=True) as client:
        with pytest.raises(ConnectionClosed):
            while True:
                await client.respond(write("Good morning"))


FAMILY_MODELS = [
    "m", "sim-transcription-before", "sim-transcription-after", "sim-usage-null",
    "sim-usage-missing", "sim-usage-zero", "sim-spelling", "sim-fragment", "sim-quote",
    "sim-end-incomplete", "sim-end-cancelled", "sim-end-failed", "sim-duplicate-done",
]  # fmt: skip
OWN = {"xai": ("sim-transcription-before", "sim-transcription-after")}
CASES = [
    (provider, model) for provider in ("openai", "xai")
    for model in FAMILY_MODELS if model not in OWN.get(provider, ())
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model"), CASES)
async def test_turns_of_the_family_for_a_client_of_gemini(
    place: Place, provider: str, model: str
) -> None:
    """Spoken, written, with a tool; and a pause of the microphone."""
    async with live(place, provider, model, tools=[gemini.WEATHER]) as client:
        await client.turn(*gemini.speech(SPEECH))
        await client.turn(gemini.content("Good morning"))
        if "end" not in model:  # else it ends before it calls
            await client.say(gemini.content("What is the weather?"))
            call = (await client.until("toolCall"))["functionCalls"][0]
            await client.turn(answer(call))
        await client.turn({"realtimeInput": {"text": "Go on"}})
        await client.say({"realtimeInput": {"audioStreamEnd": True}})
        await client.turn(gemini.content("Good bye"))


MANUAL = {"automaticActivityDetection": {"disabled": True}}


@pytest.mark.parametrize("provider", ["openai", "xai"])
async def test_activities_for_a_client_of_gemini(place: Place, provider: str) -> None:
    """A client that says itself when it speaks, and cuts an answer by that."""
    start: Event = {"realtimeInput": {"activityStart": {}}}
    end: Event = {"realtimeInput": {"activityEnd": {}}}
    async with live(place, provider, "sim-held", realtimeInputConfig=MANUAL) as client:
        await client.turn(start, *gemini.speech(tone(0.5), 16_000), end)
        await client.say(gemini.content("A story, please"))
        await client.until("serverContent", "modelTurn")
        await client.turn(start)
        await client.turn(*gemini.speech(tone(0.5), 16_000), end)


@pytest.mark.parametrize("provider", ["openai", "xai"])
async def test_answers_of_the_family_that_are_cut(place: Place, provider: str) -> None:
    """By a voice, by content, and by content that is not complete."""
    async with live(place, provider, "sim-held") as client:
        await client.say(gemini.content("A story, please"))
        await client.until("serverContent", "modelTurn")
        await client.turn(*gemini.speech(tone(0.3) + silence(0.6)))
        await client.until("serverContent", "turnComplete")
        await client.say(gemini.content("Another story"))
        await client.until("serverContent", "modelTurn")
        await client.turn(gemini.content("No, stop"))
        await client.until("serverContent", "turnComplete")
        await client.say(gemini.content("One more story"))
        await client.until("serverContent", "modelTurn")
        await client.turn({"clientContent": {"turnComplete": False}})


WHOLE = 8  # answers, so that there were three sessions


@pytest.mark.parametrize("provider", ["openai", "xai"])
async def test_a_session_outlasts_those_of_the_family(place: Place, provider: str) -> None:
    """Which end without a notice; another one is told all that was said.

    The end may come in the middle of an answer, which it cuts, and on a busy machine often does.
    """
    asked = whole = 0
    async with live(place, provider, "sim-recall,expire_ms-600") as client, asyncio.timeout(60):
        while whole < WHOLE:
            asked += 1
            said = await client.turn(gemini.content(f"This is {asked}"))
            assert said.count("user This is") <= asked
            whole += said.count("user This is") == asked
            await asyncio.sleep(0.2)  # so that most of the time no answer is under way
