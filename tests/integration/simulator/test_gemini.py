"""Turns of the simulated Gemini Live: the SDK's own types, recorded order, and usage."""

import asyncio
import json
from itertools import pairwise

import pytest
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection

from tests.support.harness import Cluster
from tests.support.simulator_client import Event, logged, send
from tests.support.simulator_client_gemini import (
    MODEL,
    PATH,
    SETUP,
    TEXT,
    WEATHER,
    check,
    content,
    heard,
    parts,
    receive,
    session,
    speech,
    turn,
)
from tests.support.speech import silence, tone

BAD_MESSAGES: list[Event] = [
    {"serverContent": {"candidates": 5}},
    {"usageMetadata": {"promptTokenCount": "many"}},
    {"usageMetadata": {"candidatesTokenCount": 5}},
    {"response": {}},
]


@pytest.mark.parametrize("message", BAD_MESSAGES)
def test_the_check_can_fail(message: Event) -> None:
    """Unknown fields and wrong types are noticed."""
    with pytest.raises((ValidationError, AssertionError)):
        check(message)


async def test_a_spoken_turn(provider: Cluster) -> None:
    """The recorded order, the caller's own speech, and one usage: beside turnComplete."""
    spoken = tone(2.0)
    setup = {**SETUP, "model": "models/gemini-2.5-flash-native-audio-preview"}
    async with session(provider, setup, tag="spoken") as socket:
        await send(socket, *speech(silence(0.4) + spoken + silence(0.6)))
        messages = await turn(socket)
    assert spoken in heard(messages)
    found = parts(messages)
    assert found[:4] == ["inputTranscription", "thought", "outputTranscription", "inlineData"]
    assert found[-2:] == ["generationComplete", "turnComplete"]
    assert [m for m in messages if "usageMetadata" in m] == messages[-1:]
    usage = messages[-1]["usageMetadata"]
    assert usage["responseTokensDetails"] == [
        {"modality": "AUDIO", "tokenCount": usage["responseTokenCount"]}
    ]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["responseTokenCount"]
    assert usage["promptTokensDetails"][0] == {"modality": "TEXT"}
    (line,) = logged(provider, "spoken")
    assert (line["provider"], line["kind"], line["model"]) == ("gemini", "turn", setup["model"])
    assert line["usage"] == usage
    output = usage["responseTokenCount"] + usage["thoughtsTokenCount"]
    assert line["charge"] == {
        "input_tokens": usage["promptTokenCount"], "output_tokens": output,
        "total_tokens": usage["promptTokenCount"] + output, "billed_ms": 0,
    }  # fmt: skip


async def test_speech_may_be_told_of(provider: Cluster) -> None:
    """Where it began and ended in the audio."""
    async with session(provider, activity="told") as socket:
        await send(socket, *speech(silence(0.4) + tone(0.6) + silence(0.6)))
        messages = await turn(socket)
    told = [m["voiceActivity"] for m in messages if "voiceActivity" in m]
    assert [x["voiceActivityType"] for x in told] == ["ACTIVITY_START", "ACTIVITY_END"]
    assert [x["audioOffset"] for x in told] == ["0.440s", "1.500s"]


async def test_a_turn_may_last_as_long_as_its_answer_is_played(provider: Cluster) -> None:
    """It was generated before, and can be interrupted until then."""
    async with session(provider, playback="awaited", reply_ms="60000") as socket:
        await send(socket, content("hello"))
        while "generationComplete" not in (await receive(socket)).get("serverContent", {}):
            pass
        await send(socket, content("and?"))
        messages = await turn(socket)
    assert messages[0] == {"serverContent": {"interrupted": True}}
    assert "turnComplete" in messages[1]["serverContent"]
    assert messages[1]["usageMetadata"]["responseTokenCount"] == 1500


async def test_sizes(provider: Cluster) -> None:
    """62 ms pieces (4 kB) from the older speech models, 200 ms (13 kB) from the others."""
    for model, size in (("models/gemini-2.5-flash-native-audio", 4_000), (MODEL, 13_000)):
        async with session(provider, {"model": model}) as socket:
            await send(socket, content("hello"))
            sizes = []
            while (message := await receive(socket)).get("serverContent", {}).get(
                "turnComplete"
            ) is None:
                if heard([message]):
                    sizes.append(len(json.dumps(message, indent=2)))
        assert 0.95 * size < sizes[0] < 1.15 * size


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
async def test_any_rate_is_heard(provider: Cluster, rate: int) -> None:
    """The reply is as long as the speech, whatever the rate in the mime type."""
    samples = tone(2.0 * rate / 24_000, hertz=220 * 24_000 / rate)
    activity = {"automaticActivityDetection": {"disabled": True}}
    async with session(provider, {**SETUP, "realtimeInputConfig": activity}) as socket:
        await send(socket, {"realtimeInput": {"activityStart": {}}}, *speech(samples, rate))
        await send(socket, {"realtimeInput": {"activityEnd": {}}})
        messages = await turn(socket)
    assert abs(len(heard(messages)) - 96_000) < 100


