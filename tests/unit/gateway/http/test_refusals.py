"""Refusals as clients see them: status, headers, and a body that says what was wrong."""

import json

import pytest

from gateway.http import refusals
from gateway.http.refusals import Refusal

EVERY = [
    # the refusal; its status, code and OpenAI's type of error
    (refusals.bad_request("m"), 400, "bad_request", "invalid_request_error"),
    (refusals.bad_request("m", code="model_and_intent"), 400, "model_and_intent",
     "invalid_request_error"),
    (refusals.not_configurable("realtime"), 400, "not_configurable", "invalid_request_error"),
    (refusals.missing_key(), 401, "invalid_api_key", "authentication_error"),
    (refusals.model_not_allowed("m"), 403, "model_not_allowed", "permission_error"),
    (refusals.own_key_needed(), 403, "own_key_needed", "permission_error"),
    (refusals.origin_not_allowed(), 403, "origin_not_allowed", "permission_error"),
    (refusals.cross_origin(), 403, "cross_origin", "permission_error"),
    (refusals.unknown_host("evil.example"), 403, "unknown_host", "permission_error"),
    (refusals.not_found("m"), 404, "not_found", "invalid_request_error"),
    (refusals.no_ephemeral_keys(), 404, "no_ephemeral_keys", "invalid_request_error"),
    (refusals.wrong_method("PUT", allowed="GET"), 405, "method_not_allowed",
     "invalid_request_error"),
    (refusals.upgrade_required(), 426, "upgrade_required", "invalid_request_error"),
    (refusals.wrong_version(), 426, "upgrade_required", "invalid_request_error"),
    (refusals.too_many_requests("m"), 429, "rate_limit_exceeded", "rate_limit_error"),
    (refusals.internal_error(), 500, "internal_error", "server_error"),
    (refusals.unavailable("m"), 503, "service_unavailable", "service_unavailable"),
    (refusals.provider_unavailable(), 503, "provider_unavailable", "service_unavailable"),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "status", "code", "kind"), EVERY)
def test_a_refusal_says_what_was_wrong(refusal: Refusal, status: int, code: str, kind: str) -> None:
    """In the form of OpenAI's errors, so that SDKs raise what they raise for OpenAI."""
    response = refusal.response()
    error = json.loads(response.body)["error"]
    assert response.status_code == status
    assert error == {"type": kind, "code": code, "message": refusal.message}
    assert refusal.message
    assert response.headers["Cache-Control"] == "no-store"


SOME = ("Retry-After", "Upgrade", "Sec-WebSocket-Version", "Allow")
HEADERS = [
    # the refusal, and the headers that only some statuses have
    (refusals.too_many_requests("m"), {"Retry-After": "1"}),
    (refusals.too_many_requests("m", retry_after_s=30), {"Retry-After": "30"}),
    (refusals.refused_key("too_many_new_sessions", "m", 7), {"Retry-After": "7"}),
    (refusals.refused_key("spending_limit_reached", "m"), {}),
    (refusals.unavailable("m"), {"Retry-After": "1"}),
    (refusals.upgrade_required(), {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}),
    (refusals.wrong_version(), {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}),
    (refusals.wrong_method("PUT", allowed="GET, HEAD"), {"Allow": "GET, HEAD"}),
    (refusals.internal_error(), {}),
    (refusals.missing_key(), {}),
]


@pytest.mark.parametrize(("refusal", "expected"), HEADERS)
def test_a_refusal_has_the_headers_of_its_status(
    refusal: Refusal, expected: dict[str, str]
) -> None:
    """RFC 9110: Allow with 405, Upgrade and a version with 426, Retry-After where one may retry."""
    found = refusal.response().headers
    some = {name: found[name] for name in SOME if name in found}
    assert some == expected


REFUSED_KEYS = [
    # accountd's code; the status, and the code that the client is told
    ("invalid_api_key", 401, "invalid_api_key"),
    ("expired_api_key", 401, "expired_api_key"),
    ("insufficient_credits", 402, "insufficient_credits"),
    ("account_disabled", 403, "account_disabled"),
    ("too_many_sessions", 429, "too_many_sessions"),
    ("too_many_new_sessions", 429, "too_many_new_sessions"),
    ("spending_limit_reached", 429, "spending_limit_reached"),
    ("of_a_later_release", 503, "service_unavailable"),
]


@pytest.mark.parametrize(("code", "status", "told"), REFUSED_KEYS)
def test_a_key_is_refused_in_accountds_words(code: str, status: int, told: str) -> None:
    """A code that is unknown here refuses nothing for good: the client may try again."""
    refusal = refusals.refused_key(code, "no")
    assert (refusal.status, refusal.code) == (status, told)


@pytest.mark.parametrize(
    "code", ["too_many_sessions", "too_many_new_sessions", "spending_limit_reached"]
)
def test_a_refusal_that_passes_says_what_to_do(code: str) -> None:
    """In one line, after what accountd says of it."""
    said, _, to_do = refusals.refused_key(code, "found 5, expected 4", 5).message.partition("; ")
    assert said == "found 5, expected 4"
    assert to_do
    assert "\n" not in to_do


@pytest.mark.parametrize(
    "refusal",
    [
        refusals.model_not_allowed("m" * 100_000),
        refusals.unknown_host("h" * 100_000),
        refusals.wrong_method("P" * 100_000, allowed="GET"),
    ],
)
def test_what_a_client_sent_is_repeated_in_part(refusal: Refusal) -> None:
    """A long request makes no long answer."""
    assert len(refusal.message) < 300
