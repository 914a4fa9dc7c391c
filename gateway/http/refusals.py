"""Refusals: plain HTTP answers with a JSON body that says what was wrong. Pure.

One function for each kind: ``door``, ``endpoints`` and ``calls`` return them, ``server`` answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from websockets.http11 import Response

from gateway.http.answers import PRIVATE, json_response

RETRY_AFTER_S: Final = 1
CREDIT_RETRY_S: Final = 10  # as long as a short response
INVALID_KEY: Final = "invalid_api_key"

_TYPE_BY_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    426: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable",
}
# accountd's codes for keys that may do nothing, or not now, and the HTTP status of each.
_STATUS_BY_CODE: Final = {
    INVALID_KEY: 401,
    "expired_api_key": 401,
    "insufficient_credits": 402,
    "account_disabled": 403,
    "too_many_sessions": 429,
    "too_many_new_sessions": 429,
    "spending_limit_reached": 429,
}
# What one may do about a refusal that does not last.
_HINT_BY_CODE: Final = {
    "too_many_sessions": "close one, or connect again later",
    "too_many_new_sessions": "connect again after Retry-After",
    "spending_limit_reached": "ask for a higher limit, or wait until its period is over",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused. ``code`` is for programs, ``message`` for people.

    ``allowed`` are the methods of the path (with 405); ``retry_after_s`` is sent with 429 and 503;
    None: waiting does not help.
    """

    status: int
    code: str
    message: str
    allowed: str = ""
    retry_after_s: int | None = RETRY_AFTER_S

    def response(self) -> Response:
        """The HTTP answer."""
        error = {"type": _TYPE_BY_STATUS[self.status], "code": self.code, "message": self.message}
        headers = dict(PRIVATE)
        if self.status in (429, 503) and self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 426:  # RFC 9110 section 15.5.22, RFC 6455 section 4.4
            headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        if self.allowed:
            headers["Allow"] = self.allowed
        return json_response(self.status, {"error": error}, headers)


def bad_request(message: str, *, code: str = "bad_request") -> Refusal:
    """400: the request cannot be understood."""
    return Refusal(400, code, message)


def not_found(message: str, *, code: str = "not_found") -> Refusal:
    """404: no such path, provider or model here."""
    return Refusal(404, code, message)


def wrong_method(found: str, *, allowed: str) -> Refusal:
    """405: the path has other methods."""
    message = f"found the method {found[:16]!r}, expected {allowed}"
    return Refusal(405, "method_not_allowed", message, allowed)


def upgrade_required() -> Refusal:
    """426: a WebSocket handshake here would open a session."""
    return Refusal(426, "upgrade_required", "expected a WebSocket handshake: Upgrade: websocket")


def wrong_version() -> Refusal:
    """426: a handshake of a draft of WebSocket, or without a version."""
    expected = "expected a WebSocket handshake with Sec-WebSocket-Version: 13"
    return Refusal(426, "upgrade_required", expected)


def missing_key() -> Refusal:
    """401: no key in any of the places where it may be."""
    return Refusal(
        401,
        INVALID_KEY,
        "found no API key; send 'Authorization: Bearer rslive_v1_…', the subprotocol"
        " openai-insecure-api-key.<key>, or ?rs_key=",
    )


def invalid_key() -> Refusal:
    """401: the same words for every key that opens nothing, so that they tell nobody which of them
    was a key once, or what a key looks like from inside.
    """
    return Refusal(
        401,
        INVALID_KEY,
        "the API key is not valid: it is unknown, revoked or malformed; expected rslive_v1_ and 48"
        " hex digits, or an ephemeral key of this gateway",
    )


def key_in_url() -> Refusal:
    """400: a key in the URL, where they are not allowed; whether it is valid is not looked at."""
    return Refusal(
        400,
        "key_in_url",
        "found an API key in the URL, which this gateway refuses (GATEWAY_KEYS_IN_URLS=refuse);"
        " send it as 'Authorization: Bearer …', api-key or x-goog-api-key, or as the subprotocol"
        " openai-insecure-api-key.<key>, and replace this key: URLs are written to logs",
    )


