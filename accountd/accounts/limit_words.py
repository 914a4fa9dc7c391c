"""How operators write limits: with ``accountctl``, and in accountd's settings. Pure.

``sessions=20,session-length=2h,spending=5000/day,providers=openai+xai`` in a setting; the same
names and words are options and their values in ``accountctl key limit``.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from accountd.request_params import AMOUNT_MAX
from shared.limits import NAMES_MAX, Limits, Period
from shared.provider_kinds import KINDS, is_further
from shared.usage import ID_CHARS_MAX

WORD_BYTES_MAX: Final = NAMES_MAX * (ID_CHARS_MAX + 2)
COUNT_MAX: Final = 1_000_000  # sessions: more than a fleet has
SESSION_S_MAX: Final = 30 * 86_400
_SECONDS_BY_UNIT: Final = {"h": 3_600, "m": 60, "s": 1}
_INTEGER: Final = re.compile(r"[0-9]{1,16}")
_LENGTH: Final = re.compile(r"([0-9]{1,16})([hms])")
# A plus stands between the names of a setting, a comma between those of an option.
_MODEL: Final = re.compile(r"[!-*.-~-][!-*.-~-]*")
_RESERVED: Final = ("none", "any", "default")
DEFAULT: Final = "default"

Values = Mapping[str, Any]  # by the names of ``Limits``; None: no limit


@dataclass(frozen=True, slots=True)
class LimitWords:
    """How one limit is written. ``fields`` are what it sets of ``Limits``; ``nothing`` is the word
    for no limit.
    """

    name: str
    fields: tuple[str, ...]
    read: Callable[[str], tuple[Any, ...]]
    write: Callable[..., str]
    nothing: str = "none"

    @property
    def parameter(self) -> str:
        """The name in requests."""
        return self.name.replace("-", "_")

    def values(self, word: str) -> Values:
        """What it sets: nothing where the default is to hold. Raises ``ValueError`` with
        "expected …".
        """
        if word == DEFAULT:
            return {}
        if word == self.nothing:
            return {self.fields[0]: None}
        try:
            return dict(zip(self.fields, self.read(word), strict=True))
        except ValueError as exc:
            raise ValueError(f"{exc}, {self.nothing} or {DEFAULT}") from None

    def word(self, limits: Limits) -> str:
        """The word for what holds."""
        found = [getattr(limits, name) for name in self.fields]
        return self.nothing if found[0] is None else self.write(*found)


def parse_key_limits(text: str) -> Limits:
    """The limits of keys in a setting; raises one ``ValueError`` that lists all mistakes."""
    return _parse(text, KEY_LIMITS)


def parse_account_limits(text: str) -> Limits:
    """The same of accounts."""
    return _parse(text, ACCOUNT_LIMITS)


def _parse(text: str, known: Iterable[LimitWords]) -> Limits:
    by_name = {words.name: words for words in known}
    found: dict[str, Any] = {}
    mistakes: list[str] = []
    for entry in text.split(","):
        name, _, word = (part.strip() for part in entry.partition("="))
        try:
            values = _of_entry(name, word, by_name)
        except ValueError as exc:
            mistakes.append(f"{entry.strip()[:80]!r}: {exc}")
            continue
        if found.keys() & values:
            mistakes.append(f"{name} is there twice")
        found |= values
    if mistakes:
        raise ValueError(f"expected NAME=LIMIT,NAME=LIMIT; {'; '.join(mistakes)}")
    return msgspec.convert(found, Limits)


def _of_entry(name: str, word: str, by_name: Mapping[str, LimitWords]) -> Values:
    words = by_name.get(name)
    if words is None:
        raise ValueError(f"expected one of {', '.join(by_name)}")
    if word == words.nothing:
        return {words.fields[0]: None}
    return dict(zip(words.fields, words.read(word.replace("+", ",")), strict=True))


# --- one kind of word after the other: text in, values out ----------------------------------------


def _count(most: int) -> Callable[[str], tuple[int]]:
    def read(word: str) -> tuple[int]:
        if not _INTEGER.fullmatch(word) or not 1 <= int(word) <= most:
            raise ValueError(f"expected an integer from 1 to {most}")
        return (int(word),)

    return read


def _length(word: str) -> tuple[int]:
    found = _LENGTH.fullmatch(word)
    seconds = int(found[1]) * _SECONDS_BY_UNIT[found[2]] if found else 0
    if not 1 <= seconds <= SESSION_S_MAX:
        raise ValueError(f"expected a time like 2h, 90m or 45s, up to {SESSION_S_MAX // 3_600}h")
    return (seconds,)


def _spending(word: str) -> tuple[int, str]:
    amount, _, period = word.partition("/")
    is_amount = _INTEGER.fullmatch(amount) and 1 <= int(amount) <= AMOUNT_MAX
    if not is_amount or period not in list(Period):
        raise ValueError(
            f"expected credits from 1 to {AMOUNT_MAX} in a period, N/{', N/'.join(Period)}"
        )
    return int(amount), period


def _providers(word: str) -> tuple[list[str]]:
    names = _names(word)
    for name in names:
        if name not in KINDS and not is_further(name):
            kinds = ", ".join(KINDS)
            raise ValueError(
                f"expected providers: {kinds}, or names that begin so, like azure-eu, with commas"
                f" between them; not {name[:40]!r}"
            )
    return (names,)


def _models(word: str) -> tuple[list[str]]:
    names = _names(word)
    for name in names:
        if name.lower() in _RESERVED or not _MODEL.fullmatch(name) or len(name) > ID_CHARS_MAX:
            raise ValueError(
                f"expected names of models with commas between them, each of 1 to {ID_CHARS_MAX}"
                f" letters, digits and signs, no blanks and no +; not {name[:40]!r}"
            )
    return (names,)


def _names(word: str) -> list[str]:
    names = [name.strip(" ") for name in word.split(",")]
    if len(names) > NAMES_MAX:
        raise ValueError(f"expected at most {NAMES_MAX} names, not {len(names)}")
    return list(dict.fromkeys(names))


def _written_length(seconds: int) -> str:
    return next(f"{seconds // s}{unit}" for unit, s in _SECONDS_BY_UNIT.items() if not seconds % s)


def _written_spending(amount: int, period: Period) -> str:
    return f"{amount}/{period}"


_SPENDING: Final = "spending"
KEY_LIMITS: Final = (
    LimitWords("sessions", ("sessions",), _count(COUNT_MAX), str),
    LimitWords("new-sessions", ("new_sessions_per_minute",), _count(COUNT_MAX), str),
    LimitWords("session-length", ("session_s",), _length, _written_length),
    LimitWords("session-tokens", ("session_tokens",), _count(AMOUNT_MAX), str),
    LimitWords("session-credits", ("session_credits",), _count(AMOUNT_MAX), str),
    LimitWords(_SPENDING, ("spending_credits", "spending_period"), _spending, _written_spending),
    LimitWords("providers", ("providers",), _providers, ",".join, nothing="any"),
    LimitWords("models", ("models",), _models, ",".join, nothing="any"),
)
# What an account may spend is its credit.
ACCOUNT_LIMITS: Final = tuple(words for words in KEY_LIMITS if words.name != _SPENDING)
