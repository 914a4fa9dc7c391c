"""What a browser is told before a page of another origin makes a call."""

from gateway.http.cors import ANYBODY, preflight


def test_a_preflight_allows_one_method_and_the_keys_header() -> None:
    """Fetch standard: ``*`` among allowed headers does not include Authorization."""
    answer = preflight("POST")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert set(allowed) == {"*", "Authorization"}
    assert int(answer.headers["Access-Control-Max-Age"]) >= 3_600, "asked once an hour at most"


def test_a_page_may_read_where_its_call_is_and_when_to_try_again() -> None:
    """Other headers of an answer are hidden from pages of other origins."""
    assert ANYBODY["Access-Control-Allow-Origin"] == "*"
    assert ANYBODY["Access-Control-Expose-Headers"].split(", ") == ["Location", "Retry-After"]
