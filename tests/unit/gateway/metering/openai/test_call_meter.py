"""A call, whose audio never passes the gateway: its length is taken to be the time."""

import pytest

from gateway.metering.base import Metered
from gateway.metering.openai.call_meter import OpenAICallMeter
from shared.usage import Kind
from tests.support.metering import hear

TRANSCRIPTION = "conversation.item.input_audio_transcription"
WHISPER = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


def test_a_response_that_ended_unheard_is_estimated_by_time() -> None:
    """Ten tokens a second of the caller, twenty of the answer while one is being made."""
    meter = OpenAICallMeter(model="gpt-realtime")
    meter.passed(3.0)
    hear(meter, "response.created", response={"id": "resp_1"})
    meter.passed(2.0)
    (estimate,) = meter.estimate_responses(["resp_1"])
    assert isinstance(estimate, Metered)
    assert (estimate.response_id, estimate.kind) == ("resp_1", Kind.ESTIMATE)
    assert (estimate.usage.input_tokens, estimate.usage.output_tokens) == (50, 40)
    assert not meter.in_flight


def test_a_response_that_was_reported_is_not_estimated() -> None:
    """Its usage came before the connection broke."""
    meter = OpenAICallMeter(model="gpt-realtime")
    hear(meter, "response.created", response={"id": "resp_1"})
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    hear(meter, "response.done", response={"id": "resp_1", "usage": usage})
    assert meter.estimate_responses(["resp_1"]) == []


@pytest.mark.parametrize(("is_transcribed", "heard_ms"), [(True, [4_000]), (False, [])])
def test_what_a_caller_said_is_transcribed_if_that_is_on(
    is_transcribed: bool, heard_ms: list[int]
) -> None:
    """By the time until its commit, where no usage is told."""
    meter = OpenAICallMeter(model="gpt-realtime")
    if is_transcribed:
        hear(meter, "session.updated", session=WHISPER)
    meter.passed(4.0)
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    rows = [row for row in meter.finish() if isinstance(row, Metered)]
    assert [row.usage.billed_ms for row in rows] == heard_ms
