"""What a Gemini session is charged for its turns, and waits for when its client is gone."""

import json
from typing import Any

import pytest

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.limits import ANSWER_S, DRAIN_S
from gateway.metering.base import Metered
from gateway.metering.gemini.meter import GeminiMeter
from shared.usage import Usage
from tests.support.golden import Step, framed, pretty
from tests.support.golden_gemini import (
    GENERATED,
    INTERRUPTED,
    READY,
    SETUP,
    SPEECH,
    TOOL,
    TURN,
    USAGE,
    complete,
    content,
    usage_alone,
)
from tests.support.metering import text, the_one

MANUAL = {"automaticActivityDetection": {"disabled": True}}


def client(**message: Any) -> Step:
    """A message of the client."""
    return Step(message, is_client=True)


def audio(data: str) -> Step:
    """A piece of the client's audio."""
    return client(realtimeInput={"audio": {"data": data, "mimeType": "audio/pcm;rate=16000"}})


BY_HAND = client(setup={"model": "models/m", "realtimeInputConfig": MANUAL})
NOISE, ZEROS = audio("UklGRiQAAABX"), audio("AAAAAAAAAA==")
ASK = client(clientContent={"turns": [], "turnComplete": True})
ANSWERED = (*TURN, complete(USAGE))
CONTEXT = client(clientContent={"turns": [], "turnComplete": False})
IMAGE = client(realtimeInput={"video": {"data": "UklG", "mimeType": "image/jpeg"}})
TEXT = client(realtimeInput={"text": "hello"})
TOOL_ANSWER = client(tool_response={"function_responses": [{"id": "1"}]})

WAITS: list[tuple[str, list[Step], float]] = [
    ("nothing", [SETUP, READY], 0),
    # asked for in so many words
    ("content", [SETUP, READY, ASK], DRAIN_S),
    ("content of which more is to come", [SETUP, READY, CONTEXT], 0),
    ("text", [SETUP, READY, TEXT], DRAIN_S),
    ("text in snake_case", [SETUP, READY, client(realtime_input={"text": "hi"})], DRAIN_S),
    ("text spelled with an escape",
     [SETUP, READY, Step(raw=b'{"realtimeInput":{"te\\u0078t":"hi"}}', is_client=True)], DRAIN_S),
    ("empty text", [SETUP, READY, client(realtimeInput={"text": ""})], 0),
    ("an activity that goes on", [BY_HAND, READY, client(realtimeInput={"activityStart": {}})], 0),
    ("an activity that is over", [BY_HAND, READY, client(realtimeInput={"activityEnd": {}})],
     DRAIN_S),
    ("a tool's answer", [SETUP, READY, TOOL, complete(USAGE), TOOL_ANSWER], DRAIN_S),
    ("content before the setup is accepted", [SETUP, ASK], DRAIN_S),
    # perhaps asked for
    ("sound", [SETUP, READY, NOISE], ANSWER_S),
    ("zeros", [SETUP, READY, ZEROS], 0),
    ("sound behind zeros",
     [SETUP, READY, client(realtimeInput={"mediaChunks": [ZEROS.event["realtimeInput"]["audio"],
                                                          NOISE.event["realtimeInput"]["audio"]]})],
     ANSWER_S),
    ("a picture", [SETUP, READY, IMAGE], 0),
    ("sound without detection", [BY_HAND, READY, NOISE], 0),
    ("sound before the last answer", [SETUP, READY, NOISE, *ANSWERED], 0),
    ("sound during the last answer", [SETUP, READY, NOISE, *TURN, NOISE, complete(USAGE)], 0),
    ("sound after the last answer", [SETUP, READY, *ANSWERED, NOISE], ANSWER_S),
    # under way
    ("an answer that has begun", [SETUP, READY, NOISE, SPEECH], DRAIN_S),
    ("an answer that waits for its tool", [SETUP, READY, ASK, TOOL], DRAIN_S),
    ("an answer that is over", [SETUP, READY, ASK, *ANSWERED], 0),
    ("an answer with its tool's", [SETUP, READY, ASK, TOOL, TOOL_ANSWER, *ANSWERED], 0),
    ("an answer whose usage is still to come", [SETUP, READY, ASK, *TURN, complete()], DRAIN_S),
    ("an answer whose usage came later",
     [SETUP, READY, ASK, *TURN, complete(), usage_alone(USAGE)], 0),
    ("an answer whose usage came first", [SETUP, READY, usage_alone(USAGE), *TURN, complete()], 0),
    ("a part of an answer",
     [SETUP, READY, *TURN, complete(USAGE, interactionStatus="IN_PROGRESS")], DRAIN_S),
    # interrupted
    ("before its first word", [SETUP, READY, ASK, INTERRUPTED, complete(USAGE)], 0),
    ("before its first word, and not reported yet",
     [SETUP, READY, ASK, INTERRUPTED, complete()], DRAIN_S),
    ("by the next question",
     [SETUP, READY, ASK, SPEECH, ASK, INTERRUPTED, complete(USAGE)], DRAIN_S),
    ("two questions, perhaps one answer", [SETUP, READY, ASK, ASK, *ANSWERED], ANSWER_S),
    ("two questions, both answered", [SETUP, READY, ASK, ASK, *ANSWERED, *ANSWERED], 0),
    # not understood
    ("no JSON", [SETUP, READY, Step(raw=b'"text" is no JSON', is_client=True)], 0),
    ("an odd shape", [SETUP, READY, client(realtimeInput=["text"], clientContent=5)], 0),
    ("a text that quotes a question", [SETUP, READY, client(x='{"text":"hi"}')], 0),
    ("data that does not end",
     [SETUP, READY, Step(raw=b'{"realtimeInput":{"audio":{"data":"AA', is_client=True)], ANSWER_S),
    ("not a word of a turn", [SETUP, READY, GENERATED, content()], 0),
]  # fmt: skip


