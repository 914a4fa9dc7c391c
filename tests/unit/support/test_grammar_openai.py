"""Every rule of the grammar of OpenAI's Realtime can fail, and the simulator's session is right."""

import asyncio
import base64
import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from simulator.dialect import Dialect
from simulator.faults import Faults
from simulator.generation import Pace
from simulator.session import Session
from simulator.xai import XaiDialect
from tests.support.grammar_openai import MODELS, TRANSCRIPTION, Checker
from tests.support.speech import chunks, silence, tone

Event = dict[str, Any]
Change = Callable[[list[Event]], None]
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}
SESSION = {
    "type": "realtime", "tools": [TOOL],
    "audio": {"input": {"transcription": {"model": "whisper-1"}}},
}  # fmt: skip


def speech() -> list[Event]:
    """A user's turn."""
    return [
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
        for piece in chunks(silence(0.2) + tone(0.2) + silence(0.6))
    ]


def written(text: str) -> list[Event]:
    """A user's turn in writing."""
    part = {"type": "input_text", "text": text}
    item = {"type": "message", "role": "user", "content": [part]}
    return [{"type": "conversation.item.create", "item": item}, {"type": "response.create"}]


def hold(dialect: Dialect) -> list[Event]:
    """A spoken turn, a call of a tool, a written turn: what the simulator says."""
    events: list[Event] = []

    async def send(message: Event) -> None:
        events.append(json.loads(json.dumps(message)))

    async def hang_up(_code: int) -> None:
        raise AssertionError

    async def settle(count: int) -> None:
        done = "response.done"
        while [e["type"] for e in events].count(done) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)  # a turn of the loop is all that it takes

    async def run() -> None:
        session = Session(
            model="m", pace=Pace(0, 100), faults=Faults(), send=send, hang_up=hang_up,
            log_usage=json.dumps, log_abandoned=json.dumps, on_audio=lambda _: None,
            session_id="s", dialect=dialect,
        )  # fmt: skip
        await session.open()
        text = {
            "type": "session.update",
            "session": {"type": "realtime", "output_modalities": ["text"]},
        }
        turns = [
            [{"type": "session.update", "session": SESSION}, *speech()],
            written("the weather?"),
            [text, *written("Good morning")],
        ]
        for number, turn in enumerate(turns, start=1):
            for message in turn:
                await session.receive(json.dumps(message))
            await settle(number)
        item_id = next(e["item"]["id"] for e in events if e["type"] == "response.output_item.done")
        for kind, more in (("truncate", {"content_index": 0, "audio_end_ms": 10}), ("delete", {})):
            asked = {"type": f"conversation.item.{kind}", "item_id": item_id, **more}
            await session.receive(json.dumps(asked))
        await session.close()

    asyncio.run(run())
    return events


@cache
def said(name: str) -> str:
    """The events of a session, once."""
    return json.dumps(hold(XaiDialect() if name == "xai" else Dialect()))


def check(events: list[Event], *, is_xai: bool = False) -> None:
    """The whole session."""
    checker = Checker(is_xai=is_xai)
    for event in events:
        checker.see(event)
    checker.finish()


@pytest.mark.parametrize("name", ["openai", "xai"])
def test_the_session_is_right(name: str) -> None:
    """Otherwise the changes below would prove nothing."""
    events = json.loads(said(name))
    check(events, is_xai=name == "xai")
    kinds = {event["type"] for event in events}
    assert "error" not in kinds
    assert {"response.output_text.done", "response.function_call_arguments.done"} <= kinds


def test_xai_is_not_openai() -> None:
    """Its deviations are allowed only where they are asked for."""
    with pytest.raises(AssertionError):
        check(json.loads(said("xai")))


# --- changes --------------------------------------------------------------------------------------


def place(events: list[Event], kind: str, number: int = 0) -> int:
    """Where the event of a type is."""
    found = [at for at, event in enumerate(events) if event["type"] == kind]
    return found[number]


def without(kind: str, number: int = 0) -> Change:
    """An event is missing."""
    return lambda events: events.pop(place(events, kind, number)) and None


def again(kind: str, number: int = 0) -> Change:
    """An event comes twice, with another id."""

    def change(events: list[Event]) -> None:
        at = place(events, kind, number)
        events.insert(at + 1, {**copy.deepcopy(events[at]), "event_id": "event_again"})

    return change


