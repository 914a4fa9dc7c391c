"""What usage costs: the rate card, read and applied. Pure.

accountd charges by the card, and gateways estimate by the same one with the same code. A card is a
TOML file::

    version = "2026-11"          # stands on every usage row: 1 to 64 printable characters

    [[rates]]                    # the first entry that matches counts
    provider = "openai"          # shell patterns (fnmatch, case matters); absent: "*"
    model = "gpt-realtime*"
    input = 600_000              # prices are integers, in micro-credits (1,000,000 are one credit)
    output = 2_400_000           # for each token, or for each second

``PRICE_KEYS`` names all prices. What an entry does not name costs what ``_rate`` says, and what no
entry matches costs what the original rule says: one credit for every token (``ORIGINAL``).

A price can fall on everything that a provider reports, and on nothing twice: *input* and *output*
are parts of the total, the modalities parts of these, cached tokens a part of the input. Parts that
claim more than their whole are cut, in the order of the fields, so that no amount is ever negative.
What is in no part costs ``input`` or ``output`` plainly: thoughts, a modality that is not known,
and, as ``input``, what of the total is neither input nor output.

A cached token costs ``cached_input`` in place of its modality's price. Which modality was cached
the provider mostly says; where it does not, text is taken first, then audio, images, the rest.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import add, mul, sub
from typing import Any, Final

from shared.wire import (
    ID_CHARS_MAX,
    MESSAGE_BYTES_MAX,
    RESPONSES_PER_BATCH_MAX,
    TOKENS_PER_RESPONSE_MAX,
    Kind,
    Usage,
    UsageBatch,
)

# The names that usage comes under. A pattern that none of them matches is a slip of the pen.
PROVIDERS: Final = ("azure", "gemini", "openai", "xai")

MICRO_PER_CREDIT: Final = 1_000_000
# Durations are milliseconds: one of them, at a price for a second, is so many nano-credits.
NANO_PER_MICRO: Final = 1_000
NANO_PER_CREDIT: Final = MICRO_PER_CREDIT * NANO_PER_MICRO
PRICE_MAX: Final = 10**12  # a million credits for one token
# So that the dearest row of the longest batch still fits into SQLite's integers, twice over: by its
# tokens and by its milliseconds.
assert 2 * RESPONSES_PER_BATCH_MAX * TOKENS_PER_RESPONSE_MAX * PRICE_MAX < 2**63 * MICRO_PER_CREDIT

CARD_BYTES_MAX: Final = 32 * 1024  # it travels to gateways in one message
assert CARD_BYTES_MAX * 2 <= MESSAGE_BYTES_MAX
VERSION_CHARS_MAX: Final = 64
ORIGINAL_VERSION: Final = "default"
# Models are what providers and clients call them: a bound, because anybody may invent names.
_FOUND_MAX: Final = 1_024
_SHOWN_CHARS_MAX: Final = 60

PRICE_KEYS: Final = (
    "input", "text_input", "audio_input", "image_input", "cached_input",
    "output", "text_output", "audio_output", "transcription_second", "session_second",
)  # fmt: skip
_PATTERN_KEYS: Final = ("provider", "model")


class RateCardError(ValueError):
    """A rate card cannot be used; the text names every mistake, in one line."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The prices of the models that two patterns match, in micro-credits, every default filled in.

    ``inputs`` are for text, audio, images and the rest, ``outputs`` for text, audio and the rest.
    ``discounts`` are what each of ``inputs`` costs less when it was cached (negative: more); empty
    where that makes no difference.
    """

    provider: str
    model: str
    inputs: tuple[int, ...]
    discounts: tuple[int, ...]
    outputs: tuple[int, ...]
    transcription_second: int
    session_second: int

    def matches(self, provider: str, model: str) -> bool:
        """Whether this entry is about ``model`` of ``provider``."""
        return fnmatchcase(provider, self.provider) and fnmatchcase(model, self.model)

    def hides(self, later: "Rate") -> bool:
        """Whether ``later`` can never count, because this entry matches whatever it matches."""
        return self.provider in ("*", later.provider) and self.model in ("*", later.model)

    def price(self, usage: Usage, kind: str) -> int:
        """What ``usage`` costs, in nano-credits: exact, and not rounded."""
        tokens_in, tokens_out, other = _parts(
            usage.total_tokens, usage.input_tokens, usage.output_tokens
        )
        inputs = _parts(
            tokens_in, usage.input_text_tokens, usage.input_audio_tokens, usage.input_image_tokens
        )
        outputs = _parts(tokens_out, usage.output_text_tokens, usage.output_audio_tokens)
        micro: int = (
            sum(map(mul, inputs, self.inputs))
            + sum(map(mul, outputs, self.outputs))
            + other * self.inputs[-1]
        )
        if self.discounts and usage.input_cached_tokens:
            micro -= sum(map(mul, _cached(inputs, usage), self.discounts))
        return micro * NANO_PER_MICRO + usage.billed_ms * self._second(kind)

    def _second(self, kind: str) -> int:
        """The price of a second, where something is billed by its length."""
        if kind == Kind.TRANSCRIPTION:
            return self.transcription_second
        return self.session_second if kind == Kind.DURATION else 0


class Rates:
    """A rate card in use. ``text`` is its TOML, empty for the built-in card."""

    def __init__(self, version: str, entries: Iterable[Rate] = (), *, text: str = "") -> None:
        self.version = version
        self.entries = tuple(entries)
        self.text = text
        # 0.1 µs a row in place of a search through the patterns.
        self._find = lru_cache(_FOUND_MAX)(self._search)

    def credits(self, batch: UsageBatch) -> int:
        """What a usage row is charged: rounded here, once."""
        return to_credits(self.price(batch))

    def price(self, batch: UsageBatch) -> int:
        """What ``batch`` costs, in nano-credits: exact, and not rounded."""
        return self._find(batch.provider, batch.model).price(batch.usage, batch.kind)

    def _search(self, provider: str, model: str) -> Rate:
        return next((rate for rate in self.entries if rate.matches(provider, model)), ORIGINAL)


def to_credits(nano: int) -> int:
    """Nano-credits (from 0) as credits, rounded half up."""
    assert nano >= 0
    return (nano + NANO_PER_CREDIT // 2) // NANO_PER_CREDIT


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
        rates = [_rate(entry) for entry in entries]
        problems += _hidden(rates)
    if problems:
        raise RateCardError("; ".join(problems))
    return Rates(found["version"], rates, text=text)


# --- prices --------------------------------------------------------------------------------------


def _rate(entry: Mapping[str, Any]) -> Rate:
    """An entry with its defaults: a modality costs what its direction costs, which is one credit; a
    cached token costs what it would cost uncached; a second costs nothing.
    """
    into, out = (entry.get(name, MICRO_PER_CREDIT) for name in ("input", "output"))
    text, audio, image = (entry.get(f"{name}_input", into) for name in ("text", "audio", "image"))
    cached = entry.get("cached_input")
    inputs = (text, audio, image, into)
    return Rate(
        provider=entry.get("provider", "*"),
        model=entry.get("model", "*"),
        inputs=inputs,
        discounts=() if cached is None else tuple(price - cached for price in inputs),
        outputs=(entry.get("text_output", out), entry.get("audio_output", out), out),
        transcription_second=entry.get("transcription_second", 0),
        session_second=entry.get("session_second", 0),
    )


def _parts(whole: int, *claims: int) -> list[int]:
    """``whole`` divided as claimed, each claim cut to what is left of it; last what nobody claims.

    Counts are never negative, so neither is a part.
    """
    parts = []
    for claim in claims:
        part = claim if claim < whole else whole  # half the time of min(): every row comes here
        whole -= part
        parts.append(part)
    parts.append(whole)
    return parts


def _cached(inputs: Sequence[int], usage: Usage) -> list[int]:
    """How much of each input was cached: first as the provider says, then in their order."""
    claims = (
        usage.input_cached_text_tokens,
        usage.input_cached_audio_tokens,
        usage.input_cached_image_tokens,
    )
    *named, left = _parts(usage.input_cached_tokens, *map(min, claims, inputs))
    named.append(0)  # of the rest nobody says anything
    *more, _ = _parts(left, *map(sub, inputs, named))
    return list(map(add, named, more))


ORIGINAL: Final = _rate({})
DEFAULT_RATES: Final = Rates(ORIGINAL_VERSION)
"""The card where there is none: a row costs exactly its total tokens."""


# --- checks --------------------------------------------------------------------------------------


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
    yield from _unknown(entry, (*_PATTERN_KEYS, *PRICE_KEYS))
    for name in _PATTERN_KEYS:
        pattern = entry.get(name, "*")
        if not _is_line(pattern, ID_CHARS_MAX):
            yield (
                f"{name}: found {_shown(pattern)},"
                f" expected a pattern of 1 to {ID_CHARS_MAX} characters"
            )
        elif name == "provider" and not any(fnmatchcase(p, pattern) for p in PROVIDERS):
            yield f"provider: found {_shown(pattern)}, expected one of {', '.join(PROVIDERS)}, or *"
    for name in PRICE_KEYS:
        value = entry.get(name, 0)
        if type(value) is not int or not 0 <= value <= PRICE_MAX:  # a bool is an int, too
            yield (
                f"{name}: found {_shown(value)},"
                f" expected micro-credits, an integer from 0 to {PRICE_MAX}"
            )


def _hidden(rates: list[Rate]) -> Iterator[str]:
    """An entry that never counts is one that its author believes to count."""
    for number, rate in enumerate(rates, start=1):
        for earlier, other in enumerate(rates[: number - 1], start=1):
            if other.hides(rate):
                yield f"entry {number}: never counts, because entry {earlier} matches all of it"
                break


def _is_line(value: object, chars_max: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= chars_max and value.isprintable()


def _shown(value: object) -> str:
    """A value of the card for an error line."""
    return "nothing" if value is None else repr(value)[:_SHOWN_CHARS_MAX]
