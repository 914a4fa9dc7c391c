"""Errors of a provider about our own account, and what a tenant hears of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.metering.account_errors import NEUTRAL_CODE, is_about_account, mask_account_error

OURS = [
    {"type": "invalid_request_error", "code": "invalid_api_key",
     "message": "Incorrect API key provided: sk-abcd****wxyz", "param": None},
    {"type": "insufficient_quota", "code": "insufficient_quota", "message": "You exceeded it."},
    {"type": "insufficient_quota", "code": None, "message": "You exceeded it."},
    {"type": "server_error", "code": "odd", "message": "No access for org-Abcd1234 any more."},
    {"type": None, "code": None, "message": "Incorrect API key provided: abcd...wxyz"},
    {"type": None, "code": None, "message": "No access in organization acme."},
    {"type": None, "code": "429", "message": "Requests have exceeded the limit of your tier."},
    {"type": None, "code": "RateLimitReached", "message": "Your tier allows 3."},
    {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "org-Abcd1234: 3/3"},
]  # fmt: skip
THEIRS: list[Any] = [
    {"type": "invalid_request_error", "code": "invalid_value", "message": "Invalid value: 'x'."},
    {"type": "invalid_request_error", "code": "invalid_value", "param": "session.prompt.id",
     "message": "Invalid value: 'proj-abcdef'."},
    {"type": "invalid_request_error", "code": "response_cancel_not_active", "message": "Nothing."},
    {"type": "server_error", "code": None, "message": "The server had an error."},
    None, "insufficient_quota", {},
]  # fmt: skip


@pytest.mark.parametrize("error", OURS)
def test_what_is_about_our_account_is_told_as_a_failing_provider(error: dict[str, Any]) -> None:
    """No code that a client takes for its own, no fragment of a key, no organisation."""
    event = {"type": "error", "event_id": "event_1", "error": error}
    found = mask_account_error(event)
    assert found is not None
    assert NEUTRAL_CODE.encode() in found.message
    assert b'"event_id":"event_1"' in found.message
    for word in (b"sk-", b"org-", b"quota", b"key", b"exceeded"):
        assert word not in found.message


def test_an_error_at_the_top_is_read_too() -> None:
    """Nothing of it stays beside what is told instead."""
    event = {"type": "error", "event_id": "e1", "code": "invalid_api_key", "message": "sk-abcd"}
    found = mask_account_error(event)
    assert found is not None
    assert NEUTRAL_CODE.encode() in found.message
    assert b"sk-" not in found.message
    assert b"invalid_api_key" not in found.message


def test_an_error_that_is_a_text_alone_is_read_too() -> None:
    """It may name our key as well as any other."""
    found = mask_account_error(
        {"type": "error", "error": "Incorrect API key provided: xai-abcdefgh"}
    )
    assert found is not None
    assert b"xai-" not in found.message


@pytest.mark.parametrize("error", THEIRS)
def test_what_the_client_did_is_told_as_it_is(error: Any) -> None:
    """Its own mistakes are its own, whatever they quote."""
    assert mask_account_error({"type": "error", "error": error}) is None
    failed = {"status": "failed", "status_details": {"type": "failed", "error": error}}
    assert mask_account_error({"type": "response.done", "response": failed}) is None


@pytest.mark.parametrize("error", OURS)
def test_a_failed_response_keeps_all_but_the_reason(error: dict[str, Any]) -> None:
    """Its id and its usage are the client's affair."""
    response = {"id": "resp_1", "status": "failed", "usage": {"total_tokens": 3},
                "status_details": {"type": "failed", "error": error}}  # fmt: skip
    found = mask_account_error({"type": "response.done", "response": response})
    assert found is not None
    kind = "conversation.item.input_audio_transcription.failed"
    failed = mask_account_error({"type": kind, "item_id": "item_1", "error": error})
    assert failed is not None
    assert b"item_1" in failed.message
    assert b'"usage":{"total_tokens":3}' in found.message
    assert b"resp_1" in found.message
    assert b"org-" not in found.message


