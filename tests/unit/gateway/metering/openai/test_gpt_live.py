"""Sessions of GPT-Live: from when on one is in flight, and what a fork is charged."""

import json
from typing import Any

import pytest
from websockets.utils import apply_mask

from gateway.frames import Frame
from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.cancel import CANCEL_ID
from gateway.metering.openai.gpt_live import LiveMeter
from shared.usage import Usage
from tests.support.metering import hear, said, say_on_the_telephone, text, the_one

START = {"type": "session.start", "session": {"model": "gpt-live-1"}}


def test_a_live_session_is_in_flight_from_its_start_on() -> None:
    """A client that leaves before the server has answered its start has begun a session."""
    watch = LiveMeter()
    assert (watch.drain_s, watch.cancel_events()) == (0, [])
    watch.observe_client(said({"type": "session.input_audio.append", "audio": "AAAA"}))
    assert (watch.drain_s, watch.cancel_events()) == (0, [])
    watch.observe_client(said(START))
    assert watch.model == "gpt-live-1"
    assert len(watch.in_flight) == 1
    assert watch.streaming == frozenset(), "the end of a session is not waited for"
    assert watch.drain_s > 0
    (close,) = watch.cancel_events()
    assert json.loads(close) == {"type": "session.close", "event_id": CANCEL_ID}
    watch.observe(text({"type": "session.started", "session": {"model": "gpt-live-1-2026-10-01"}}))
    watch.observe(text({"type": "session.closed", "usage": {"seconds": 1}}))
    assert watch.model == "gpt-live-1-2026-10-01"
    assert (watch.in_flight, watch.cancels_answered, watch.drain_s) == (frozenset(), 1, 0)


@pytest.mark.parametrize("place", ["event", "error"])
def test_a_live_session_that_could_not_start_is_not_in_flight(place: str) -> None:
    """Its close is answered with an error, whichever object names it."""
    watch = LiveMeter()
    watch.observe_client(said(START))
    named = {"client_event_id": CANCEL_ID}
    error: dict[str, Any] = {"type": "error", "error": {"code": "invalid_value"}}
    watch.observe(text({**error, **named} if place == "event" else {**error, "error": named}))
    assert (watch.in_flight, watch.cancels_answered, watch.drain_s) == (frozenset(), 1, 0)


def test_the_start_of_a_live_session_may_come_in_fragments() -> None:
    """Whatever the cuts and spaces."""
    payload = json.dumps(START, indent=2).encode()
    watch = LiveMeter()
    for at, piece in enumerate((payload[:5], b"", payload[5:])):
        opcode, mask = (0 if at else 1), b"\x09\x08\x07\x06"
        head = bytes([opcode, 0x80]) + mask
        watch.observe_client(Frame(opcode, at == 2, 6, head + apply_mask(piece, mask)))
    assert watch.model == "gpt-live-1"


@pytest.mark.parametrize(("audio", "told", "charged"), [(64_000, 61.0, 1), (640_000, 8.0, 8)])
def test_a_fork_is_charged_no_more_than_passed_through_it(
    audio: int, told: float, charged: int
) -> None:
    """Its first report may hold what its parent was charged for; what comes later is its own."""
    watch = LiveMeter(is_fork=True)
    watch.observe(text({"type": "session.started", "session": {"id": "s", "model": "gpt-live-1"}}))
    delta = {"type": "session.output_audio.delta", "delta": "A" * audio}
    watch.observe(text(delta))
    first = watch.observe(text({"type": "session.usage.updated", "usage": {"seconds": told}}))
    found = the_one(first)
    assert isinstance(found, Metered)
    assert round(found.usage.billed_ms / 1000) == charged
    later = watch.observe(text({"type": "session.closed", "usage": {"seconds": told + 2}}))
    found = the_one(later)
    assert isinstance(found, Metered)
    assert found.usage.billed_ms == 2_000


@pytest.mark.parametrize("event", [None, "d", {}, {"decision": None}, {"decision": [5]}])
def test_a_decision_that_says_nothing_costs_nothing(event: Any) -> None:
    """The session goes on, and so does its meter."""
    watch = LiveMeter(model="gpt-live-1")
    assert hear(watch, "decision.event", event=event) == []
    usage = {"input_tokens": 2, "output_tokens": 1, "total_tokens": 3}
    decision = {"model": "gpt-decide", "usage": usage}
    (row,) = hear(watch, "decision.event", event_id="e1", event={"decision": decision})
    assert isinstance(row, Metered)
    assert (row.response_id, row.model, row.usage) == ("e1", "gpt-decide", Usage(2, 1, 3))


def test_seconds_that_cannot_be_read_are_quarantined_once() -> None:
    """Under the event's id; the next report, which is cumulative, makes up for them."""
    watch = LiveMeter(model="gpt-live-1")
    wrong = {"event_id": "e1", "usage": {"seconds": "many"}}
    (found,) = hear(watch, "session.usage.updated", **wrong)
    assert isinstance(found, Unreadable)
    assert (found.response_id, json.loads(found.raw)) == ("e1", {"seconds": "many"})
    assert hear(watch, "session.usage.updated", **wrong) == []
    (row,) = hear(watch, "session.usage.updated", event_id="e2", usage={"seconds": 7})
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == 7_000


@pytest.mark.parametrize("message", [b"no JSON", b"[]", b'{"type":"session.update"}'])
def test_what_is_no_start_begins_nothing(message: bytes) -> None:
    """The provider refuses it; a start may still come."""
    watch = LiveMeter()
    watch.observe_client(said(message))
    assert watch.in_flight == frozenset()
    watch.observe_client(said(START))
    assert watch.model == "gpt-live-1"


def test_a_live_session_of_telephone_audio_that_breaks_is_metered_by_its_format() -> None:
    """GPT-Live names one format for both directions."""
    meter = LiveMeter()
    audio = {"format": {"type": "audio/pcmu", "rate": 8_000}}
    meter.observe_client(said({"type": "session.start", "session": {"audio": audio}}))
    say_on_the_telephone(meter, "session.input_audio.append")
    (row,) = meter.finish()
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == pytest.approx(20_000, rel=0.03)
