"""What a session of a Gemini model that only transcribes costs: the audio of its words."""

import base64
from typing import Any

import pytest

from gateway.metering.base import Metered
from gateway.metering.gemini.meter import GeminiMeter
from shared.usage import Kind
from tests.support.metering_gemini import USAGE, counted, frame, hear, say, session

WHISPERER = "models/gemini-3.5-transcribe-live"


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
    data = base64.b64encode(bytes(8_000 * 2 * 60)).decode()
    blob = {"data": data, "mimeType": "audio/pcm;rate=8000"}
    minute = frame({"realtimeInput": {"audio": blob}}, mask=True)
    for _ in range(180):
        meter.observe_client(minute)
    rows = hear(meter, serverContent={"inputTranscription": {"text": "a"}}) + meter.finish()
    assert [one.usage.billed_ms for one in rows] == [10_000_000, pytest.approx(800_000, rel=0.01)]