@pytest.mark.parametrize("details", [None, "unimplemented", {}, {"error": None}, 5])
def test_any_response_may_end(details: Any) -> None:
    """xAI's details are a text."""
    response = {"id": "resp_1", "status": "completed", "status_details": details}
    assert mask_account_error({"type": "response.done", "response": response}) is None
    assert mask_account_error({"type": "response.done", "response": None}) is None


DELEGATED = [
    # the event of the other API, by the error; where the error stands in it
    (lambda error: {"type": "response.failed", "response": {"id": "resp_1", "error": error}},
     ("response", "error")),
    (lambda error: {"type": "response.output_item.done",
                    "item": {"type": "image_generation_call", "error": error}}, ("item", "error")),
    (lambda error: {"type": "error", "error": error}, ("error",)),
    (lambda error: {"type": "decision.failed", "error": error}, ("error",)),
    (lambda error: {"type": "decision.completed", "decision": {"id": "d", "error": error}},
     ("decision", "error")),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "path"), DELEGATED)
@pytest.mark.parametrize("kind", ["response.event", "decision.event"])
def test_what_another_model_did_keeps_all_but_the_reason_of_its_failure(
    kind: str, inside: Callable[[Any], dict[str, Any]], path: tuple[str, ...]
) -> None:
    """GPT-Live hands on what its other models' API says, with whatever that says of our account."""
    for error in OURS:
        found = mask_account_error({"type": kind, "delegation_id": "del_1", "event": inside(error)})
        assert found is not None
        told = json.loads(found.message)
        assert told["delegation_id"] == "del_1"
        failed = told["event"]
        for name in path:
            failed = failed[name]
        assert failed["code"] == NEUTRAL_CODE
        assert told["event"] == inside(failed)
        for word in (b"sk-", b"org-", b"quota", b"key", b"exceeded"):
            assert word not in found.message
    for error in THEIRS:
        assert mask_account_error({"type": kind, "event": inside(error)}) is None


def test_the_flat_error_of_another_api_stays_flat() -> None:
    """``ResponseErrorEvent`` of the SDK has its fields at the top."""
    inner = {"type": "error", "sequence_number": 3, "code": "429", "message": "org-A"}
    found = mask_account_error({"type": "response.event", "event": inner})
    assert found is not None
    told = json.loads(found.message)["event"]
    assert (told["type"], told["code"], told["sequence_number"]) == ("error", NEUTRAL_CODE, 3)
    assert "org-" not in told["message"]


def test_the_error_of_the_clients_own_tool_server_is_the_clients() -> None:
    """An MCP server has keys and limits of its own, which its owner must hear of."""
    item = {"type": "mcp_call", "error": {"type": "http_error", "code": 401, "message": "Denied."}}
    event = {"type": "response.output_item.done", "item": item}
    assert mask_account_error({"type": "response.event", "event": event}) is None


@pytest.mark.parametrize("inner", [None, "insufficient_quota", [], 5, {"response": "failed"}])
def test_an_event_of_another_api_may_be_anything(inner: Any) -> None:
    """What no document describes passes as it is."""
    assert mask_account_error({"type": "response.event", "event": inner}) is None


REASONS = [
    ("You exceeded your current quota, please check your plan and billing details.", True),
    ("API key not valid. Please pass a valid API key.", True),
    ("invalid_request_error.invalid_api_key", True),
    ("Deadline expired", False),
    ("models/gemini-x is not found for API version v1beta", False),
    ("Your session hit the maximum duration of 60 minutes.", False),
    ("Operation is not implemented, or supported, or enabled", False),
    ("", False),
]


@pytest.mark.parametrize(("reason", "is_ours"), REASONS)
def test_a_close_may_be_about_our_account(reason: str, is_ours: bool) -> None:
    """Gemini has no error events: it closes with a sentence."""
    assert is_about_account(reason) is is_ours
