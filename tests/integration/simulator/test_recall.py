"""With ``recall`` a reply says what has reached the provider: context, tools, instructions."""

import json

from tests.support import simulator_client_gemini as gemini
from tests.support.harness import Cluster
from tests.support.simulator_client import CREATE, Event, say, send, session, until, write
from tests.support.speech import tone

ASKED = {"recall": "all"}
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}
MANUAL = {"input": {"turn_detection": None}}
OLD = [
    ("user", "input_text", "Call the weather"), ("assistant", "output_text", "It rains."),
]  # fmt: skip


def update(**settings: object) -> Event:
    """A session.update."""
    return {"type": "session.update", "session": {"type": "realtime", **settings}}


def transcript(events: list[Event]) -> str:
    """What the last response says."""
    part = events[-1]["response"]["output"][0]["content"][0]
    return str(part.get("transcript") or part.get("text"))


async def test_turns_depend_on_those_before(provider: Cluster) -> None:
    """OpenAI: speech, a tool's output, a change of instructions, in words and in writing."""
    async with session(provider, "/v1/realtime", **ASKED) as socket:
        await send(socket, update(audio=MANUAL, tools=[TOOL]), *say(tone(0.5)))
        await send(socket, {"type": "input_audio_buffer.commit"}, CREATE)
        first = transcript(await until(socket, "response.done"))
        assert first == "Recalled | user Speech of 500 milliseconds."
        await send(socket, write("The weather?"), CREATE)
        call = (await until(socket, "response.done"))[-1]["response"]["output"][0]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "21"}
        await send(socket, {"type": "conversation.item.create", "item": output}, CREATE)
        second = transcript(await until(socket, "response.done"))
        assert second == f"{first} | model | user The weather? | call weather | tool 21"
        brief = update(instructions="Be brief.", output_modalities=["text"])
        await send(socket, brief, write("And now?"), CREATE)
        third = transcript(await until(socket, "response.done"))
    expected = second.replace("Recalled", "Recalled | told Be brief.")
    assert third == f"{expected} | model | user And now?"


async def test_old_items_are_known_and_answered(provider: Cluster) -> None:
    """OpenAI: what a client tells of an earlier session, where a tool is not called again."""
    async with session(provider, "/xai/v1/realtime", **ASKED) as socket:
        await send(socket, update(tools=[TOOL], output_modalities=["text"]))
        for role, kind, text in OLD:
            content = [{"type": kind, "text": text}]
            item = {"type": "message", "role": role, "content": content}
            await send(socket, {"type": "conversation.item.create", "item": item})
        await send(socket, write("And now?"), CREATE)
        said = transcript(await until(socket, "response.done"))
    assert said == "Recalled | user Call the weather | model | user And now?"


def spoken(messages: list[Event]) -> str:
    """The words of a turn of Gemini."""
    found = [m.get("serverContent", {}) for m in messages]
    parts = [part for c in found for part in c.get("modelTurn", {}).get("parts", [])]
    written = "".join(part.get("text", "") for part in parts if "thought" not in part)
    return written or "".join(c.get("outputTranscription", {}).get("text", "") for c in found)


async def test_turns_of_gemini_depend_on_those_before(provider: Cluster) -> None:
    """Speech, a tool's output, a change of instructions."""
    manual = {"automaticActivityDetection": {"disabled": True}}
    setup = {
        **gemini.SETUP, "tools": [gemini.WEATHER], "realtimeInputConfig": manual,
        "model": "models/gemini-3.8-live",
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }  # fmt: skip
    async with gemini.session(provider, setup, **ASKED) as socket:
        await send(socket, {"realtimeInput": {"activityStart": {}}}, *gemini.speech(tone(0.5)))
        await send(socket, {"realtimeInput": {"activityEnd": {}}})
        first = spoken(await gemini.turn(socket))
        assert first == "Recalled | told Be brief. | user This was speech of 500 ms."
        await send(socket, gemini.content("The weather?"))
        while "toolCall" not in (message := await gemini.receive(socket)):
            pass
        call = message["toolCall"]["functionCalls"][0]
        answer = {"id": call["id"], "name": "weather", "response": {"celsius": 21}}
        await send(socket, {"toolResponse": {"functionResponses": [answer]}})
        second = spoken(await gemini.turn(socket))
        tool = json.dumps({"celsius": 21})
        assert second == f"{first} | model | user The weather? | call weather | tool {tool}"
        await send(
            socket, {"contextUpdate": {"systemInstruction": {"parts": [{"text": "Be kind."}]}}}
        )
        await send(socket, {"realtimeInput": {"text": "And now?"}})
        third = spoken(await gemini.turn(socket))
        assert third == second.replace("brief", "kind") + " | model | user And now?"


