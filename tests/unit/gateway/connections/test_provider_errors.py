"""What a provider's answer to a handshake means for the client, and for the operator."""

import pytest

from gateway.connections.close import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.connections.provider_errors import (
    ProviderRedirectsError,
    ProviderUnavailableError,
    error_for,
)

MEANINGS = [
    # status; how the client's session is closed, the code that it is told
    (400, POLICY_VIOLATION, "provider_refused"),
    (401, POLICY_VIOLATION, "provider_refused"),
    (402, TRY_AGAIN_LATER, "provider_unavailable"),
    (403, POLICY_VIOLATION, "provider_refused"),
    (404, POLICY_VIOLATION, "model_not_found"),
    (408, TRY_AGAIN_LATER, "provider_unavailable"),
    (410, POLICY_VIOLATION, "provider_refused"),
    (425, TRY_AGAIN_LATER, "provider_unavailable"),
    (429, TRY_AGAIN_LATER, "provider_unavailable"),
    (499, POLICY_VIOLATION, "provider_refused"),
    (500, TRY_AGAIN_LATER, "provider_unavailable"),
    (503, TRY_AGAIN_LATER, "provider_unavailable"),
    (599, TRY_AGAIN_LATER, "provider_unavailable"),
]


@pytest.mark.parametrize(("status", "close_code", "code"), MEANINGS)
def test_a_refusal_says_whether_trying_again_may_help(
    status: int, close_code: int, code: str
) -> None:
    """What may pass closes with 1013, what another try cannot change with 1008."""
    error = error_for(b"HTTP/1.1 %d Whatever\r\nHost: p\r\n\r\n" % status)
    assert (error.close_code, error.code, error.status) == (close_code, code, status)
    assert str(error) == f"refused the connection: {status}"
    assert error.hint, "the operator is told what to look at"


HINTS = [
    (401, "the provider's key"),
    (402, "billing of our account"),
    (403, "the provider's key"),
    (404, "the model's name"),
    (422, "the query that the client sent"),
    (503, "it may pass"),
]


@pytest.mark.parametrize(("status", "hint"), HINTS)
def test_the_operator_is_told_where_to_look(status: int, hint: str) -> None:
    """Each status has its own place."""
    assert hint in error_for(b"HTTP/1.1 %d No\r\n\r\n" % status).hint


@pytest.mark.parametrize(
    ("status", "is_about_account"),
    [(401, True), (402, True), (403, True), (429, True), (400, False), (404, False), (503, False)],
)
def test_a_refusal_of_our_own_account_is_known(status: int, is_about_account: bool) -> None:
    """A client gets other words for what is no fault of its own: key, billing, quota, rate."""
    assert error_for(b"HTTP/1.1 %d No\r\n\r\n" % status).is_about_account is is_about_account


def test_what_the_answer_says_is_repeated_to_nobody() -> None:
    """Providers quote the key that they refuse."""
    error = error_for(b"HTTP/1.1 401 Bad key sk-secret\r\nX-Key: sk-secret\r\n\r\nsk-secret")
    assert "secret" not in f"{error} {error.client_message} {error.hint}"


NO_STATUS = [
    # the answer's first line; what the log says of it
    (b"HTTP/1.1 200 OK", "200"),
    (b"HTTP/1.1 304 Not Modified", "304"),
    (b"HTTP/1.1 600 What", "600"),
    (b"HTTP/1.1 -40 What", "-40"),
    (b"HTTP/1.1 \xd9\xa4\xd9\xa0\xd9\xa0 x", "٤٠٠"),
    (b"HTTP/1.1 5xxy", "5xx"),
    (b"HTTP/1.1", "no status"),
    (b"", "no status"),
]


@pytest.mark.parametrize(("line", "found"), NO_STATUS)
def test_an_answer_that_is_no_refusal_is_the_servers_fault(line: bytes, found: str) -> None:
    """Neither an upgrade nor an error: 1011, and at most three characters of it."""
    error = error_for(line + b"\r\n\r\n")
    assert (error.close_code, error.status) == (INTERNAL_ERROR, 0)
    assert error.code == "provider_unavailable"
    assert str(error) == f"refused the connection: {found}"


REDIRECTS = [
    (b"HTTP/1.1 301 Moved\r\nLocation: wss://p/v2\r\n\r\n", "wss://p/v2"),
    (b"HTTP/1.1 302 Found\r\nServer: p\r\nlocation:wss://p/v2\r\n\r\n", "wss://p/v2"),
    (b"HTTP/1.1 307 There\r\nLOCATION :  /v2?a=b:c \r\nLocation: /v3\r\n\r\n", "/v2?a=b:c"),
    (b"HTTP/1.1 308 There\r\nLocation: /\xe4\r\n\r\n", "/ä"),
    (b"HTTP/1.1 303 See Other\r\nServer: p\r\n\r\n", ""),
]


@pytest.mark.parametrize(("head", "location"), REDIRECTS)
def test_a_redirect_says_where_to(head: bytes, location: str) -> None:
    """By its first location, whatever its case; empty where there is none."""
    error = error_for(head)
    assert isinstance(error, ProviderRedirectsError)
    assert error.location == location
    assert error.close_code == POLICY_VIOLATION


def test_where_a_redirect_leads_is_in_no_text() -> None:
    """The query may repeat the key."""
    error = error_for(b"HTTP/1.1 302 Found\r\nLocation: https://p/?key=sk-secret\r\n\r\n")
    assert "secret" not in f"{error} {error.client_message} {error.hint}"


def test_a_provider_that_is_not_there_may_be_there_later() -> None:
    """SDKs that reconnect do so on 1011."""
    error = ProviderUnavailableError("timed out")
    assert (error.close_code, error.code) == (INTERNAL_ERROR, "provider_unavailable")
    assert not error.is_about_account
