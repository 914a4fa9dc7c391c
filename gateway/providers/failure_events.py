"""How a client hears, in the protocol that it speaks, that its session failed. Pure."""

import json
from typing import Final

from gateway.providers.base import Dialect

# OpenAI's error types for our codes; those that are not here are ``server_error``.
_TYPES: Final = {
    "insufficient_quota": "insufficient_quota",
    "model_not_allowed": "invalid_request_error",
    "configuration_refused": "invalid_request_error",
    "invalid_api_key": "invalid_request_error",
    "expired_api_key": "invalid_request_error",
    "account_disabled": "invalid_request_error",
    "session_ended": "invalid_request_error",
    "spending_limit_reached": "rate_limit_error",
    "session_tokens_reached": "rate_limit_error",
    "session_credits_reached": "rate_limit_error",
    "session_length_reached": "rate_limit_error",
}


def failure_event(dialect: Dialect, *, code: str, message: str) -> bytes | None:
    """An ``error`` event (OpenAI). None where the protocol has no such event: Google's SDK fails on
    messages that it does not know.
    """
    if dialect is Dialect.GEMINI:
        return None
    kind = _TYPES.get(code, "server_error")
    error = {"type": kind, "code": code, "message": message, "param": None}
    event = {"type": "error", "event_id": f"event_rts_{code}", "error": error}
    return json.dumps(event, separators=(",", ":")).encode()
