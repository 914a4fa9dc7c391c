"""What a request asks for, and where its key may stand."""

import pytest
from websockets.datastructures import Headers

from gateway.auth import find_key, hash_key
from gateway.refusals import Refusal
from gateway.routing import Target, route, split_target

KEY = "rslive_v1_" + "0123456789abcdef" * 3


ROUTES = [
    # target -> (model, query that goes on)
    ("/v1/realtime?model=gpt-realtime", ("gpt-realtime", "model=gpt-realtime")),
    ("/realtime?model=m", ("m", "model=m")),
    ("//v1///realtime/?model=m", ("m", "model=m")),
    ("/t/acme/v1/realtime?model=m", ("m", "model=m")),
    ("/v1/realtime?model=m&x=%20y&z", ("m", "model=m&x=%20y&z")),
    ("/v1/realtime?rs_key=k&model=m&key=k&access_token=k&rs_sessid=s", ("m", "model=m")),
    ("/v1/realtime?%72s_key=k&model=m", ("m", "model=m")),
    ("/v1/realtime?model=m&provider=openai", ("m", "model=m")),
    ("/v1/realtime?call_id=rtc_1", ("", "call_id=rtc_1")),
    ("/v1/realtime?intent=transcription", ("", "intent=transcription")),
    ("/?rs_key=k&rs_sessid=s&rs_api=OPENAI", ("gpt-realtime", "model=gpt-realtime")),
    ("/?rs_key=k&rs_sessid=s&model=m", ("m", "model=m")),
    ("/v1/realtime?model=m#part", ("m", "model=m")),
]


@pytest.mark.parametrize(("target", "expected"), ROUTES)
def test_routes_and_passes_the_query_on(target: str, expected: tuple[str, str]) -> None:
    """Unknown parameters go on as they were spelled; the gateway's own do not."""
    found = route(target, Headers())
    assert isinstance(found, Target)
    assert (found.model, found.query) == expected


REFUSED = [
    ("/", 404, "not_found"),
    ("/v1/chat", 404, "not_found"),
    ("/realtimes?model=m", 404, "not_found"),
    ("/openai/realtime?deployment=d", 404, "not_found"),
    ("/v1/realtime?model=m&provider=acme", 404, "provider_not_found"),
    ("/?rs_key=k&rs_api=GEMINI", 404, "provider_not_found"),
    ("/v1/realtime", 400, "missing_model"),
    ("/v1/realtime?model=", 400, "missing_model"),
    (f"/v1/realtime?model={'m' * 257}", 400, "bad_request"),
    (f"/v1/realtime?model=m&rs_sessid={'s' * 129}", 400, "bad_request"),
    ("/v1/realtime?model=m&rs_sessid=a%0ab", 400, "bad_request"),
]


@pytest.mark.parametrize(("target", "status", "code"), REFUSED)
def test_refuses_what_it_cannot_serve(target: str, status: int, code: str) -> None:
    """The refusal says what was found and what was expected."""
    found = route(target, Headers())
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (status, code)


def test_the_client_may_name_its_session() -> None:
    """The parameter wins over the header; without either the gateway makes an id of its own."""
    headers = Headers({"x-rs-session": "from-header"})
    both = route("/realtime?model=m&rs_sessid=from-query", headers)
    one = route("/realtime?model=m", headers)
    none = [route("/realtime?model=m", Headers()) for _ in range(2)]
    assert isinstance(both, Target)
    assert isinstance(one, Target)
    assert (both.session_id, one.session_id) == ("from-query", "from-header")
    assert len({found.session_id for found in none if isinstance(found, Target)}) == 2


KEY_PLACES = [
    ({"Authorization": f"Bearer {KEY}"}, ""),
    ({"authorization": f"token  {KEY} "}, ""),
    ({"api-key": KEY}, ""),
    ({"X-Goog-Api-Key": KEY}, ""),
    ({"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{KEY}"}, ""),
    ({}, f"?key={KEY}"),
    ({}, f"?access_token={KEY}"),
    ({}, f"?rs_key={KEY}"),
    ({"Authorization": "Basic dTpw", "api-key": ""}, f"?rs_key={KEY}"),
]


@pytest.mark.parametrize(("headers", "query"), KEY_PLACES)
def test_finds_the_key_in_every_place(headers: dict[str, str], query: str) -> None:
    """Each SDK's way to send a key works."""
    _, parameters, _ = split_target(f"/v1/realtime{query}")
    assert find_key(Headers(headers), parameters) == KEY


def test_the_authorization_header_comes_first() -> None:
    """With keys in several places the order is fixed."""
    headers = Headers({"Authorization": "Bearer first", "api-key": "second"})
    assert find_key(headers, [("rs_key", "third")]) == "first"
    assert find_key(Headers(), []) is None


@pytest.mark.parametrize("key", ["", "sk-proj", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n"])
def test_a_malformed_key_is_no_key(key: str) -> None:
    """What cannot be one of ours is refused without asking accountd."""
    assert hash_key(key) is None
    assert hash_key(KEY) is not None
