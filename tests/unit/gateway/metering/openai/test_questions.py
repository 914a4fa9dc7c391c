"""Which responses are to begin, by what a client and its provider say."""

import json
from typing import Any

import pytest

from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.translation import TranslationMeter
from tests.support.metering import in_pieces, said, text

CREATE = {"type": "response.create"}
CREATED = {"type": "response.created", "response": {"id": "resp_1"}}
STARTED = {"type": "input_audio_buffer.speech_started", "item_id": "item_1"}
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "item_1"}
CLEARED = {"type": "input_audio_buffer.cleared"}
VAD = {"type": "server_vad"}
FROM_CLIENT = ("response.create", "conversation.item.create", "input_audio_buffer.append")


def configured(detection: object, **session: Any) -> dict[str, Any]:
    """The provider says whether it tells by itself when the user has ended."""
    heard = {"input": {"turn_detection": detection}}
    return {"type": "session.updated", "session": {"audio": heard, **session}}


def heard(meter: OpenAIMeter, events: list[dict[str, Any]]) -> tuple[bool, bool]:
    """Whether a response is certain to begin after them, and whether one may."""
    for event in events:
        if event["type"] in FROM_CLIENT:
            meter.observe_client(said(event))
        else:
            meter.observe(text(event))
    return meter.is_asked, meter.may_answer


NOTHING, CERTAIN, PERHAPS = (False, False), (True, False), (False, True)
HEARD: list[tuple[list[dict[str, Any]], tuple[bool, bool]]] = [
    ([], NOTHING),
    ([CREATE], CERTAIN),
    ([CREATE, CREATED], NOTHING),
    ([CREATE, CREATE, CREATED], CERTAIN),
    ([CREATE, {"type": "error", "error": {"code": "busy"}}], NOTHING),
    ([{"type": "error", "error": {"code": "busy"}}, CREATE], CERTAIN),
    ([{"type": "conversation.item.create", "item": {}}], NOTHING),
    ([{"type": "input_audio_buffer.append", "audio": "response.create"}], NOTHING),
    ([STARTED, COMMITTED], NOTHING),
    ([configured(VAD), STARTED], PERHAPS),
    ([configured(VAD), STARTED, CLEARED], NOTHING),
    ([configured(VAD), STARTED, COMMITTED], CERTAIN),
    ([configured(VAD), STARTED, COMMITTED, CREATED], NOTHING),
    ([configured({**VAD, "create_response": False}), STARTED], NOTHING),
    ([configured({**VAD, "create_response": False}), COMMITTED], NOTHING),
    ([configured(VAD), configured(None), COMMITTED], NOTHING),
    ([configured(VAD), {"type": "session.updated", "session": {}}, COMMITTED], CERTAIN),
    ([configured(VAD, type="transcription"), COMMITTED], NOTHING),
    ([configured(VAD, object="realtime.transcription_session"), COMMITTED], NOTHING),
    ([{"type": "session.updated", "session": {"turn_detection": VAD}}, COMMITTED], CERTAIN),
]


@pytest.mark.parametrize(("events", "expected"), HEARD)
def test_whether_a_response_is_to_begin(
    events: list[dict[str, Any]], expected: tuple[bool, bool]
) -> None:
    """It was asked for, or the user has ended, or speaks; and it has not begun."""
    assert heard(OpenAIMeter(model="gpt-realtime"), events) == expected


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({}, False),
        ({"type": "realtime"}, False),
        ({"type": "transcription"}, True),
        ({"object": "realtime.transcription_session"}, True),
    ],
)
def test_a_session_that_only_transcribes_has_no_turns(
    session: dict[str, Any], expected: bool
) -> None:
    """What the provider says later of a part of the configuration changes nothing."""
    meter = OpenAIMeter(model="gpt-realtime")
    heard(meter, [configured(VAD, **session), configured(None)])
    assert meter.is_continuous == expected


@pytest.mark.parametrize("meter", [LiveMeter(), TranslationMeter(model="gpt-realtime-translate")])
def test_a_session_that_is_heard_all_the_time_has_no_turns(meter: OpenAIMeter) -> None:
    """GPT-Live, and translations."""
    assert meter.is_continuous


def test_a_session_that_is_one_answer_waits_for_none() -> None:
    """GPT-Live."""
    assert heard(LiveMeter(), [CREATE, configured(VAD), STARTED, COMMITTED]) == NOTHING


def test_a_question_in_parts_is_not_recognised() -> None:
    """Nobody sends one, and to join all parts would cost everybody."""
    meter = OpenAIMeter(model="gpt-realtime")
    for part in in_pieces(json.dumps(CREATE).encode(), 10, mask=True):
        meter.observe_client(part)
    assert not meter.is_asked
