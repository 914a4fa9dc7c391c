"""The simulator survives every mistake of a client, and reports every response that it began."""

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.client_events import EVENTS
from simulator.faults import Faults
from simulator.generation import Pace
from simulator.openai_events import Event, encode
from simulator.session import Session

FORMAT = {"type": "audio/pcm", "rate": 24000}
SESSION = {
    "type": "realtime", "model": "m", "output_modalities": ["text"], "instructions": "i",
    "tools": [{"type": "function", "name": "weather", "description": "d", "parameters": {}}],
    "tool_choice": {"type": "function", "name": "weather"}, "max_output_tokens": 100,
    "tracing": None, "truncation": "auto", "prompt": None, "include": None,
    "audio": {
        "input": {
            "format": FORMAT, "transcription": {"model": "whisper-1", "language": "en"},
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                "silence_duration_ms": 500, "idle_timeout_ms": None, "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": FORMAT, "voice": "marin", "speed": 1.0},
    },
}  # fmt: skip
CONTENT = [
    {"type": "input_text", "text": "weather"},
    {"type": "input_audio", "audio": "AAAA", "transcript": "t"},
]
ITEM = {
    "id": "one", "type": "message", "object": "realtime.item", "status": "completed",
    "role": "user", "content": CONTENT, "call_id": "c", "name": "n", "arguments": "a",
    "output": "o",
}  # fmt: skip
RESPONSE = {
    "output_modalities": ["audio"], "instructions": "i", "tools": SESSION["tools"],
    "tool_choice": "none", "max_output_tokens": "inf", "metadata": {"a": "b"}, "input": [],
    "conversation": "auto", "audio": {"output": {"format": FORMAT, "voice": "marin"}},
}  # fmt: skip
TEMPLATES: list[Event] = [
    {"type": "session.update", "session": SESSION},
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 3200},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": ITEM, "previous_item_id": None},
    {"type": "conversation.item.create", "item": {**ITEM, "type": "function_call"}},
    {"type": "conversation.item.delete", "item_id": "one"},
    {"type": "conversation.item.retrieve", "item_id": "one"},
    {
        "type": "conversation.item.truncate", "item_id": "one", "content_index": 0,
        "audio_end_ms": 5,
    },
    {"type": "response.create", "response": RESPONSE},
    {"type": "response.cancel", "response_id": None},
]  # fmt: skip
Path = tuple[str | int, ...]


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """The path of every value below ``value``."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        yield (*at, name)
        if isinstance(part, dict | list):
            yield from places(part, (*at, name))


def with_value(event: Event, path: Path, value: Any) -> Event:
    """The event with another value in one place."""
    changed = copy.deepcopy(event)
    holder: Any = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return changed


PLACES = [
    ({**event, "event_id": "e"}, path)
    for event in TEMPLATES
    for path in places({**event, "event_id": "e"})
]
DEEP = json.loads("[" * 200 + "]" * 200)
VALUES: list[Any] = [
    None, True, False, 0, -1, 5, 10**30, 0.5, 1e308, "", "a", "\ud800", "é", "A" * 300, "AAA", [],
    [5], [None], ["a"], [[]], [{}], {}, {"a": 5}, {"type": None}, {"type": "message"},
    {"type": []}, DEEP,
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def talk(
    *messages: str | bytes | Event,
    break_at: Callable[[Event], None] = lambda _: None,
    faults: Faults = Faults(),  # noqa: B008 - frozen
) -> list[Event]:
    """What a session answers; it fails the test with whatever escapes from it."""
    answers: list[Event] = []

    async def send(event: Event) -> None:
        encode(event).encode()
        answers.append(event)
        break_at(event)

    async def hang_up(_code: int) -> None:
        raise AssertionError

    async def play() -> None:
        session = Session(
            model="m", pace=Pace(0, 100), faults=faults, send=send, hang_up=hang_up,
            log_usage=lambda _: None, log_abandoned=lambda _: None,
            on_audio=lambda _: None, session_id="s",
        )  # fmt: skip
        await session.open()
        for message in messages:
            await session.receive(
                message if isinstance(message, str | bytes) else json.dumps(message)
            )
            await settled(lambda: is_settled(answers))
        await session.close()

    with structlog.testing.capture_logs() as logged:
        asyncio.run(play())
    if not any(entry["event"] == "reply failed" for entry in logged):
        return answers
    return [*answers, {"type": "a failed reply is in the log"}]


async def settled(is_done: Callable[[], bool]) -> None:
    """Wait until a response that was begun is done."""
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        while not is_done():  # noqa: ASYNC110 - a turn of the loop is all that it takes
            await asyncio.sleep(0)


def is_settled(answers: list[Event]) -> bool:
    """Whether every response.created has its response.done."""
    return kinds(answers).count("response.created") == kinds(answers).count("response.done")


def kinds(answers: list[Event]) -> list[str]:
    """The types of events."""
    return [event["type"] for event in answers]


def assert_survived(answers: list[Event]) -> None:
    """The two last messages, a good response.create and nonsense, are answered as ever."""
    assert answers[-1]["error"]["code"] == "invalid_value", answers[-1]
    assert answers[-1]["error"]["event_id"] == "last"
    assert kinds(answers)[-3:] == ["response.done", "rate_limits.updated", "error"]
    assert answers[-3]["response"]["status"] in ("completed", "incomplete")


AFTERWARDS: list[Event] = [{"type": "response.create"}, {"type": "fly", "event_id": "last"}]


def test_every_client_event_is_among_the_templates() -> None:
    """A new event that is not tried here fails."""
    assert {event["type"] for event in TEMPLATES} == set(EVENTS)


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
def test_the_templates_are_right(number: int) -> None:
    """Undamaged, they are served: otherwise the tests below would try nothing."""
    before = (
        [{"type": "conversation.item.create", "item": ITEM}]
        if "item_id" in TEMPLATES[number]
        else TEMPLATES[1:2]
    )
    answers = talk(*before, TEMPLATES[number], *AFTERWARDS)
    errors = [e["error"]["code"] for e in answers[:-1] if e["type"] == "error"]
    assert errors in ([], ["response_cancel_not_active"])


@pytest.mark.parametrize(("event", "path"), PLACES, ids=lambda x: str(x)[:60])
def test_any_value_in_any_place_is_survived(event: Event, path: Path) -> None:
    """Served or answered with an error, and the next response is as good as ever."""
    for value in VALUES:
        first = TEMPLATES[4] if event["type"] != "conversation.item.create" else TEMPLATES[1]
        assert_survived(talk(first, with_value(event, path, value), *AFTERWARDS))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=4))
def test_damage_adds_up_to_nothing(damages: list[tuple[tuple[Event, Path], Any]]) -> None:
    """Several damaged events in one session."""
    events = [with_value(event, path, value) for (event, path), value in damages]
    assert_survived(talk(*events, *AFTERWARDS))


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "not json", '{"type": NaN}', b"\xff\xfe\x00", "[" * 100_000, "9" * 5000]
)
def test_what_is_no_json_object_is_survived(text: str | bytes) -> None:
    """Text and bytes."""
    answers = talk(text, *AFTERWARDS)
    assert answers[1]["error"]["code"] == "invalid_json"
    assert_survived(answers)


BREAKS = ["response.output_item.added", "response.output_audio.delta", "response.output_item.done"]


@pytest.mark.parametrize("kind", BREAKS)
def test_a_reply_that_breaks_has_failed_and_says_so(kind: str) -> None:
    """response.done follows response.created, with the usage so far; the session goes on."""
    broken: list[str] = []

    def break_once(event: Event) -> None:
        if event["type"] == kind and not broken:
            broken.append(kind)
            raise ValueError("a bug")

    answers = talk({"type": "response.create"}, *AFTERWARDS, break_at=break_once)
    assert answers.pop()["type"] == "a failed reply is in the log"
    failed = next(e["response"] for e in answers if e["type"] == "response.done")
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]["code"] == "server_error"
    assert failed["usage"]["input_tokens"] > 0
    assert_survived(answers)
