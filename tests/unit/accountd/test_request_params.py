"""The parameters of requests: what is accepted, and what the refusal says."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from accountd.request_params import Params, RequestError, is_past
from accountd.rpc_types import GroupBy

NOW = datetime(2026, 11, 29, 6, tzinfo=UTC)
Read = Callable[[Params], Any]
GOOD: list[tuple[Any, Read, Any]] = [
    ("abc", lambda p: p.text("x"), "abc"),
    (None, lambda p: p.optional_text("x"), None),
    ("abc", lambda p: p.optional_text("x"), "abc"),
    (None, lambda p: p.optional_document("x", bytes_max=3), None),
    ("äb", lambda p: p.optional_document("x", bytes_max=3), "äb"),
    ("a b", lambda p: p.words("x"), "a b"),
    (None, lambda p: p.optional_words("x"), None),
    ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", lambda p: p.words("x"), "café"),
    ("a-b_c:1@d/e", lambda p: p.new_id("x"), "a-b_c:1@d/e"),
    (None, lambda p: p.optional_new_id("x"), None),
    *(
        (email, lambda p: p.email("x"), email)
        for email in (
            "a@b",
            "o'neil+tag@x-y.example",
            "müller@bücher.example",
            "a.b=c/d@e.f.gh",
            f"{'x' * 250}@b.c",
            "a@\u0938\u0902\u0917\u0920\u0928.\u092d\u093e\u0930\u0924",
        )
    ),
    ("2026-11-29T06:00:00.001Z", lambda p: p.optional_future("x", NOW), "2026-11-29T06:00:00.001Z"),
    (None, lambda p: p.optional_future("x", NOW), None),
    (5, lambda p: p.integer("x", 1, 5), 5),
    (None, lambda p: p.optional_integer("x", 1, 5), None),
    (1, lambda p: p.optional_integer("x", 1, 5), 1),
    (["a", "b"], lambda p: p.texts("x", at_most=2), ["a", "b"]),
    ([b"12"], lambda p: p.binaries("x", length=2, at_most=1), [b"12"]),
    ([1, 5], lambda p: p.integers("x", 1, 5, at_most=2), [1, 5]),
    (None, lambda p: p.flag("x"), False),
    (True, lambda p: p.flag("x"), True),
    (None, lambda p: p.optional_choice("x", GroupBy), None),
    ("day", lambda p: p.optional_choice("x", GroupBy), GroupBy.DAY),
    (None, lambda p: p.optional_time("x"), None),
    ("2026-11-29 06:00", lambda p: p.optional_time("x"), "2026-11-29T06:00:00.000Z"),
    ("2026-11-29T06:00+02:00", lambda p: p.optional_time("x"), "2026-11-29T04:00:00.000Z"),
]
BAD: list[tuple[Any, Read, str]] = [
    (None, lambda p: p.text("x"), "found nothing, expected 1 to 256 printable"),
    ("", lambda p: p.text("x"), "found '', expected"),
    ("a" * 257, lambda p: p.text("x"), "expected 1 to 256"),
    ("a\n", lambda p: p.text("x"), "printable"),
    (5, lambda p: p.optional_text("x"), "found 5"),
    ("äbc", lambda p: p.optional_document("x", bytes_max=3), "text of at most 3 bytes"),
    (5, lambda p: p.optional_document("x", bytes_max=3), "text of at most 3 bytes"),
    ("a" * 257, lambda p: p.text("x"), "aaa… of 257 characters, expected"),
    (" a", lambda p: p.words("x"), "no blanks before or after it"),
    ("e\u0301", lambda p: p.words("x"), r"found 'e\u0301', expected composed characters (NFC)"),
    ("-a", lambda p: p.new_id("x"), "no leading -"),
    ("a b", lambda p: p.optional_new_id("x"), "no blanks"),
    ("\N{LATIN SMALL LETTER E WITH ACUTE}", lambda p: p.new_id("x"), "ASCII only"),
    ("a", lambda p: p.email("x"), "an address like name@example.org"),
    ("a@b..c", lambda p: p.email("x"), "an address like name@example.org"),
    ("2026-11-29T06:00", lambda p: p.optional_future("x", NOW), "expected a time to come; it is"),
    (6, lambda p: p.integer("x", 1, 5), "found 6, expected an integer from 1 to 5"),
    (0, lambda p: p.integer("x", 1, 5), "found 0"),
    (True, lambda p: p.integer("x", 1, 5), "found True"),
    (2.0, lambda p: p.optional_integer("x", 1, 5), "found 2.0"),
    ([], lambda p: p.texts("x", at_most=2), "a list of 1 to 2"),
    (["a", "b", "c"], lambda p: p.texts("x", at_most=2), "a list of 1 to 2"),
    (["a", ""], lambda p: p.texts("x", at_most=2), "texts of 1 to 256"),
    ("a", lambda p: p.binaries("x", length=2, at_most=1), "a list of 1 to 1"),
    ([b"1"], lambda p: p.binaries("x", length=2, at_most=1), "binaries of 2 bytes"),
    ("ab", lambda p: p.binary("x", length=2), "a binary of 2 bytes"),
    (b"abc", lambda p: p.binary("x", length=2), "a binary of 2 bytes"),
    ({}, lambda p: p.groups("x", at_most=2), "a list of up to 2"),
    ([{}, {}, {}], lambda p: p.groups("x", at_most=2), "a list of up to 2"),
    ([{}, "a"], lambda p: p.groups("x", at_most=2), "maps of named values"),
    ([{7: "a"}], lambda p: p.groups("x", at_most=2), "maps of named values"),
    ([], lambda p: p.integers("x", 1, 5, at_most=2), "a list of 1 to 2"),
    ([1, 6], lambda p: p.integers("x", 1, 5, at_most=2), "integers from 1 to 5"),
    ([True], lambda p: p.integers("x", 1, 5, at_most=2), "integers from 1 to 5"),
    ("yes", lambda p: p.flag("x"), "true or false"),
    ("week", lambda p: p.optional_choice("x", GroupBy), "one of day, session, model, kind"),
    ("soon", lambda p: p.optional_time("x"), "a date and time like 2027-01-31T12:00:00Z"),
]


@pytest.mark.parametrize(("value", "read", "found"), GOOD)
def test_what_is_accepted(value: Any, read: Read, found: Any) -> None:
    """Bounds are included, and what may be absent may be."""
    assert read(Params({} if value is None else {"x": value})) == found


@pytest.mark.parametrize(("value", "read", "detail"), BAD)
def test_a_refusal_says_what_was_found_and_expected(value: Any, read: Read, detail: str) -> None:
    """With the name of the parameter."""
    with pytest.raises(RequestError) as refused:
        read(Params({} if value is None else {"x": value}))
    assert refused.value.code == "bad_request"
    assert str(refused.value).startswith("x: found ")
    assert detail in str(refused.value)


@pytest.mark.parametrize(
    ("stored", "past"),
    [(None, False), ("2026-11-29T05:59:59Z", True), ("2026-11-29T06:00:01Z", False), ("?", True)],
)
def test_a_moment_that_cannot_be_read_is_past(stored: str | None, past: bool) -> None:
    """A key whose end is damaged lets nobody in."""
    assert is_past(stored, datetime(2026, 11, 29, 6, tzinfo=UTC)) is past
