"""Answers before the upgrade: plain HTTP with a JSON body that says what was wrong. Pure."""

from dataclasses import dataclass
from typing import Final

from websockets.http11 import Response

from gateway.http.answers import PRIVATE, json_response

RETRY_AFTER_S: Final = 1

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
# What accountd answers to a key, and the HTTP status for it.
_STATUS_BY_CODE: Final = {
    "invalid_api_key": 401,
    "expired_api_key": 401,
    "insufficient_credits": 402,
    "account_disabled": 403,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client is not let in. ``code`` is for programs, ``message`` for people.

    ``allowed``: with 405, the methods that the path knows. ``retry_after_s``: with 429 and 503.
    """

    status: int
    code: str
    message: str
    allowed: str = ""
    retry_after_s: int = RETRY_AFTER_S

    def response(self) -> Response:
        """The HTTP answer."""
        error = {"type": _TYPE_BY_STATUS[self.status], "code": self.code, "message": self.message}
        headers = dict(PRIVATE)
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 426:  # RFC 9110 section 15.5.22 wants to be told to what
            headers["Upgrade"] = "websocket"
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
    """405: the path is there for other methods."""
    message = f"found the method {found[:16]!r}, expected {allowed}"
    return Refusal(405, "method_not_allowed", message, allowed)


def upgrade_required() -> Refusal:
    """426: there is a session to be had, with a WebSocket."""
    return Refusal(426, "upgrade_required", "expected a WebSocket handshake: Upgrade: websocket")


def missing_key() -> Refusal:
    """401: no key anywhere."""
    return Refusal(
        401,
        "invalid_api_key",
        "found no API key; send 'Authorization: Bearer rslive_v1_…', the subprotocol"
        " openai-insecure-api-key.<key>, or ?rs_key=",
    )


def refused_key(code: str, message: str) -> Refusal:
    """What accountd said about the key; an unknown code means that it cannot decide now."""
    status = _STATUS_BY_CODE.get(code)
    return (
        unavailable("accountd could not decide")
        if status is None
        else Refusal(status, code, message)
    )


def model_not_allowed(model: str) -> Refusal:
    """403: the account's entry in the model table does not name this model."""
    return Refusal(403, "model_not_allowed", f"this account may not use the model {model[:80]!r}")


def not_configurable(kind: str) -> Refusal:
    """400: a key says how its sessions begin, and nothing that this URL opens begins so."""
    return Refusal(
        400,
        "not_configurable",
        f"the ephemeral key configures a {kind} session, which this URL does not open; expected"
        " …/v1/realtime with ?model=… or ?intent=transcription, …/v1/realtime/translations, as the"
        " key says, or a key without configuration",
    )


def own_key_needed() -> Refusal:
    """403: what goes on already may be another one's of the account's users."""
    return Refusal(403, "own_key_needed", "an ephemeral key begins sessions; it joins none")


def origin_not_allowed() -> Refusal:
    """403: a key that is bound to an origin was shown from another one."""
    return Refusal(403, "origin_not_allowed", "the key may not be used from this origin")


def cross_origin() -> Refusal:
    """403: what the gateway's own page may ask for, another one may not."""
    return Refusal(403, "cross_origin", "only a page of this gateway may ask for this")


def unknown_host(host: str) -> Refusal:
    """403: the page is under a name that nobody said is its own."""
    return Refusal(
        403,
        "unknown_host",
        f"found the host {host[:80]!r}, expected localhost, an address, or a name in"
        " GATEWAY_DEMO_HOSTS",
    )


def no_ephemeral_keys() -> Refusal:
    """404: there is no secret to sign them with."""
    message = "this gateway makes no ephemeral keys; it has no GATEWAY_EPHEMERAL_SECRET_FILE"
    return not_found(message, code="no_ephemeral_keys")


def too_many_requests(message: str, *, retry_after_s: int = RETRY_AFTER_S) -> Refusal:
    """429: more than this client's share."""
    return Refusal(429, "rate_limit_exceeded", message, retry_after_s=retry_after_s)


def internal_error() -> Refusal:
    """500: a bug of ours; no detail."""
    return Refusal(500, "internal_error", "the gateway failed")


def unavailable(message: str) -> Refusal:
    """503: not now, try again."""
    return Refusal(503, "service_unavailable", message)


def provider_unavailable(message: str = "the provider cannot be reached; try again") -> Refusal:
    """503: the provider did not do what was asked for, for a reason that is not the client's."""
    return Refusal(503, "provider_unavailable", message)
