"""What a peer wrote, read strictly: counts, seconds, objects and texts."""

import json
import re
from typing import Any

import pytest

from gateway.metering.parsing import (
    UnreadableUsageError,
    as_json,
    clean_text,
    read_count,
    read_map,
    read_milliseconds,
    read_object,
    rows_of,
    unknown_parts,
    without_prefix,
    without_repetition,
)
from shared.usage import ID_CHARS_MAX, RAW_USAGE_CHARS_MAX, TOKENS_PER_RESPONSE_MAX

MOST = TOKENS_PER_RESPONSE_MAX
COUNTS: list[tuple[dict[str, Any], int | None]] = [
    ({}, None), ({"n": None}, None), ({"n": 0}, 0), ({"n": MOST}, MOST)
]  # fmt: skip


@pytest.mark.parametrize(("counts", "found"), COUNTS)
def test_a_count_is_read(counts: dict[str, Any], found: int | None) -> None:
    """Absent and null are not zero: a total may say what is missing."""
    assert read_count(counts, "n") == found


@pytest.mark.parametrize("value", [True, 1.0, "1", -1, MOST + 1, [], {}])
def test_what_is_no_count_is_not_guessed(value: object) -> None:
    """Nothing is clamped or rounded."""
    with pytest.raises(UnreadableUsageError, match=r"n: found .*, expected an integer from 0 to"):
        read_count({"n": value}, "n")


SECONDS = [(0, 0), (1, 1_000), (0.0005, 1), (0.0004, 0), (2.5, 2_500), (MOST / 1000, MOST)]


@pytest.mark.parametrize(("value", "ms"), SECONDS)
def test_seconds_are_milliseconds(value: float, ms: int) -> None:
    """Rounded half up."""
    assert read_milliseconds({"s": value}, "s") == ms


@pytest.mark.parametrize("value", [None, True, "1", -0.1, MOST, 10**400, float("nan"), [1]])
def test_what_is_no_time_is_not_guessed(value: object) -> None:
    """An integer of 400 digits does not fit into a float, and is none either."""
    with pytest.raises(UnreadableUsageError, match=r"s: found .*, expected seconds"):
        read_milliseconds({"s": value}, "s")


def test_an_object_may_be_absent_and_nothing_else() -> None:
    """Then it is empty."""
    assert read_map({}, "o") == read_map({"o": None}, "o") == {}
    assert read_map({"o": {"a": 1}}, "o") == {"a": 1}
    with pytest.raises(UnreadableUsageError, match="o: found a list, expected an object"):
        read_map({"o": [1]}, "o")


OBJECTS = [
    (b'{"a":1}', {"a": 1}),
    (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    (b'{"a":1,"a":2}', {"a": 2}),
    (b"[1]", None),
]


@pytest.mark.parametrize(("message", "found"), OBJECTS)
def test_a_message_is_an_object(message: bytes, found: object) -> None:
    """A byte order mark is none of its bytes; the last of two values counts."""
    assert read_object(message) == found


@pytest.mark.parametrize("message", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_a_value_error(message: bytes) -> None:
    """Whatever is wrong with it, so that no message of a peer ends a session."""
    with pytest.raises(ValueError, match=r"."):
        read_object(message)


@pytest.mark.parametrize("message", [b'{"a":1,"a":2}', b'{"b":{"a":1,"a":1}}'])
def test_a_name_that_stands_twice_may_be_refused(message: bytes) -> None:
    """Two readers could take two values."""
    with pytest.raises(ValueError, match="a name stands there twice"):
        read_object(message, pairs_hook=without_repetition)


ROWS = [(0, []), (1, [1]), (MOST, [MOST]), (2 * MOST + 1, [MOST, MOST, 1])]


@pytest.mark.parametrize(("ms", "rows"), ROWS)
def test_more_than_a_row_may_hold_is_several(ms: int, rows: list[int]) -> None:
    """None is lost."""
    assert list(rows_of(ms)) == rows


def test_what_has_no_column_is_kept_beside_it() -> None:
    """Unless it counts nothing; known objects are looked into."""
    known = {"n": {}, "details": {"text": {}}}
    usage = {"n": 5, "details": {"text": 1, "smell": 2}, "zero": 0, "more": {"b": 3}}
    assert json.loads(unknown_parts(usage, known)) == {"details": {"smell": 2}, "more": {"b": 3}}
    assert unknown_parts({"n": 5, "none": None, "empty": {}}, known) == ""


TEXTS = [("m", "m"), ("\ud800x", "?x"), ("x" * 999, "x" * ID_CHARS_MAX), (None, ""), (5, "")]


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_a_text_is_fit_for_the_wire(value: object, text: str) -> None:
    """JSON can spell half of a surrogate pair, which UTF-8 cannot."""
    assert clean_text(value) == text


def test_what_is_quarantined_is_bounded() -> None:
    """And what is nested deeper than it can be written is left out."""
    assert as_json({"a": [1]}) == '{"a": [1]}'
    assert len(as_json("x" * 2 * RAW_USAGE_CHARS_MAX)) == RAW_USAGE_CHARS_MAX
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert as_json(nested) == ""


@pytest.mark.parametrize(("model", "name"), [("models/m", "m"), ("m", "m"), (None, ""), (5, "")])
def test_a_model_is_named_without_its_path(model: object, name: str) -> None:
    """As the rate card and the model table name it."""
    assert without_prefix(re.compile("models/"), model) == name