def moved(kind: str, after: str, number: int = 0, to: int = 0) -> Change:
    """An event comes directly after another one."""

    def change(events: list[Event]) -> None:
        event = events.pop(place(events, kind, number))
        events.insert(place(events, after, to) + 1, event)

    return change


def late(kind: str, after: str) -> Change:
    """An event comes again, directly after another one."""

    def change(events: list[Event]) -> None:
        event = {**events[place(events, kind)], "event_id": "event_late"}
        events.insert(place(events, after) + 1, event)

    return change


def changed(kind: str, value: Any, *path: str | int, number: int = 0) -> Change:
    """A field has another value; ``...`` removes it."""

    def change(events: list[Event]) -> None:
        holder: Any = events[place(events, kind, number)]
        for name in path[:-1]:
            holder = holder[name]
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value

    return change


ITEM, OUTPUT, PART = "conversation.item", "response.output_item", "response.content_part"
AUDIO, WORDS, TEXT = (f"response.output_{x}" for x in ("audio", "audio_transcript", "text"))
ARGS = "response.function_call_arguments"
BUFFER = "input_audio_buffer"
WRONG: list[tuple[str, Change]] = [
    # every event
    ("no type of event", changed("rate_limits.updated", "rate_limits.soup", "type")),
    ("not the SDK's", changed("response.created", ..., "response")),
    ("not the SDK's", changed("response.created", "fine", "response", "status")),
    ("unknown fields", changed("response.created", 1, "soup")),
    ("no event_id", changed("response.created", "", "event_id")),
    ("twice", lambda events: events[2].update(event_id=events[1]["event_id"])),
    ("before session.created", without("session.created")),
    # session
    ("session.created twice", again("session.created")),
    ("session.model was", changed("session.updated", "n", "session", "model")),
    # items
    ("without an id", changed(f"{ITEM}.added", ..., "item", "id")),
    ("added twice", again(f"{ITEM}.added")),
    ("never added", without(f"{ITEM}.added")),
    ("never added", changed(f"{ITEM}.added", "item_x", "previous_item_id", number=1)),
    ("never added", changed(f"{ITEM}.done", "item_x", "previous_item_id", number=1)),
    ("done twice", again(f"{ITEM}.done")),
    ("in progress is done", changed(f"{ITEM}.done", "in_progress", "item", "status")),
    ("call_id differs", changed(f"{ITEM}.done", "call_x", "item", "call_id", number=3)),
    ("never done", without(f"{ITEM}.done")),
    ("never added", changed(f"{ITEM}.deleted", "item_x", "item_id")),
    ("never added", changed(f"{ITEM}.truncated", "item_x", "item_id")),
    (
        "of user is truncated",
        lambda events: changed(
            f"{ITEM}.truncated", events[place(events, f"{ITEM}.added")]["item"]["id"], "item_id"
        )(events),
    ),
    # the user's audio
    ("speech_started twice", again(f"{BUFFER}.speech_started")),
    ("without speech_started", without(f"{BUFFER}.speech_started")),
    ("had started", changed(f"{BUFFER}.speech_stopped", "item_x", "item_id")),
    ("committed twice", again(f"{BUFFER}.committed")),
    ("never committed", without(f"{BUFFER}.committed")),
    ("was spoken", changed(f"{BUFFER}.committed", "item_x", "item_id")),
    ("added before", moved(f"{BUFFER}.committed", f"{ITEM}.added")),
    ("never added", changed(f"{BUFFER}.committed", "item_x", "previous_item_id")),
    ("committed and not added", moved("response.created", f"{BUFFER}.committed")),
    # transcripts
    ("that is complete", moved(f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed")),
    ("completed twice", again(f"{TRANSCRIPTION}.completed")),
    ("deltas were", changed(f"{TRANSCRIPTION}.completed", "Soup", "transcript")),
    ("which is no item", changed(f"{TRANSCRIPTION}.completed", "item_x", "item_id")),
    # responses
    ("created twice", again("response.created")),
    ("while a response is open", without("response.done")),
    ("begins completed", changed("response.created", "completed", "response", "status")),
    ("no response is open", without("response.created")),
    ("no response is open", again("response.done")),
    ("no response is open", moved(f"{AUDIO}.delta", "response.done")),
    ("is open", changed(f"{AUDIO}.delta", "resp_x", "response_id")),
    ("is open", changed("response.done", "resp_x", "response", "id")),
    ("ends in progress", changed("response.done", "in_progress", "response", "status")),
    ("is not what was done", changed("response.done", [], "response", "output")),
    ("response.done is missing", without("response.done", 2)),
    ("not 7", changed("response.done", 7, "response", "usage", "total_tokens")),
    (
        "cached of",
        changed(
            "response.done", 999, "response", "usage", "input_token_details", "cached_tokens",
        ),
    ),
    (
        "details of",
        changed("response.done", 999, "response", "usage", "output_token_details", "text_tokens"),
    ),
    # items of a response
    ("output_index 1", changed(f"{OUTPUT}.added", 1, "output_index")),
    ("begins completed", changed(f"{OUTPUT}.added", "completed", "item", "status")),
    ("no output_item.added", without(f"{OUTPUT}.added")),
    ("the item there is", changed(f"{AUDIO}.delta", "item_x", "item_id")),
    ("is missing", without(f"{OUTPUT}.done")),
    ("after its output_item.done", again(f"{OUTPUT}.done")),
    ("after its output_item.done", moved(f"{AUDIO}.delta", f"{OUTPUT}.done")),
    ("conversation.item.done of", moved(f"{ITEM}.done", "response.done", number=1)),
    ("transcript was", changed(f"{OUTPUT}.done", [{"type": "output_audio"}], "item", "content")),
    ("has another item", changed(f"{ITEM}.done", [], "item", "content", number=1)),
    # content parts
    ("no content_part.added", without(f"{PART}.added")),
    ("content_index 2", changed(f"{PART}.added", 2, "content_index")),
    ("in a part of", changed(f"{PART}.added", "text", "part", "type")),
    ("no base64", changed(f"{AUDIO}.delta", "%%", "delta")),
    ("half a sample", changed(f"{AUDIO}.delta", "AA==", "delta")),
    ("a delta after", moved(f"{AUDIO}.delta", f"{AUDIO}.done")),
    ("a delta after", late(f"{TEXT}.delta", f"{TEXT}.done")),
    ("done twice", again(f"{AUDIO}.done")),
    ("done twice", again(f"{WORDS}.done")),
    ("deltas were", changed(f"{WORDS}.done", "Soup", "transcript")),
    ("deltas were", changed(f"{TEXT}.done", "Soup", "text")),
    ("deltas were", without(f"{TEXT}.delta")),
    ("is missing", without(f"{AUDIO}.done")),
    ("is missing", without(f"{PART}.done")),
    ("content_part.done twice", again(f"{PART}.done")),
    ("was", changed(f"{PART}.done", "Soup", "part", "transcript")),
    # calls
    ("deltas were", without(f"{ARGS}.delta")),
    ("arguments.done is missing", without(f"{ARGS}.done")),
    ("after function_call_arguments.done", again(f"{ARGS}.done")),
    ("the call is", changed(f"{ARGS}.delta", "call_x", "call_id")),
    ("the function is", changed(f"{ARGS}.done", "soup", "name")),
    ("not the arguments", changed(f"{OUTPUT}.done", "{}", "item", "arguments", number=1)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "change"), WRONG)
def test_a_rule_can_fail(text: str, change: Change) -> None:
    """A session that breaks it is refused, and told why."""
    events = json.loads(said("openai"))
    change(events)
    with pytest.raises(AssertionError, match=text.replace(".", r"\.")):
        check(events)


def test_a_cut_session_need_not_be_whole() -> None:
    """Whatever was open."""
    events = json.loads(said("openai"))
    for end in range(1, len(events)):
        checker = Checker()
        for event in events[:end]:
            checker.see(event)
        checker.finish(is_cut=True)
    with pytest.raises(AssertionError, match="no event"):
        Checker().finish()


def test_audio_in_binary_messages_is_xais() -> None:
    """And part of a response."""
    with pytest.raises(AssertionError, match="binary"):
        Checker().see(b"\0\0")
    with pytest.raises(AssertionError, match="outside"):
        Checker(is_xai=True).see(b"\0\0")


def test_every_type_of_the_sdk_is_known() -> None:
    """Those of calls and of remote tools included."""
    assert len(MODELS) == 46
