"""What may stand in the bodies of requests about calls."""

import json
from typing import Any

import httpx2
import pytest

from gateway.calls.requests import FORM, SDP, Offer, model_in, read_offer, read_session
from gateway.http.refusals import Refusal

OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"


def form(*parts: tuple[str, str]) -> tuple[str, bytes]:
    """Content type and body of a form, as an SDK's HTTP client writes it."""
    files = [(name, (None, content, "text/plain")) for name, content in parts]
    kind = {"Content-Type": f"{FORM}; boundary=between"}
    request = httpx2.Request("POST", "http://gateway", files=files, headers=kind)
    return request.headers["Content-Type"], request.read()


def test_an_offer_alone() -> None:
    """As browsers send it, with or without a charset."""
    for kind in (SDP, f"{SDP}; charset=utf-8"):
        assert read_offer(kind, OFFER.encode()) == Offer(OFFER, {})


def test_an_offer_with_a_session() -> None:
    """As the SDKs send it; the order does not matter, and what is written is what was read."""
    session = {"type": "realtime", "model": "gpt-realtime", "instructions": "Grüß Gott."}
    for parts in ([("sdp", OFFER), ("session", json.dumps(session))],) * 2:
        found = read_offer(*form(*parts))
        assert found == Offer(OFFER, session)
        parts.reverse()
    assert isinstance(found, Offer)
    again = httpx2.Request("POST", "http://provider", files=found.parts())
    assert read_offer(again.headers["Content-Type"], again.read()) == found


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("", OFFER.encode(), "Content-Type: found ''"),
        ("text/plain", OFFER.encode(), "Content-Type: found 'text/plain'"),
        (FORM, b"", "found no boundary"),
        (f"{FORM}; boundary=x", b"", "expected a whole form"),
        (SDP, b"hello", "sdp: found 'hello'"),
        (SDP, b"\xff", "sdp: expected text in UTF-8"),
        (*form(("session", "{}")), "no part sdp"),
        (*form(("sdp", OFFER), ("sdp", OFFER)), "'sdp' twice"),
        (*form(("sdp", OFFER), ("session", "{}"), ("session", "{}")), "'session' twice"),
        (*form(("sdp", OFFER), ("model", "x")), "the part 'model', expected sdp and session"),
        (*form(("sdp", OFFER), ("session", "[]")), "session: expected an object"),
        (*form(("sdp", OFFER), ("session", "{")), "session: expected JSON"),
        (*form(("sdp", OFFER), ("session", '{"speed": 1e999}')), "numbers that JSON can carry"),
        (*form(("sdp", OFFER), ("session", "[" * 100 + "]" * 100)), "levels"),
        (form(("sdp", OFFER))[0], form(("sdp", OFFER))[1][:-20], "expected a whole form"),
    ],
)
def test_what_is_refused(kind: str, body: bytes, told: str) -> None:
    """400, which says what was found or expected."""
    found = read_offer(kind, body)
    assert isinstance(found, Refusal)
    assert found.status == 400
    assert told in found.message


@pytest.mark.parametrize(("body", "session"), [(b"", {}), (b" ", {}), (b'{"a": 1}', {"a": 1})])
def test_the_body_of_a_verb(body: bytes, session: dict[str, Any]) -> None:
    """JSON, or nothing."""
    assert read_session(body) == session
    assert isinstance(read_session(b"[1]"), Refusal)
    assert isinstance(read_session(b"v=0"), Refusal)


@pytest.mark.parametrize(
    ("session", "model"),
    [({}, ""), ({"model": None}, ""), ({"model": "gpt-realtime"}, "gpt-realtime")],
)
def test_the_model_of_a_session(session: dict[str, Any], model: str) -> None:
    """It may name none."""
    assert model_in(session) == model


@pytest.mark.parametrize("model", ["", 5, ["gpt-realtime"], "a\nb", "x" * 257])
def test_a_model_that_is_none(model: object) -> None:
    """A name is a text."""
    assert isinstance(model_in({"model": model}), Refusal)
