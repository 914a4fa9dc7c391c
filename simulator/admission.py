"""Decides whether a provider accepts a request: key, redirect, refusal.

The functions return what to send and send nothing; the server does, and waits where a fault asks.
"""

import http
import json
from typing import Final, NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from simulator.openai_events import Event
from simulator.routing import Route

# Providers that refuse a bad key before the upgrade (401). OpenAI upgrades, then sends an error
# event and closes.
_REFUSES_EARLY: Final = ("azure", "xai", "gemini")


MOVED: Final = "/moved"  # the path of a redirected request begins with this
ELSEWHERE: Final = "https://elsewhere.invalid"


class Refusal(NamedTuple):
    """The error event that refuses a connection, and the close that follows.

    Gemini has no error events: there only the close is sent.
    """

    code: str
    close: int
    reason: str = ""
    message: str = ""


# The providers' own texts. They quote the key, so a gateway must not forward them.
_OF_ACCOUNT: Final = {
    found.code: found
    for found in (
        Refusal(
            "invalid_api_key", 3000, "invalid_request_error.invalid_api_key",
            "Incorrect API key provided: sk-simul****ator.",
        ),
        Refusal(
            "insufficient_quota", 1011, "You exceeded your current quota.",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        Refusal(
            "billing_hard_limit_reached", 1008, "Billing hard limit has been reached.",
            "Billing hard limit of organization org-simulator has been reached.",
        ),
    )
}  # fmt: skip


def key_of(headers: Headers, route: Route) -> str:
    """The key of a request, from any header or parameter that its provider reads."""
    for value in headers.get_all("Authorization"):
        return value.partition(" ")[2].strip()
    if route.provider == "gemini":
        places = (
            headers.get("x-goog-api-key"),
            *map(route.parameters.get, ("key", "access_token")),
        )
        return next((key for key in places if key), "")
    return headers.get("api-key") or ""


def is_known(key: str, expected: str | None) -> bool:
    """Whether ``key`` is accepted. Without an ``expected`` key any key is, but not an empty one."""
    return bool(key) and expected in (None, key)


def refusal_before(request: Request, route: Route, expected: str | None) -> Response | None:
    """The HTTP answer that refuses the upgrade; None when the session may open."""
    if route.provider in _REFUSES_EARLY and not is_known(key_of(request.headers, route), expected):
        status = http.HTTPStatus.UNAUTHORIZED
        details = {"code": "401", "message": "Access denied due to invalid or missing key."}
        return json_response(status, {"error": details})
    return None


def refusal_after(
    request: Request, route: Route, expected: str | None, account: str | None
) -> Refusal | None:
    """The refusal that a provider sends after the upgrade; None: serve the session.

    ``account``: the fault of the key's account, e.g. ``insufficient_quota``; None for no fault.
    """
    if account is not None:
        return _OF_ACCOUNT[account]
    if route.provider not in ("openai", "gpt-live"):
        return None
    if "OpenAI-Beta" in request.headers and route.provider == "openai":
        return Refusal("beta_api_shape_disabled", 4000)
    if not is_known(key_of(request.headers, route), expected):
        return _OF_ACCOUNT["invalid_api_key"]
    return None


def redirect(request: Request, where: str, key: str) -> Response | None:
    """A redirect (302), or None for a request that has followed the redirect ``same``.

    ``same``: to a path below ``MOVED``; ``circle``: to such a path again and again; ``away``: to
    another origin, with the key in the query, as Azure spells it.
    """
    if where == "same" and request.path.startswith(MOVED):
        return None
    status = http.HTTPStatus.FOUND
    response = json_response(status, {})
    there = f"{MOVED}{request.path}" if where != "away" else f"{ELSEWHERE}/?api-key={key}"
    response.headers["Location"] = there
    return response


def json_response(status: http.HTTPStatus, body: Event) -> Response:
    """An HTTP answer with ``body`` as JSON, which closes the connection."""
    content = json.dumps(body).encode()
    headers = Headers(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, content)