@pytest.mark.parametrize(("what", "steps", "expected"), WAITS, ids=[w[0] for w in WAITS])
@pytest.mark.parametrize("cuts", [(), (3, 11)])
def test_how_long_a_session_is_worth_waiting_for(
    what: str, steps: list[Step], expected: float, cuts: tuple[int, ...]
) -> None:
    """What is certain to come the whole drain, what may come for a moment, and nothing not at all.

    Fragments are read like whole messages.
    """
    meter = GeminiMeter(model="")
    scanners = {True: FrameScanner(expects_mask=True), False: FrameScanner(expects_mask=False)}
    for step in steps:
        message = step.text(pretty)
        for frame in scanners[step.is_client].feed(framed(message, step, cuts)):
            if step.is_client and not frame.is_control:
                meter.observe_client(frame)
            elif not frame.is_control:
                meter.observe(frame)
    assert meter.drain_s == expected, what
    assert bool(meter.in_flight) == (expected == DRAIN_S)
    assert (meter.is_asked, meter.may_answer) == (False, expected == ANSWER_S)


def test_an_interruption_asks_for_nothing() -> None:
    """Content interrupts; only complete content would be answered."""
    (interruption,) = GeminiMeter(model="").cancel_events()
    assert json.loads(interruption) == {"clientContent": {"turnComplete": False}}


def test_keeps_which_modality_gemini_had_cached() -> None:
    """Video counts as images; a modality alone is zero; what is not known is kept beside it."""
    watch = GeminiMeter(model="gemini-live")
    usage = {
        "promptTokenCount": 30,
        "cachedContentTokenCount": 22,
        "cacheTokensDetails": [
            {"modality": "TEXT", "tokenCount": 4},
            {"modality": "AUDIO", "tokenCount": 7},
            {"modality": "VIDEO", "tokenCount": 8},
            {"modality": "IMAGE"},
            {"modality": "SMELL", "tokenCount": 3},
        ],
    }
    found = the_one(
        watch.observe(text({"serverContent": {"turnComplete": True}, "usageMetadata": usage}))
    )
    assert isinstance(found, Metered)
    assert found.usage == Usage(
        input_tokens=30,
        total_tokens=30,
        input_cached_tokens=22,
        input_cached_text_tokens=4,
        input_cached_audio_tokens=7,
        input_cached_image_tokens=8,
    )
    assert "SMELL" in found.raw


def test_a_report_between_two_gemini_turns_is_a_record_of_its_own() -> None:
    """It is neither taken for the turn before nor overwritten by the one after."""
    watch = GeminiMeter(model="gemini")

    def say(**message: object) -> Frame:
        payload = json.dumps(message, indent=2).encode()
        return Frame(2, True, 2, b"\x82\x00" + payload)

    def usage(prompt: int) -> dict[str, int]:
        return {"promptTokenCount": prompt, "responseTokenCount": 20}

    turn = {"serverContent": {"modelTurn": {"parts": []}}}
    end = {"serverContent": {"turnComplete": True}}
    messages = [
        turn, {**end, "usageMetadata": usage(100)}, {"usageMetadata": usage(220)},
        turn, {**end, "usageMetadata": usage(310)},
    ]  # fmt: skip
    found = [x for m in messages if isinstance(x := the_one(watch.observe(say(**m))), Metered)]
    assert [x.usage.total_tokens for x in found] == [120, 240, 330]
