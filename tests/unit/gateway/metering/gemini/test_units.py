"""What Gemini bills beside tokens, and what it never reports."""

import base64
import json
from typing import Any

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frames import Frame, FrameScanner
from gateway.metering.base import Metered, Unreadable
from gateway.metering.gemini import usage as gemini_usage
from gateway.metering.gemini.meter import GeminiMeter
from shared.usage import Kind

WHISPERER = "models/gemini-3.5-transcribe-live"
HELLO = {"modelTurn": {"parts": [{"text": "hello"}]}}
USAGE = {"promptTokenCount": 7, "responseTokenCount": 2, "totalTokenCount": 9}


def frame(event: dict[str, Any], *, mask: bool) -> Frame:
    """One message as the gateway sees it; the server's are binary and pretty."""
    data = json.dumps(event, indent=None if mask else 2).encode()
    wire = WireFrame(Opcode.TEXT if mask else Opcode.BINARY, data).serialize(mask=mask)
    (found,) = FrameScanner(expects_mask=mask).feed(wire)
    return found


def hear(meter: GeminiMeter, **event: Any) -> list[Metered | Unreadable]:
    """What the meter finds in a message of the server's."""
    return list(meter.observe(frame(event, mask=False)))


def session(model: str = "models/gemini-3.8-live") -> GeminiMeter:
    """A session that was set up."""
    meter = GeminiMeter(model="")
    meter.observe_client(frame({"setup": {"model": model}}, mask=True))
    assert hear(meter, setupComplete={}) == []
    return meter