async def test_gemini_knows_a_history_and_what_it_resumes(provider: Cluster) -> None:
    """Contents with calls and their answers, and the conversation of another connection."""
    turns = [
        {"role": "user", "parts": [{"text": "Call the weather"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {}}}]},
        {"role": "model", "parts": [{"text": "It rains."}]},
        {"role": "user", "parts": [{"text": "And now?"}]},
    ]
    setup = {**gemini.TEXT, "tools": [gemini.WEATHER], "sessionResumption": {}}
    async with gemini.session(provider, setup, **ASKED) as socket:
        await gemini.receive(socket)
        await send(socket, {"clientContent": {"turns": turns, "turnComplete": True}})
        said = spoken(await gemini.turn(socket))
        handle = (await gemini.receive(socket))["sessionResumptionUpdate"]["newHandle"]
    told = ["user Call the weather", "call weather", "tool {}", "model", "user And now?"]
    assert said == " | ".join(["Recalled", *told])
    resumed = {**setup, "sessionResumption": {"handle": handle}}
    async with gemini.session(provider, resumed, **ASKED) as socket:
        await gemini.receive(socket)
        await send(socket, gemini.content("Go on"))
        assert spoken(await gemini.turn(socket)) == f"{said} | model | user Go on"


async def test_an_interrupted_answer_keeps_its_place(provider: Cluster) -> None:
    """Gemini: what was being said came before what interrupted it."""
    query = {**ASKED, "pace": "4", "reply_ms": "20000"}
    async with gemini.session(provider, {**gemini.TEXT, "model": gemini.MODEL}, **query) as socket:
        await send(socket, gemini.content("Tell me"))
        while not spoken([await gemini.receive(socket)]):
            pass
        await send(socket, gemini.content("Stop"))
        await gemini.turn(socket)
        assert spoken(await gemini.turn(socket)) == "Recalled | user Tell me | model | user Stop"


async def test_a_story_is_held_until_it_is_cut(provider: Cluster) -> None:
    """However fast replies are made; what is asked next is answered."""
    async with session(provider, "/v1/realtime", held="story", **ASKED) as socket:
        await send(socket, write("A story, please"), CREATE)
        await until(socket, "response.output_audio.delta")
        await send(socket, {"type": "response.cancel"})
        done = (await until(socket, "response.done"))[-1]["response"]
        assert done["status"] == "cancelled"
        await send(socket, write("And now?"), CREATE)
        said = transcript(await until(socket, "response.done"))
        assert said == "Recalled | user A story, please | model | user And now?"
    async with gemini.session(provider, gemini.TEXT, held="story", **ASKED) as socket:
        await send(socket, gemini.content("A story, please"))
        while not spoken([await gemini.receive(socket)]):
            pass
        await send(socket, gemini.content("And now?"))
        assert gemini.parts(await gemini.turn(socket))[-2:] == ["interrupted", "turnComplete"]
        assert spoken(await gemini.turn(socket)) == said


async def test_a_model_asks_for_it_by_name(provider: Cluster) -> None:
    """``sim-recall``, for clients that set no query."""
    async with session(provider, "/v1/realtime", model="sim-recall,pace-0") as socket:
        await send(socket, update(output_modalities=["text"]), write("Hello"), CREATE)
        assert transcript(await until(socket, "response.done")) == "Recalled | user Hello"