async def test_the_prompt_is_the_whole_context(provider: Cluster) -> None:
    """It grows from turn to turn and is reported again each time; cached is a subset."""
    async with session(
        provider, {**TEXT, "systemInstruction": {"parts": [{"text": "x" * 400}]}}
    ) as socket:
        usages = []
        for _ in range(4):
            await send(socket, content("Tell me more about it, please. " * 4))
            usages.append((await turn(socket))[-1]["usageMetadata"])
    prompts = [usage["promptTokenCount"] for usage in usages]
    assert prompts[0] > 100
    assert all(after > before for before, after in pairwise(prompts))
    assert "cachedContentTokenCount" not in usages[0]
    for usage in usages[1:]:
        assert 0 < usage["cachedContentTokenCount"] <= usage["promptTokenCount"]
        assert (
            sum(d.get("tokenCount", 0) for d in usage["cacheTokensDetails"])
            == usage["cachedContentTokenCount"]
        )


async def test_an_interruption(provider: Cluster) -> None:
    """interrupted, then turnComplete with the usage so far, without generationComplete."""
    async with session(provider, pace="2", reply_ms="8000", tag="barge") as socket:
        await send(socket, content("hello"))
        while not heard([await receive(socket)]):
            pass
        await send(socket, *speech(tone(0.2)))
        messages = await turn(socket)
        assert parts(messages)[-2:] == ["interrupted", "turnComplete"]
        assert "generationComplete" not in parts(messages)
        assert 0 < messages[-1]["usageMetadata"]["responseTokenCount"] < 150
        await send(socket, *speech(silence(0.6)))
        assert parts(await turn(socket))[-1] == "turnComplete"
    assert [line["status"] for line in logged(provider, "barge")] == ["cancelled", "completed"]


async def call(socket: ClientConnection) -> Event:
    """Ask for the weather; the tool call."""
    await send(socket, content("What is the weather?"))
    while "toolCall" not in (message := await receive(socket)):
        pass
    found: Event = message["toolCall"]["functionCalls"][0]
    return found


def answer(found: Event) -> Event:
    """The tool's answer."""
    response = {"name": found["name"], "response": {"some_key": "x" * 40}}
    return {"tool_response": {"function_responses": [{**response, "id": found.get("id")}]}}


async def test_a_tool_call_is_part_of_one_turn(provider: Cluster) -> None:
    """The Developer API reports both generations at once, and the tool's answer."""
    async with session(provider, {**TEXT, "tools": [WEATHER]}, tag="tool") as socket:
        found = await call(socket)
        assert found["name"] == "weather"
        await send(socket, answer(found))
        messages = await turn(socket)
    usage = messages[-1]["usageMetadata"]
    assert usage["toolUsePromptTokenCount"] > 0
    assert usage["thoughtsTokenCount"] == 56
    (line,) = logged(provider, "tool")
    assert line["charge"]["input_tokens"] == (
        usage["promptTokenCount"] + usage["toolUsePromptTokenCount"]
    )


async def test_a_tool_is_called_for_all_that_was_asked(provider: Cluster) -> None:
    """A question whose turn another message completes, as some frameworks do; and only once."""
    first = content("What is the weather?")
    first["clientContent"]["turnComplete"] = False
    async with session(provider, {**TEXT, "tools": [WEATHER]}) as socket:
        await send(socket, first, content("."))
        while "toolCall" not in (message := await receive(socket)):
            pass
        await send(socket, answer(message["toolCall"]["functionCalls"][0]))
        await turn(socket)
        await send(socket, content("."))
        assert "toolCall" not in parts(await turn(socket))