def refused_key(code: str, message: str, retry_after_s: int | None = None) -> Refusal:
    """accountd's refusal of a key, which may be another one in ``retry_after_s``; 503 for a code
    that is unknown here.
    """
    if code == INVALID_KEY:
        return invalid_key()
    status = _STATUS_BY_CODE.get(code)
    if status is None:
        return unavailable("accountd could not decide")
    if (hint := _HINT_BY_CODE.get(code)) is not None:
        message = f"{message}; {hint}"
    return Refusal(status, code, message, retry_after_s=retry_after_s)


def model_not_allowed(model: str) -> Refusal:
    """403: neither the account's entry in the model table nor the limits of the key may leave this
    model out.
    """
    return Refusal(403, "model_not_allowed", f"this key may not use the model {model[:80]!r}")


def provider_not_allowed(provider: str, allowed: Iterable[str]) -> Refusal:
    """403: the limits of the key leave this provider out, and no other serves what is asked for."""
    expected = ", ".join(allowed)[:200] or "none"
    message = f"this key may not use the provider {provider!r}; expected one of: {expected}"
    return Refusal(403, "provider_not_allowed", message)


def not_configurable(kind: str) -> Refusal:
    """400: the key has a configuration of another kind of session than this URL opens."""
    return Refusal(
        400,
        "not_configurable",
        f"the ephemeral key configures a {kind} session, which this URL does not open; expected"
        " …/v1/realtime with ?model=… or ?intent=transcription, …/v1/realtime/translations, as the"
        " key says, or a key without configuration",
    )


def own_key_needed() -> Refusal:
    """403: an ephemeral key may not join a call or session, which may be of another user of the
    account.
    """
    return Refusal(403, "own_key_needed", "an ephemeral key begins sessions; it joins none")


def ephemeral_key() -> Refusal:
    """401: a key that begins like an ephemeral one, valid or not, where only an account's own is
    of use.
    """
    return Refusal(401, INVALID_KEY, "an ephemeral key opens sessions and nothing else")


def origin_not_allowed() -> Refusal:
    """403: the key is bound to another origin."""
    return Refusal(403, "origin_not_allowed", "the key may not be used from this origin")


def cross_origin() -> Refusal:
    """403: only pages of this gateway's own origin may ask for this."""
    return Refusal(403, "cross_origin", "only a page of this gateway may ask for this")


def unknown_host(host: str) -> Refusal:
    """403: the request's host is not configured (DNS rebinding, see
    ``door.client_key.is_own_host``).
    """
    return Refusal(
        403,
        "unknown_host",
        f"found the host {host[:80]!r}, expected localhost, an address, or a name in"
        " GATEWAY_DEMO_HOSTS",
    )


def no_ephemeral_keys() -> Refusal:
    """404: no secret to sign them is configured."""
    message = "this gateway makes no ephemeral keys; it has no GATEWAY_EPHEMERAL_SECRET_FILE"
    return not_found(message, code="no_ephemeral_keys")


def too_many_requests(message: str, *, retry_after_s: int = RETRY_AFTER_S) -> Refusal:
    """429: this client has asked too often."""
    return Refusal(429, "rate_limit_exceeded", message, retry_after_s=retry_after_s)


def credit_too_low() -> Refusal:
    """429: credit or spending cap pay no response for one more call, beside what is open."""
    return Refusal(
        429,
        "credit_too_low",
        "the credit, or what the key may spend, pays for too few responses at once for one more"
        " call; try again when other sessions have ended, or add credit",
        retry_after_s=CREDIT_RETRY_S,
    )


def internal_error() -> Refusal:
    """500: a bug of the gateway; clients get no detail."""
    return Refusal(500, "internal_error", "the gateway failed")


def unavailable(message: str) -> Refusal:
    """503: not now, try again."""
    return Refusal(503, "service_unavailable", message)


def provider_unavailable(message: str = "the provider cannot be reached; try again") -> Refusal:
    """503: the provider failed, for a reason that is not in the client's request."""
    return Refusal(503, "provider_unavailable", message)
