"""What a provider says to a request before its session begins. Pure but for the waits asked for."""

import http
import json
from typing import Final, NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from simulator.openai_events import Event
from simulator.routing import Route

# Providers that refuse a bad key before the upgrade; OpenAI accepts, explains and closes.
_REFUSES_EARLY: Final = ("azure", "xai", "gemini")


MOVED: Final = "/moved"  # what was redirected begins with it
ELSEWHERE: Final = "https://elsewhere.invalid"


class Refusal(NamedTuple):
    """An error event, for those who have some, and the close behind it."""

    code: str
    close: int
    reason: str = ""
    message: str = ""


# In the providers' own words, which quote keys.
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
    """The key that a request carries, in any of the places where its provider looks."""
    for value in headers.get_all("Authorization"):
        return value.partition(" ")[2].strip()
    if route.provider == "gemini":
        places = (headers.get("x-goog-api-key"), *map(route.wishes.get, ("key", "access_token")))
        return next((key for key in places if key), "")
    return headers.get("api-key") or ""


def is_known(key: str, expected: str | None) -> bool:
    """Whether a key is taken: any one when none is expected."""
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
    """With what a provider refuses what it has upgraded; None: serve it.

    ``account`` is what is wrong with the account of the key, when something is to be.
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
    """A redirect; its location holds the key for ``away`` (Azure). None once it was followed."""
    if where == "same" and request.path.startswith(MOVED):
        return None
    status = http.HTTPStatus.FOUND
    response = json_response(status, {})
    there = f"{MOVED}{request.path}" if where != "away" else f"{ELSEWHERE}/?api-key={key}"
    response.headers["Location"] = there
    return response


def json_response(status: http.HTTPStatus, body: Event) -> Response:
    """An HTTP answer."""
    content = json.dumps(body).encode()
    headers = Headers(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, content)
