"""What the providers report, by unit, is what stands in the rows, whatever the order of events."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.base import Meter, Metered
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from shared.rate_card import read_rates
from shared.rates import DEFAULT_RATES
from shared.usage import ESTIMATES, USAGE_FIELDS, UsageBatch

Event = dict[str, Any]
Report = tuple[list[Event], Counter[str]]
few = st.integers(0, 5_000)


def message(event: Event, *, is_binary: bool = False) -> Frame:
    """A message of the server's."""
    data = json.dumps(event).encode()
    wire = WireFrame(Opcode.BINARY if is_binary else Opcode.TEXT, data).serialize(mask=False)
    (found,) = FrameScanner(expects_mask=False).feed(wire)
    return found


def counted(found: Sequence[Any]) -> Counter[str]:
    """The units of all rows that are no estimates."""
    units: Counter[str] = Counter()
    for one in found:
        assert isinstance(one, Metered)
        if one.kind not in ESTIMATES:
            units.update({name: getattr(one.usage, name) for name in USAGE_FIELDS})
    return +units


def play(meter: Meter, reports: list[Report], *, is_binary: bool = False) -> list[Any]:
    """All that the meter finds; each report is sent twice, as providers sometimes do."""
    found: list[Any] = []
    for events, _ in reports:
        for event in events:
            found += meter.observe(message(event, is_binary=is_binary))
    return found + meter.finish()


def expected(reports: list[Report]) -> Counter[str]:
    """The sum of what was reported."""
    return +sum((units for _, units in reports), Counter())


@st.composite
def responses(draw: st.DrawFn, *, is_xai: bool) -> list[Report]:
    """Responses of a session, with tools and seconds, each end repeated now and then."""
    reports, total_s = [], 0
    for number in range(draw(st.integers(0, 6))):
        into, out, searches, calls = draw(few), draw(few), draw(few), draw(few)
        usage: Event = {"input_tokens": into, "output_tokens": out, "total_tokens": into + out}
        response: Event = {"id": f"resp_{number}", "status": "completed", "usage": usage}
        units = Counter(
            input_tokens=into, output_tokens=out, total_tokens=into + out,
            web_searches=searches, tool_calls=calls,
        )  # fmt: skip
        drawn = draw(few)
        tools: Event = {
            "web_search": {"num_requests": searches}, "other": {"num_requests": calls},
            "image_gen": {"input_tokens": 1, "output_tokens": drawn, "total_tokens": drawn + 1},
        }  # fmt: skip
        units.update(input_tokens=1, output_tokens=drawn, total_tokens=drawn + 1)
        response["tool_usage"] = tools
        done: Event = {"type": "response.done", "response": response}
        if is_xai:
            seconds = draw(st.integers(0, 3_600))
            done = {**done, "response": {**response, "usage": {}}}
            total_s += seconds  # a running total of the conversation
            done["usage"] = {**usage, "billable_audio_seconds": total_s}
            units["billed_ms"] = seconds * 1000
        times = draw(st.integers(1, 2))
        created = {"type": "response.created", "response": {"id": f"resp_{number}"}}
        reports.append(([created, *[done] * times], units))
    return reports


@st.composite
def transcriptions(draw: st.DrawFn) -> list[Report]:
    """Items that were committed and transcribed, in seconds or in tokens."""
    reports = []
    for number in range(draw(st.integers(0, 6))):
        item, count = f"item_{number}", draw(few)
        if draw(st.booleans()):
            usage: Event = {"type": "duration", "seconds": count}
            units = Counter(billed_ms=count * 1000)
        else:
            usage = {"type": "tokens", "input_tokens": count, "output_tokens": 1}
            units = Counter(input_tokens=count, output_tokens=1, total_tokens=count + 1)
        kind = "conversation.item.input_audio_transcription.completed"
        done = {"type": kind, "event_id": f"e{number}", "item_id": item, "usage": usage}
        committed = {"type": "input_audio_buffer.committed", "item_id": item}
        reports.append(([committed, done], units))
    return reports


@st.composite
def live(draw: st.DrawFn) -> list[Report]:
    """Cumulative seconds, which repeat and grow, and delegated responses."""
    reports, total = [], 0
    for number in range(draw(st.integers(0, 6))):
        seconds, tokens, writes = draw(st.integers(0, 60)), draw(few), draw(few)
        total += seconds
        updated = {"type": "session.usage.updated", "usage": {"seconds": total}}
        usage = {
            "input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens,
            "input_tokens_details": {"cache_write_tokens": writes},
        }  # fmt: skip
        drawn = draw(few)
        images = {"image_gen": {"output_tokens": drawn, "total_tokens": drawn}}
        response = {
            "id": f"resp_{number}", "model": "gpt-5.6", "usage": usage, "tool_usage": images
        }  # fmt: skip
        inner = {"type": "response.completed", "response": response}
        units = Counter(
            billed_ms=seconds * 1000, input_tokens=tokens, total_tokens=tokens,
            input_cache_write_tokens=writes,
        )  # fmt: skip
        units.update(output_tokens=drawn, total_tokens=drawn)
        delegated = {"type": "response.event", "event": inner}
        reports.append(([updated, updated, delegated, delegated], units))
    return reports


