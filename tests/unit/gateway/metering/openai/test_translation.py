"""A translation, which no event reports: the audio that went in."""

from typing import Any

import pytest

from gateway.metering.base import Metered
from gateway.metering.openai.translation import ROW_MS, TranslationMeter
from shared.usage import Kind
from tests.support.metering import hear, say, say_on_the_telephone


def test_a_translation_of_telephone_audio_is_metered_by_its_format() -> None:
    """As the session says it."""
    meter = TranslationMeter(model="gpt-realtime-translate")
    spoken = {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}
    hear(meter, "session.updated", session=spoken)
    say_on_the_telephone(meter, "session.input_audio_buffer.append")
    (row,) = meter.finish()
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == pytest.approx(20_000, rel=0.02)


def test_a_translation_is_metered_by_what_was_said() -> None:
    """A row for each minute of audio, and one for the rest: no event reports any usage.

    What waits for the provider's next word would be lost with a gateway that is killed.
    """
    meter = TranslationMeter(model="gpt-realtime-translate")
    rows: list[Any] = say(meter, 130, "session.input_audio_buffer.append")
    assert [row.usage.billed_ms for row in rows] == [ROW_MS, ROW_MS]
    rows += hear(meter, "session.output_transcript.delta", delta="bon")
    rows += say(meter, 5, "session.input_audio_buffer.append")
    rows += meter.finish()
    assert {row.kind for row in rows} == {Kind.ESTIMATED_DURATION}
    assert len({row.response_id for row in rows}) == len(rows) == 3
    assert sum(row.usage.billed_ms for row in rows) == pytest.approx(135_000, rel=0.01)
    assert meter.finish() == []
