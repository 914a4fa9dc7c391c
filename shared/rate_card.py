"""Reads a rate card: TOML, checked as a whole, with every mistake named. Pure.

The format stands in ``shared.rates``, which applies it. accountd reads the operator's file, and
gateways the text that accountd hands out.
"""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from shared.fields import MESSAGE_BYTES_MAX
from shared.other_units import OTHER_UNIT
from shared.provider_kinds import KINDS
from shared.rates import ORIGINAL_VERSION, PRICE_KEYS, PRICE_MAX, PriceEntry, Rates
from shared.usage import ID_CHARS_MAX

CARD_BYTES_MAX: Final = 32 * 1024  # it travels to gateways in one message
assert CARD_BYTES_MAX * 2 <= MESSAGE_BYTES_MAX
VERSION_CHARS_MAX: Final = 64
_SHOWN_CHARS_MAX: Final = 60
_PATTERN_KEYS: Final = ("provider", "model")


class RateCardError(ValueError):
    """A rate card cannot be used; the text names every mistake, in one line."""


def read_rates(content: bytes) -> Rates:
    """Read a card, checked as a whole. Raises ``RateCardError`` that names every mistake."""
    if len(content) > CARD_BYTES_MAX:
        raise RateCardError(f"found more than {CARD_BYTES_MAX} bytes, expected at most so many")
    try:
        text = content.decode("utf-8-sig")
        found = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise RateCardError(f"not UTF-8: byte {exc.start} is {content[exc.start]:#x}") from None
    except RecursionError:
        raise RateCardError("not a rate card: nested too deeply") from None
    except ValueError as exc:  # TOMLDecodeError, and an integer of thousands of digits
        raise RateCardError(f"not TOML: {exc}") from None
    problems = [*_unknown(found, ("version", "rates")), *_wrong_version(found.get("version"))]
    entries = found.get("rates", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        problems.append("rates: expected entries that begin with [[rates]]")
        entries = []
    for number, entry in enumerate(entries, start=1):
        problems += [f"entry {number}: {problem}" for problem in _wrong_entry(entry)]
    if not problems:
        read = [_entry(entry) for entry in entries]
        problems += _hidden(read)
    if problems:
        raise RateCardError("; ".join(problems))
    return Rates(found["version"], read, text=text)


def _entry(found: Mapping[str, Any]) -> PriceEntry:
    prices = {name: found[name] for name in (*PRICE_KEYS, OTHER_UNIT) if name in found}
    return PriceEntry(found.get("provider", "*"), found.get("model", "*"), prices)


def _unknown(found: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for name in found:
        if name not in known:
            alike = get_close_matches(name, known, n=1)
            expected = f"did you mean {alike[0]}?" if alike else f"expected {', '.join(known)}"
            yield f"unknown key {_shown(name)}, {expected}"


def _wrong_version(version: object) -> Iterator[str]:
    if not _is_line(version, VERSION_CHARS_MAX):
        yield (
            f"version: found {_shown(version)},"
            f" expected text of 1 to {VERSION_CHARS_MAX} printable characters"
        )
    elif version == ORIGINAL_VERSION:
        yield f"version: found {_shown(version)}, expected another name: that is the built-in card"


def _wrong_entry(entry: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(entry, (*_PATTERN_KEYS, *PRICE_KEYS, OTHER_UNIT))
    other = entry.get(OTHER_UNIT, 0)
    if type(other) is not int or other:
        yield f"{OTHER_UNIT}: found {_shown(other)}, expected 0: it has no unit to be priced by"
    for name in _PATTERN_KEYS:
        pattern = entry.get(name, "*")
        if not _is_line(pattern, ID_CHARS_MAX):
            yield (
                f"{name}: found {_shown(pattern)},"
                f" expected a pattern of 1 to {ID_CHARS_MAX} characters"
            )
        elif name == "provider" and not _names_a_provider(pattern):
            yield (
                f"provider: found {_shown(pattern)}, expected one of {', '.join(KINDS)},"
                " a name that begins so (azure-eu), or *"
            )
    for name in PRICE_KEYS:
        value = entry.get(name, 0)
        if type(value) is not int or not 0 <= value <= PRICE_MAX:  # a bool is an int, too
            yield (
                f"{name}: found {_shown(value)},"
                f" expected micro-credits, an integer from 0 to {PRICE_MAX}"
            )


def _names_a_provider(pattern: str) -> bool:
    """A pattern that matches no kind, and begins with none, is a typing error."""
    begins = pattern.startswith(tuple(f"{kind}-" for kind in KINDS))
    return begins or any(fnmatchcase(kind, pattern) for kind in KINDS)


def _hidden(entries: list[PriceEntry]) -> Iterator[str]:
    """Name entries that earlier ones hide: their author expects them to have an effect."""
    for number, entry in enumerate(entries, start=1):
        before = enumerate(entries[: number - 1], start=1)
        covering = {earlier: other.units for earlier, other in before if other.covers(entry)}
        if covering and entry.units <= frozenset().union(*covering.values()):
            named = " and ".join(f"entry {earlier}" for earlier in covering)
            matches = "matches" if len(covering) == 1 else "match"
            yield f"entry {number}: never counts, because {named} {matches} all of it"


def _is_line(value: object, chars_max: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= chars_max and value.isprintable()


def _shown(value: object) -> str:
    """A value of the card for an error line."""
    return "nothing" if value is None else repr(value)[:_SHOWN_CHARS_MAX]
