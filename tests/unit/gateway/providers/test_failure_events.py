"""What clients hear of a failure, in the protocol that they speak."""

import json

import pytest

from gateway.providers.base import Dialect
from gateway.providers.failure_events import failure_event

FAILURES = [
    # our code; what kind of error it is in OpenAI's words
    ("insufficient_quota", "insufficient_quota"),
    ("model_not_allowed", "invalid_request_error"),
    ("configuration_refused", "invalid_request_error"),
    ("provider_unavailable", "server_error"),
]


@pytest.mark.parametrize(("code", "kind"), FAILURES)
def test_a_failure_is_an_error_event(code: str, kind: str) -> None:
    """SDKs read its code and its message."""
    event = json.loads(failure_event(Dialect.OPENAI, code=code, message="why") or b"")
    assert event["type"] == "error"
    assert event["event_id"] == f"event_rts_{code}"
    assert event["error"] == {"type": kind, "code": code, "message": "why", "param": None}


def test_a_gemini_client_gets_no_event() -> None:
    """Google's SDK fails on messages that it does not know: the close has to say it."""
    assert failure_event(Dialect.GEMINI, code="insufficient_quota", message="why") is None
