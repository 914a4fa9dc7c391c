"""Which errors answer a cancel of ours."""

from typing import Any

import pytest

from gateway.metering.openai.cancel import CANCEL_ID, answers_cancel, encode_event

ERRORS: list[tuple[dict[str, Any], bool]] = [
    ({"error": {"code": "response_cancel_not_active"}}, True),
    ({"error": {"code": "invalid_value", "event_id": CANCEL_ID}}, True),
    ({"error": {"code": "invalid_value", "client_event_id": CANCEL_ID}}, True),  # GPT-Live's
    ({"error": {"code": "invalid_value"}, "client_event_id": CANCEL_ID}, True),
    ({"error": {"code": "invalid_value", "event_id": "of_the_client"}}, False),
    ({"error": {}, "event_id": CANCEL_ID}, False),  # the error's own id
    ({"error": CANCEL_ID}, False),
    ({}, False),
]


@pytest.mark.parametrize(("event", "is_answer"), ERRORS)
def test_an_error_answers_a_cancel_that_it_names(event: dict[str, Any], is_answer: bool) -> None:
    """Or that had nothing to cancel; others may answer what the client did before it left."""
    assert answers_cancel(event) is is_answer


def test_an_event_of_ours_is_as_short_as_json_can_be() -> None:
    """It is sent in one frame."""
    assert encode_event({"type": "response.cancel", "n": [1, 2]}) == (
        b'{"type":"response.cancel","n":[1,2]}'
    )
