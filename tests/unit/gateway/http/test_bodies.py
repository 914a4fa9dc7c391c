"""JSON of clients: what can be written as JSON again, and what cannot."""

import pytest

from gateway.http.bodies import as_object, read_json

READ = [
    (b'{"a": [1, 2.5, "\\u20ac", true, null]}', {"a": [1, 2.5, "€", True, None]}),
    (b"[]", []),
    (b'"x"', "x"),
    (b'{"a": 1, "a": 2}', {"a": 2}),
]


@pytest.mark.parametrize(("body", "expected"), READ)
def test_json_is_read(body: bytes, expected: object) -> None:
    """As Python's reader has it."""
    assert read_json(body) == expected


MISTAKES = [
    (b"", "body: expected JSON, but"),
    (b"{", "body: expected JSON, but"),
    (b"\xff", "body: expected JSON in UTF-8"),
    (b'"\\ud800"', "body: expected JSON in UTF-8"),
    (b"[NaN]", "found NaN, expected numbers"),
    (b"[-Infinity]", "found -Infinity, expected numbers"),
    (b"[1e999]", "found 1e999, expected numbers"),
    (b"[" * 100_000, "expected at most 64 levels"),
]


@pytest.mark.parametrize(("body", "message"), MISTAKES)
def test_what_providers_could_not_get_anew_is_refused(body: bytes, message: str) -> None:
    """In one line for the client."""
    with pytest.raises(ValueError, match=message) as caught:
        read_json(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("levels", "is_read"), [(63, True), (64, False)])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_levels_are_bounded(levels: int, is_read: bool, begin: bytes, end: bytes) -> None:
    """Around a value that is one level itself."""
    body = begin * levels + b"1" + end * levels
    if is_read:
        assert read_json(body) is not None
        return
    with pytest.raises(ValueError, match="sdp: expected at most 64 levels"):
        read_json(body, "sdp")


def test_an_object_may_be_left_out() -> None:
    """Then it is empty; anything else is a mistake that is named."""
    assert as_object(None, "session") == {}
    assert as_object({"a": 1}, "session") == {"a": 1}
    with pytest.raises(ValueError, match="session: expected an object"):
        as_object([], "session")