def say(
    meter: GeminiMeter, seconds: int, mime: str = "audio/pcm;rate=16000"
) -> list[Metered | Unreadable]:
    """What the meter finds in so many seconds of audio, a tenth of one in each message."""
    rate = int(mime.partition("=")[2] or 16_000)
    data = base64.b64encode(bytes(rate * 2 // 10)).decode()
    tenth = frame({"realtimeInput": {"audio": {"data": data, "mimeType": mime}}}, mask=True)
    return [found for _ in range(seconds * 10) for found in meter.observe_client(tenth)]


def grounded(*queries: str) -> dict[str, Any]:
    """Content that was looked up."""
    return {"groundingMetadata": {"webSearchQueries": list(queries)}}


def counted(found: list[Any]) -> list[tuple[int, int]]:
    """Tokens and queries of each row."""
    return [(one.usage.total_tokens, one.usage.grounding_queries) for one in found]


def test_queries_are_counted_once_a_turn() -> None:
    """However often they are repeated: in one message, on later ones, and after the turn's end."""
    meter = session()
    rows: list[Any] = []
    rows += hear(meter, serverContent={**HELLO, **grounded("a", "b", "a")})
    rows += hear(meter, serverContent=grounded("b"))
    rows += hear(
        meter, serverContent={"turnComplete": True, **grounded("a", "c")}, usageMetadata=USAGE
    )
    rows += hear(meter, serverContent=grounded("a", "b"))
    rows += hear(meter, serverContent=HELLO)
    rows += hear(meter, serverContent={"turnComplete": True, **grounded("a")}, usageMetadata=USAGE)
    assert counted(rows + meter.finish()) == [(9, 3), (9, 1)]


def test_queries_of_a_usage_that_nobody_understands_wait_with_it() -> None:
    """They are no other turn's."""
    meter = session()
    strange = {**USAGE, "promptTokenCount": -1}
    hear(meter, serverContent={**HELLO, **grounded("a", "b")})
    (kept,) = hear(meter, serverContent={"turnComplete": True}, usageMetadata=strange)
    assert isinstance(kept, Unreadable)
    assert json.loads(kept.raw) == {"usageMetadata": strange, "groundingQueries": 2}
    hear(meter, serverContent={**HELLO, **grounded("a")})
    assert counted(hear(meter, serverContent={"turnComplete": True}, usageMetadata=USAGE)) == [
        (9, 1)
    ]


def test_queries_that_are_too_many_to_remember_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them: nobody knows which are the same."""
    monkeypatch.setattr(gemini_usage, "_QUERIES_MAX", 3)
    meter = session()
    hear(
        meter, serverContent={"modelTurn": {"parts": []}, **grounded("a", "b", "a", "c", "d", "e")}
    )
    ended = {"turnComplete": True, **grounded("a", "f")}
    found = hear(meter, serverContent=ended, usageMetadata={"promptTokenCount": 3})
    assert counted(found) == [(3, 6)]


def test_queries_of_a_turn_that_is_never_reported_are_charged() -> None:
    """They were reported; its tokens are estimated beside them."""
    meter = session()
    hear(meter, serverContent={**HELLO, **grounded("a", "b")})
    queries, estimate = meter.finish()
    assert isinstance(queries, Metered)
    assert isinstance(estimate, Metered)
    assert (queries.kind, queries.usage.grounding_queries) == (Kind.RESPONSE, 2)
    assert (estimate.kind, estimate.usage.grounding_queries) == (Kind.ESTIMATE, 0)


@pytest.mark.parametrize("odd", [None, 5, [], {"webSearchQueries": "a"}, {"webSearchQueries": [1]}])
def test_odd_grounding_is_no_query(odd: Any) -> None:
    """Nor does it stand in the way of the turn."""
    meter = session()
    content = {**HELLO, "groundingMetadata": odd, "turnComplete": True}
    assert counted(hear(meter, serverContent=content, usageMetadata=USAGE)) == [(9, 0)]


def test_a_model_that_only_transcribes_is_estimated_by_its_audio() -> None:
    """A row for each minute, and one for the rest, trailing audio included."""
    meter = session(WHISPERER)
    rows: list[Any] = []
    for _ in range(3):
        rows += say(meter, 35)
        rows += hear(meter, serverContent={"inputTranscription": {"text": "good morning"}})
    assert len(rows) == 1
    rows += say(meter, 20)
    assert len(rows) == 2, "a minute does not wait for the next word"
    rows += say(meter, 5)
    rows += meter.finish()
    assert {row.kind for row in rows} == {Kind.ESTIMATED_TRANSCRIPTION}
    assert {row.model for row in rows} == {"gemini-3.5-transcribe-live"}
    assert len({row.response_id for row in rows}) == len(rows) == 3
    ms = sum(row.usage.billed_ms for row in rows)
    assert ms == pytest.approx(130_000, rel=0.02)
    assert sum(row.usage.total_tokens for row in rows) == pytest.approx(ms * 25 / 1000, rel=0.01)
    assert meter.finish() == []


def test_audio_before_the_setup_is_confirmed_is_heard() -> None:
    """A client need not wait for the answer to its setup; the setup itself is no audio."""
    meter = GeminiMeter(model="")
    spoken = {"model": WHISPERER, "systemInstruction": {"parts": [{"text": "Be exact. " * 9_000}]}}
    meter.observe_client(frame({"setup": spoken}, mask=True))
    say(meter, 20, "audio/pcm;rate=8000")
    hear(meter, setupComplete={})
    hear(meter, serverContent={"inputTranscription": {"text": "good morning"}})
    (row,) = meter.finish()
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == pytest.approx(20_000, rel=0.03)


@pytest.mark.parametrize("mime", ["audio/pcm", "audio/pcm;rate=8000", "audio/pcm;rate=48000"])
def test_the_mime_type_says_how_long_audio_is(mime: str) -> None:
    """16 kHz where it does not."""
    meter = session(WHISPERER)
    say(meter, 20, mime)
    hear(meter, serverContent={"inputTranscription": {"text": "good morning"}})
    (row,) = meter.finish()
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == pytest.approx(20_000, rel=0.03)


def test_each_message_says_the_rate_of_its_own_audio() -> None:
    """Whoever names a high rate first does not talk at that price."""
    meter = session(WHISPERER)
    say(meter, 1, "audio/pcm;rate=48000")
    say(meter, 20)
    hear(meter, serverContent={"inputTranscription": {"text": "good morning"}})
    (row,) = meter.finish()
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == pytest.approx(21_000, rel=0.03)


SAID = [
    ({"inputTranscription": {"text": "good"}}, True),
    ({"inputTranscription": {"finished": False, "text": "good"}}, True),
    ({"input_transcription": {"text": "good"}}, True),
    ({"inputTranscription": {}}, False),
    ({"inputTranscription": {"finished": True}}, False),
]


@pytest.mark.parametrize(("content", "is_owed"), SAID)
def test_words_are_what_is_owed(content: dict[str, Any], is_owed: bool) -> None:
    """In either spelling; an empty transcription holds none."""
    meter = session(WHISPERER)
    say(meter, 2)
    hear(meter, serverContent=content)
    assert bool(meter.finish()) is is_owed


def test_what_nobody_heard_and_what_is_reported_is_not_estimated() -> None:
    """Words are owed, audio is not; a usage says all that there is."""
    silent = session(WHISPERER)
    say(silent, 20)
    assert silent.finish() == []
    told = session(WHISPERER)
    say(told, 20)
    hear(told, serverContent={"inputTranscription": {"text": "good morning"}})
    found = hear(told, serverContent={"turnComplete": True}, usageMetadata=USAGE)
    assert counted(found + told.finish()) == [(9, 0)]
    other = session()
    say(other, 20)
    hear(other, serverContent={"inputTranscription": {"text": "good morning"}})
    kinds = [one.kind for one in other.finish() if isinstance(one, Metered)]
    assert Kind.ESTIMATED_TRANSCRIPTION not in kinds


def test_more_audio_than_a_row_may_hold_is_several_rows() -> None:
    """Words may come after hours in which nothing was said."""
    meter = session("models/gemini-3.5-transcribe-live")
    data = base64.b64encode(bytes(48_000 * 2 * 60)).decode()
    blob = {"data": data, "mimeType": "audio/pcm;rate=48000"}
    minute = frame({"realtimeInput": {"audio": blob}}, mask=True)
    for _ in range(180):
        meter.observe_client(minute)
    rows = hear(meter, serverContent={"inputTranscription": {"text": "a"}}) + meter.finish()
    assert [one.usage.billed_ms for one in rows] == [10_000_000, pytest.approx(800_000, rel=0.01)]
