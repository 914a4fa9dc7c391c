"""Reads and checks the parameters of a request; errors say what was found and expected. Pure."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from accountd.times import iso, parse_time

TEXT_CHARS_MAX: Final = 256
AMOUNT_MAX: Final = 2**53  # every JSON reader represents integers up to this one exactly
FOUND_CHARS_MAX: Final = 80  # of a value in a refusal
EMAIL_CHARS_MAX: Final = 254  # RFC 5321: a path of 256 less its brackets
# Ids are compared byte by byte and typed into shells: no two of them may look the same.
_ID: Final = re.compile(r"[!-,.-~][!-~]*")
# What mail servers accept without quotes, in any script (RFC 6531). A domain may have no dot.
_SIGNS: Final = r"\s@.,;:<>()\[\]\"\\"
_EMAIL: Final = re.compile(
    rf"[^{_SIGNS}-](?:\.?[^{_SIGNS}])*@[^{_SIGNS}_-]+(?:(?:\.|-+)[^{_SIGNS}_-]+)*"
)

Json = dict[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)
Read = TypeVar("Read")
Shape = TypeVar("Shape", bound=msgspec.Struct)


class RequestError(Exception):
    """A request cannot be served; ``code`` is for programs, the text for people. It may be in
    ``retry_after_s`` seconds, where that is known.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class Params:
    """The named parameters of one request. Each is checked when it is read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self._values.get(name) is not None

    def text(self, name: str) -> str:
        """A text of 1 to 256 printable characters."""
        value = self._values.get(name)
        is_fit = isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX
        if not is_fit or not str(value).isprintable():
            raise self._bad(name, f"1 to {TEXT_CHARS_MAX} printable characters")
        return str(value)

    def optional_text(self, name: str) -> str | None:
        """Like ``text``; None when it is absent."""
        return None if self._values.get(name) is None else self.text(name)

    def words(self, name: str) -> str:
        """A text that an operator gives: as ``text``, in composed characters, no blanks around it.

        Otherwise two that look the same would be different names.
        """
        value = self.text(name)
        if value != value.strip():
            raise self._bad(name, "no blanks before or after it")
        if not unicodedata.is_normalized("NFC", value):
            message = f"{name}: found {ascii(value)[:80]}, expected composed characters (NFC)"
            raise RequestError("bad_request", message)
        return value

    def optional_words(self, name: str) -> str | None:
        """Like ``words``; None when it is absent."""
        return None if self._values.get(name) is None else self.words(name)

    def new_id(self, name: str) -> str:
        """An id for something new: printable ASCII without blanks, and no hyphen first.

        accountctl would take one with a hyphen for an option.
        """
        value = self.text(name)
        if not _ID.fullmatch(value):
            raise self._bad(name, "no leading -, no blanks, and ASCII only")
        return value

    def optional_new_id(self, name: str) -> str | None:
        """Like ``new_id``; None when it is absent."""
        return None if self._values.get(name) is None else self.new_id(name)

    def email(self, name: str) -> str:
        """An address like ``name@example.org``, of at most 254 characters."""
        value = self.words(name)
        is_plain = unicodedata.is_normalized("NFKC", value)  # no full-width letters and the like
        if len(value) > EMAIL_CHARS_MAX or not is_plain or not _EMAIL.fullmatch(value):
            expected = f"an address like name@example.org, of at most {EMAIL_CHARS_MAX} characters"
            raise self._bad(name, expected)
        return value

    def optional_document(self, name: str, *, bytes_max: int) -> str | None:
        """Any text of at most ``bytes_max`` bytes; None when it is absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value.encode(errors="replace")) > bytes_max:
            raise self._bad(name, f"text of at most {bytes_max} bytes")
        return value

    def optional_read(
        self, name: str, read: Callable[[str], Read], *, bytes_max: int
    ) -> Read | None:
        """What ``read`` makes of a text of at most ``bytes_max`` bytes; None when it is absent. It
        raises ``ValueError`` with "expected …".
        """
        text = self.optional_document(name, bytes_max=bytes_max)
        try:
            return None if text is None else read(text)
        except ValueError as exc:
            raise self._bad(name, str(exc).removeprefix("expected ")) from None

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer between two bounds, both included."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self._bad(name, f"an integer from {low} to {high}")
        return value

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """Like ``integer``; None when it is absent."""
        return None if self._values.get(name) is None else self.integer(name, low, high)

    def texts(self, name: str, *, at_least: int = 1, at_most: int) -> list[str]:
        """A list of so many texts, each of 1 to 256 characters."""
        values = self._values.get(name)
        if not isinstance(values, list) or not at_least <= len(values) <= at_most:
            raise self._bad(name, f"a list of {at_least} to {at_most}")
        if not all(map(_is_short, values)):
            raise self._bad(name, f"texts of 1 to {TEXT_CHARS_MAX} characters")
        return values

    def pairs(self, name: str, *, at_most: int) -> list[tuple[str, str]]:
        """A list of up to ``at_most`` pairs of texts, each of 1 to 256 characters."""
        values = self._values.get(name)
        if not isinstance(values, list) or len(values) > at_most:
            raise self._bad(name, f"a list of up to {at_most}")
        for value in values:
            if not (isinstance(value, list) and len(value) == 2 and all(map(_is_short, value))):
                raise self._bad(name, f"pairs of texts of 1 to {TEXT_CHARS_MAX} characters")
        return [(first, second) for first, second in values]

    def binaries(self, name: str, *, length: int, at_most: int) -> list[bytes]:
        """A list of 1 to ``at_most`` binaries, each of ``length`` bytes."""
        values = self._values.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= at_most:
            raise self._bad(name, f"a list of 1 to {at_most}")
        if not all(isinstance(value, bytes) and len(value) == length for value in values):
            raise self._bad(name, f"binaries of {length} bytes")
        return values

    def integers(self, name: str, low: int, high: int, *, at_most: int) -> list[int]:
        """A list of 1 to ``at_most`` integers between two bounds, both included."""
        values = self._values.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= at_most:
            raise self._bad(name, f"a list of 1 to {at_most}")
        if not all(type(value) is int and low <= value <= high for value in values):
            raise self._bad(name, f"integers from {low} to {high}")
        return values

    def groups(self, name: str, *, at_most: int) -> list["Params"]:
        """A list of up to ``at_most`` maps, each of named parameters."""
        values = self._values.get(name)
        if not isinstance(values, list) or len(values) > at_most:
            raise self._bad(name, f"a list of up to {at_most}")
        if not all(isinstance(v, dict) and all(isinstance(k, str) for k in v) for v in values):
            raise self._bad(name, "maps of named values")
        return [Params(value) for value in values]

    def binary(self, name: str, *, length: int) -> bytes:
        """A binary of ``length`` bytes."""
        value = self._values.get(name)
        if not isinstance(value, bytes) or len(value) != length:
            raise self._bad(name, f"a binary of {length} bytes")
        return value

    def struct(self, kind: type[Shape]) -> Shape:
        """All parameters together, as a msgspec struct; unknown ones are ignored."""
        try:
            return msgspec.convert(dict(self._values), kind)
        except msgspec.ValidationError as exc:
            raise RequestError("bad_request", str(exc)) from None

    def flag(self, name: str) -> bool:
        """Yes or no; absent is no."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self._bad(name, "true or false")
        return value

    def optional_choice(self, name: str, choices: type[Choice]) -> Choice | None:
        """One of ``choices``; None when it is absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if value not in list(choices):
            raise self._bad(name, f"one of {', '.join(choices)}")
        return choices(value)

    def optional_time(self, name: str) -> str | None:
        """A moment in ISO 8601, in the stored form; UTC when it names no zone."""
        text = self.optional_text(name)
        if text is None:
            return None
        try:
            return iso(parse_time(text))
        except (ValueError, OverflowError):
            raise self._bad(name, "a date and time like 2027-01-31T12:00:00Z") from None

    def optional_future(self, name: str, now: datetime) -> str | None:
        """Like ``optional_time``, after ``now``."""
        moment = self.optional_time(name)
        if is_past(moment, now):
            message = f"{name}: found {moment}, expected a time to come; it is {iso(now)} now"
            raise RequestError("bad_request", message)
        return moment

    def _bad(self, name: str, expected: str) -> RequestError:
        value = self._values.get(name)
        found = "nothing" if value is None else repr(value)
        if len(found) > FOUND_CHARS_MAX:
            length = f" of {len(value)} characters" if isinstance(value, str) else ""
            found = f"{found[:FOUND_CHARS_MAX]}…{length}"
        return RequestError("bad_request", f"{name}: found {found}, expected {expected}")


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX


def is_past(stored: str | None, now: datetime) -> bool:
    """Whether a stored time has passed. An unreadable one counts as passed, so that a key with a
    damaged ``expires_at`` is refused.
    """
    if stored is None:
        return False
    try:
        return parse_time(stored) <= now
    except ValueError:
        return True
