"""What a provider says to a request before its session begins. Pure but for the waits asked for."""

import http
import json
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from simulator.openai_events import Event
from simulator.routing import Route

# Providers that refuse a bad key before the upgrade; OpenAI accepts, explains and closes.
_REFUSES_EARLY: Final = ("azure", "xai", "gemini")


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
    """The answer in place of the upgrade; None: go on."""
    if route.provider in _REFUSES_EARLY and not is_known(key_of(request.headers, route), expected):
        status = http.HTTPStatus.UNAUTHORIZED
        details = {"code": "401", "message": "Access denied due to invalid or missing key."}
        return json_response(status, {"error": details})
    return None


def refusal_after(request: Request, route: Route, expected: str | None) -> tuple[str, int] | None:
    """The code and close with which OpenAI refuses what it has upgraded; None: serve it."""
    if route.provider not in ("openai", "gpt-live"):
        return None
    if "OpenAI-Beta" in request.headers and route.provider == "openai":
        return "beta_api_shape_disabled", 4000
    if not is_known(key_of(request.headers, route), expected):
        return "invalid_api_key", 3000
    return None


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