async def test_content_interrupts_and_need_not_be_answered(provider: Cluster) -> None:
    """Content that is not complete cuts the answer; what it cost is reported, and nothing follows
    until more is asked for.
    """
    more = {"clientContent": {"turnComplete": False}}
    async with session(provider, pace="1", reply_ms="8000", tag="stopped") as socket:
        await send(socket, content("hello"), more)
        messages = await turn(socket)
        assert parts(messages)[-2:] == ["interrupted", "turnComplete"]
        assert messages[-1]["usageMetadata"]["promptTokenCount"] > 0
        await send(socket, more)  # nothing is generated: nothing is answered
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)
    (line,) = logged(provider, "stopped")
    assert line["status"] == "cancelled"


async def test_vertex_reports_a_tool_call_by_itself(provider: Cluster) -> None:
    """Two turnComplete with a usage each, in Vertex's names."""
    path = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    headers = {"Authorization": "Bearer ya29.x"}
    tools = {**SETUP, "tools": [WEATHER]}
    async with session(provider, {}, path=path, headers=headers, tag="vertex") as socket:
        await send(socket, {"setup": tools})
        assert (await receive(socket))["setupComplete"]["sessionId"].startswith("sess_")
        await send(socket, content("What is the weather?"))
        first = await turn(socket, is_vertex=True)
        found = next(m["toolCall"]["functionCalls"][0] for m in first if "toolCall" in m)
        assert "id" not in found
        await send(socket, answer(found))
        second = await turn(socket, is_vertex=True)
    for messages in (first, second):
        ending = messages[-1]
        assert ending["serverContent"]["groundingMetadata"] == {}
        assert ending["usageMetadata"]["candidatesTokenCount"] > 0
        assert "responseTokenCount" not in ending["usageMetadata"]
    for words in ({}, {"finished": True}):
        assert {"serverContent": {"outputTranscription": words}} in second
    assert [line["usage"] for line in logged(provider, "vertex")] == [
        messages[-1]["usageMetadata"] for messages in (first, second)
    ]


async def test_an_interrupted_tool_call_is_taken_back(provider: Cluster) -> None:
    """toolCallCancellation, then the turn ends with its usage."""
    async with session(provider, {**TEXT, "tools": [WEATHER]}, tag="taken-back") as socket:
        found = await call(socket)
        await send(socket, content("Never mind."))
        messages = await turn(socket)
        assert messages[0] == {"toolCallCancellation": {"ids": [found["id"]]}}
        assert parts(messages)[-2:] == ["interrupted", "turnComplete"]
        await turn(socket)
    assert len(logged(provider, "taken-back")) == 2


PLACES = {
    "turn": [("turnComplete", True)],
    "standalone_before": [("usageMetadata", True), ("turnComplete", False)],
    "standalone_after": [("turnComplete", False), ("usageMetadata", True)],
    "twice": [("usageMetadata", True), ("turnComplete", True)],
}


@pytest.mark.parametrize("at", PLACES)
async def test_where_the_usage_stands(provider: Cluster, at: str) -> None:
    """However often and wherever it is sent, it is one line in the log."""
    expected = PLACES[at]
    async with session(provider, TEXT, usage_at=at, tag=at) as socket:
        await send(socket, content("hello"))
        while (await receive(socket)).get("serverContent", {}).get("generationComplete") is None:
            pass
        messages = [await receive(socket) for _ in expected]
    assert [(parts([m])[0], "usageMetadata" in m) for m in messages] == expected
    usages = [m["usageMetadata"] for m in messages if "usageMetadata" in m]
    assert len(logged(provider, at)) == 1
    assert all(usage == logged(provider, at)[0]["usage"] for usage in usages)


@pytest.mark.parametrize("kind", ["null", "empty", "zero", "absurd", "missing", "strange"])
async def test_usage_by_the_models_name(provider: Cluster, kind: str) -> None:
    """A base URL of this SDK cannot carry a query: a model's name asks for faults."""
    path = f"/sim-pace-0/tenant-{kind}/{PATH}"
    setup = {**TEXT, "model": f"models/sim-usage-{kind}"}
    async with session(provider, setup, path=path, tag=f"fault-{kind}") as socket:
        await send(socket, content("hello"))
        while True:
            message = json.loads(await socket.recv())
            if message.get("serverContent", {}).get("turnComplete"):
                break
    (line,) = logged(provider, f"fault-{kind}")
    assert line["usage"] == message.get("usageMetadata")
    assert ("usageMetadata" in message) == (kind != "missing")
    charge = line["charge"]
    assert charge is None if kind in ("absurd", "strange") else charge["total_tokens"] == 0