@st.composite
def turns(draw: st.DrawFn) -> list[Report]:
    """Turns of Gemini, with queries that are repeated."""
    reports = []
    names = st.lists(st.sampled_from("abcdef"), max_size=4)
    many = st.integers(1_001, 1_500).map(lambda count: [f"q{n}" for n in range(count)])
    for _ in range(draw(st.integers(0, 6))):
        prompt, answer, queries = draw(few), draw(few), draw(names | many)
        grounding = {"groundingMetadata": {"webSearchQueries": queries}}
        spoken = {"serverContent": {"modelTurn": {"parts": []}, **grounding}}
        usage = {"promptTokenCount": prompt + 1, "responseTokenCount": answer}
        ended = {"serverContent": {"turnComplete": True, **grounding}, "usageMetadata": usage}
        units = Counter(
            input_tokens=prompt + 1, output_tokens=answer, total_tokens=prompt + 1 + answer,
            grounding_queries=len(set(queries)),
        )  # fmt: skip
        reports.append(([spoken, ended], units))
    return reports


@given(responses(is_xai=False), transcriptions())
def test_openai(said: list[Report], heard: list[Report]) -> None:
    """Responses and transcriptions, in tokens and seconds; tools by the piece."""
    meter = OpenAIMeter(model="m")
    session = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    meter.observe(message({"type": "session.updated", "session": session}))
    assert counted(play(meter, [*said, *heard])) == expected([*said, *heard])


@given(responses(is_xai=True))
def test_xai(said: list[Report]) -> None:
    """Tokens, and the seconds beside them in rows of their own."""
    found = play(OpenAIMeter(model="m", bills_seconds=True), said)
    assert counted(found) == expected(said)
    assert not any(one.usage.billed_ms and one.usage.total_tokens for one in found)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=6), st.booleans())
def test_all_audio_of_xai_is_reported_or_estimated(
    turns: list[tuple[int, int]], is_answered: bool
) -> None:
    """Whatever is said and whenever something is reported: the rest is the end's."""
    meter, total_s, found = OpenAIMeter(model="m", bills_seconds=True), 0, list[Any]()
    for number, (before_s, after_s) in enumerate(turns):
        speak(meter, before_s)
        if is_answered:
            total_s += before_s
            usage = {"total_tokens": 0, "billable_audio_seconds": total_s}
            done = {"type": "response.done", "response": {"id": f"r{number}", "usage": usage}}
            found += meter.observe(message(done))
        speak(meter, after_s)
        total_s += after_s  # it is in the next total
    found += meter.finish()
    said_s = sum(before_s + after_s for before_s, after_s in turns)
    ms = sum(one.usage.billed_ms for one in found)
    assert abs(ms - said_s * 1_000) <= said_s * 20


def speak(meter: Meter, seconds: int) -> None:
    """Audio of the client's, a message for each second."""
    text = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 64_000})
    wire = WireFrame(Opcode.TEXT, text.encode()).serialize(mask=True)
    (append,) = FrameScanner(expects_mask=True).feed(wire)
    for _ in range(seconds):
        meter.observe_client(append)


@given(live())
def test_gpt_live(said: list[Report]) -> None:
    """Seconds are what is new of them."""
    assert counted(play(LiveMeter(), said)) == expected(said)


@given(turns())
def test_gemini(said: list[Report]) -> None:
    """Turns are summed; a query counts once in each."""
    assert counted(play(GeminiMeter(model="m"), said, is_binary=True)) == expected(said)


METERS: list[tuple[str, Callable[[], Meter]]] = [
    ("openai", lambda: OpenAIMeter(model="gpt-realtime")),
    ("xai", lambda: OpenAIMeter(model="grok-voice-latest", bills_seconds=True)),
]


@given(responses(is_xai=True), st.sampled_from(METERS))
def test_nothing_is_unpriced_without_its_mark(
    said: list[Report], named: tuple[str, Callable[[], Meter]]
) -> None:
    """A row that costs nothing for a unit that it holds says so, on any card."""
    provider, make = named
    cards = [DEFAULT_RATES, read_rates(b'version = "v"\n[[rates]]\ntool_call = 0\n')]
    for one in play(make(), said):
        if not isinstance(one, Metered):
            continue
        row = UsageBatch("a", "s", provider, one.model, one.kind, 1, ("r",), one.usage, 0)
        for card in cards:
            marked = set(card.unpriced(row))
            assert ("session_second" in marked) == bool(one.usage.billed_ms)
            assert ("web_search" in marked) == bool(one.usage.web_searches)
            is_priced = card is not DEFAULT_RATES
            assert ("tool_call" in marked) == (bool(one.usage.tool_calls) and not is_priced)
