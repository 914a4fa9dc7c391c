"""A Gemini client with the simulated providers of the OpenAI family."""

import asyncio

import pytest

from gateway.translate.usage import to_gemini
from simulator.faults import Faults
from tests.support.simulated_openai import SimulatedTalk
from tests.support.speech import silence, tone

PROVIDERS = pytest.mark.parametrize("provider", ["openai", "azure", "xai"])
# The simulator calls a function whose name it finds in the user's item: here always.
TOOL = [{"functionDeclarations": [{"name": "input_audio"}]}]


async def start(
    provider: str = "openai", faults: Faults | None = None, /, **setup: object
) -> SimulatedTalk:
    """A session whose setup was accepted."""
    talk = SimulatedTalk(provider, faults=faults)
    await talk.connect()
    talk.client(setup={"model": "models/m", **setup})
    await talk.until(lambda: talk.heard == [{"setupComplete": {}}])
    return talk


def logged(talk: SimulatedTalk) -> list[dict[str, object]]:
    """The usages of the responses as the client should have been told them."""
    return [to_gemini(u["usage"]) for u in talk.usages if u["kind"] == "response"]


@PROVIDERS
def test_a_conversation_by_voice_with_a_tool(provider: str) -> None:
    """Speech is heard, a function is called and answered, and each usage is told once."""

    async def play() -> None:
        talk = await start(
            provider, tools=TOOL, inputAudioTranscription={}, outputAudioTranscription={}
        )
        talk.speak(tone(1.0) + silence(1.0))
        await talk.turn()
        (call,) = talk.calls()
        answer = {"id": call["id"], "name": "input_audio", "response": {"result": "sunny"}}
        talk.client(toolResponse={"functionResponses": [answer]})
        await talk.turn()
        talk.client(realtimeInput={"text": "Thank you"})
        await talk.turn()
        talk.grammar.finish()
        assert not talk.errors
        assert not talk.ignored
        assert talk.texts("inputTranscription").startswith("Speech of")
        assert "I heard you" in talk.texts("outputTranscription")
        assert talk.told_usages() == logged(talk)
        assert len(talk.told_usages()) == 3
        kinds = [item["type"] for item in talk.translator.conversation.items]
        assert kinds == [
            "message", "function_call", "function_call_output", "message", "message", "message",
        ]  # fmt: skip

    asyncio.run(play())


@PROVIDERS
def test_the_end_of_the_stream_ends_the_speech(provider: str) -> None:
    """A microphone that is switched off in the middle of a word is answered."""

    async def play() -> None:
        talk = await start(provider)
        talk.speak(tone(0.5))
        talk.client(realtimeInput={"audioStreamEnd": True})
        await talk.turn()
        talk.grammar.finish()
        assert "turnComplete" in talk.heard[-1]["serverContent"]
        assert not talk.errors

    asyncio.run(play())


@PROVIDERS
@pytest.mark.parametrize("seconds", [0.02, 1.0])
def test_the_client_detects_the_activity(provider: str, seconds: float) -> None:
    """Speech between begin and end is answered, however short it is."""

    async def play() -> None:
        talk = await start(
            provider, realtimeInputConfig={"automaticActivityDetection": {"disabled": True}}
        )
        talk.speak(tone(0.2))
        talk.client(realtimeInput={"activityStart": {}})
        talk.speak(tone(seconds))
        talk.client(realtimeInput={"activityEnd": {}})
        await talk.turn()
        talk.grammar.finish()
        assert not talk.errors
        assert talk.told_usages() == logged(talk)

    asyncio.run(play())


@PROVIDERS
@pytest.mark.parametrize(
    "faults",
    [
        Faults(end="failed"),
        Faults(end="incomplete"),
        Faults(end="cancelled"),
        Faults(usage="missing"),
        Faults(usage="null"),
        Faults(is_done_doubled=True),
        Faults(is_quoting=True),
        Faults(transcription="before"),
        Faults(transcription="after"),
    ],
    ids=str,
)
def test_what_goes_wrong_at_the_provider_ends_the_turn_legally(
    provider: str, faults: Faults
) -> None:
    """Whatever the end of a response is, the client hears of a turn that is over, once."""

    async def play() -> None:
        talk = await start(provider, faults, inputAudioTranscription={})
        talk.speak(tone(0.5) + silence(1.0))
        await talk.turn()
        talk.client(realtimeInput={"text": "And now?"})
        await talk.turn()
        talk.grammar.finish()
        assert sum("turnComplete" in m.get("serverContent", {}) for m in talk.heard) == 2
        assert not talk.errors

    asyncio.run(play())


@PROVIDERS
def test_a_conversation_survives_its_connection(provider: str) -> None:
    """Another connection takes all items, and answers the next question."""

    async def play() -> None:
        talk = await start(provider, inputAudioTranscription={})
        talk.speak(tone(0.5) + silence(1.0))
        await talk.turn()
        talk.client(realtimeInput={"text": "Remember"})
        await talk.turn()
        await talk.disconnect()
        heard = len(talk.heard)
        await talk.connect()
        await talk.until(lambda: not talk.translator.is_waiting)
        assert len(talk.heard) == heard
        talk.client(realtimeInput={"text": "What did I say?"})
        await talk.turn()
        talk.grammar.finish()
        assert not talk.errors
        assert len(talk.translator.conversation.items) == 6

    asyncio.run(play())
