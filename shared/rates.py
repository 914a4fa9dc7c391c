"""What usage costs by a rate card. Pure. The card is read by ``rate_card``.

accountd charges by the card, and gateways estimate by the same one with the same code. A card is a
TOML file::

    version = "2026-11"          # stands on every usage row: 1 to 64 printable characters

    [[rates]]
    provider = "openai"          # shell patterns (fnmatch, case matters); absent: "*"
    model = "gpt-realtime*"
    input = 600_000              # prices are integers, in micro-credits (1,000,000 are one credit)
    output = 2_400_000           # for each token, second or piece

``UNITS`` names all prices, and for each the more general prices that stand in for it. Every unit is
looked up by itself: the first entry that matches provider and model and names the unit's price, or
one that stands in for it, counts. An entry that names neither says nothing about that unit, and the
next one that matches is asked. What no entry names costs, for a token, what the original rule says:
one credit (``TOKEN_UNITS``). Any other unit is then *unpriced*: it costs nothing, and its row says
so (``Rates.unpriced``). A price of 0 is a price. What a provider counts and no unit stands for
(``shared.other_units``) is unpriced too; ``other = 0``, its only price, says that it is free.

A provider beside the first of its kind (``azure-eu``) has the prices of its kind. Entries that
match its name and not its kind (``provider = "azure-eu"``, or ``"azure-*"``) come first, wherever
they stand; for what they do not price those of the kind are asked.

A price can fall on everything that a provider reports, and on nothing twice: *input* and *output*
are parts of the total, the modalities parts of these, cached tokens and cache writes parts of the
input. Parts that claim more than their whole are cut, in the order of the fields, so that no amount
is ever negative. What is in no part costs ``input`` or ``output`` plainly: thoughts, a modality
that is not known, and, as ``input``, what of the total is neither input nor output.

A cached token costs its cached price in place of its modality's. Which modality was cached the
provider mostly says; where it does not, text is taken first, then audio, images, the rest. Cache
writes are taken in the same order, from what was not cached.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import add, mul, sub
from typing import Final

from shared.other_units import OTHER_UNIT, other_units
from shared.provider_kinds import KINDS, kind_of
from shared.usage import RESPONSES_PER_BATCH_MAX, TOKENS_PER_RESPONSE_MAX, Kind, Usage, UsageBatch

MICRO_PER_CREDIT: Final = 1_000_000
# Durations are milliseconds: one of them, at a price for a second, is so many nano-credits.
NANO_PER_MICRO: Final = 1_000
NANO_PER_CREDIT: Final = MICRO_PER_CREDIT * NANO_PER_MICRO
PRICE_MAX: Final = 10**12  # a million credits for one token
# So that the dearest row of the longest batch still fits into SQLite's integers: by its tokens, its
# milliseconds, and each of the three that are billed by the piece.
assert 5 * RESPONSES_PER_BATCH_MAX * TOKENS_PER_RESPONSE_MAX * PRICE_MAX < 2**63 * MICRO_PER_CREDIT

ORIGINAL_VERSION: Final = "default"
# Models are what providers and clients call them: a bound, because anybody may invent names.
_FOUND_MAX: Final = 1_024

# Every unit, and the prices that count for it, the most particular one first.
UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input",),
    "text_input": ("text_input", "input"),
    "audio_input": ("audio_input", "input"),
    "image_input": ("image_input", "input"),
    "cached_input": ("cached_input", "input"),
    "cached_text_input": ("cached_text_input", "cached_input", "text_input", "input"),
    "cached_audio_input": ("cached_audio_input", "cached_input", "audio_input", "input"),
    "cached_image_input": ("cached_image_input", "cached_input", "image_input", "input"),
    "cache_write_input": ("cache_write_input",),  # else what the token costs as input
    "output": ("output",),
    "text_output": ("text_output", "output"),
    "audio_output": ("audio_output", "output"),
    "transcription_second": ("transcription_second",),
    "session_second": ("session_second",),
    "web_search": ("web_search",),
    "grounding_query": ("grounding_query",),
    "tool_call": ("tool_call",),
}
PRICE_KEYS: Final = tuple(UNITS)
# Units that the original rule prices: one credit each.
TOKEN_UNITS: Final = frozenset(name for name in UNITS if name.endswith(("input", "output")))
# What is billed by the piece, and the field that counts it.
COUNT_BY_PIECE: Final = {
    "web_search": "web_searches",
    "grounding_query": "grounding_queries",
    "tool_call": "tool_calls",
}
_MODALITIES: Final = ("text", "audio", "image")


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """An entry of the card: two patterns, and the prices that it names, in micro-credits."""

    provider: str
    model: str
    prices: Mapping[str, int]

    def matches(self, provider: str, model: str) -> bool:
        """Whether this entry is about ``model`` of ``provider``."""
        return self.is_about(provider) and fnmatchcase(model, self.model)

    def is_about(self, provider: str) -> bool:
        """Whether this entry is about models of ``provider``."""
        return fnmatchcase(provider, self.provider)

    def covers(self, later: "PriceEntry") -> bool:
        """Whether this one is always asked before ``later``, and matches whatever that matches."""
        is_asked_first = self.provider == "*" and any(map(later.is_about, KINDS))
        is_wider = self.provider == later.provider or is_asked_first
        return is_wider and self.model in ("*", later.model)

    def price(self, unit: str) -> int | None:
        """What ``unit`` costs by this entry; None when it does not say."""
        return next((self.prices[key] for key in UNITS[unit] if key in self.prices), None)

    @property
    def units(self) -> frozenset[str]:
        """The units that this entry has a price for."""
        priced = {unit for unit in UNITS if self.price(unit) is not None}
        return frozenset(priced | ({OTHER_UNIT} & self.prices.keys()))


@dataclass(frozen=True, slots=True)
class Rate:
    """The prices of one model, in micro-credits, looked up in all entries that match it.

    ``inputs`` are for text, audio, images and the rest, ``outputs`` for text, audio and the rest.
    ``discounts`` are what each of ``inputs`` costs less when it was cached (negative: more),
    ``write_discounts`` when it was written to a cache; empty where that makes no difference. None
    is a unit that no entry prices.
    """

    inputs: tuple[int, ...]
    discounts: tuple[int, ...]
    write_discounts: tuple[int, ...]
    outputs: tuple[int, ...]
    transcription_second: int | None
    session_second: int | None
    pieces: Mapping[str, int | None]

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
        if self.write_discounts and usage.input_cache_write_tokens:
            micro -= sum(map(mul, _written(inputs, usage), self.write_discounts))
        if pieces := _pieces(usage):  # an empty sum costs half a microsecond: every row comes here
            micro += sum(count * (self.pieces[name] or 0) for name, count in pieces)
        return micro * NANO_PER_MICRO + usage.billed_ms * (self._second(kind) or 0)

    def unpriced(self, usage: Usage, kind: str) -> tuple[str, ...]:
        """The units in ``usage`` that no entry prices, by the names of their prices."""
        found = [name for name, _ in _pieces(usage) if self.pieces[name] is None]
        if usage.billed_ms and self._second(kind) is None:
            found.append(second_unit(kind))
        return tuple(found)

    def _second(self, kind: str) -> int | None:
        """The price of a second, where something is billed by its length."""
        is_transcription = second_unit(kind) == "transcription_second"
        return self.transcription_second if is_transcription else self.session_second


def second_unit(kind: str) -> str:
    """The price that a second of this kind has: only a transcription's is its own."""
    is_transcription = kind in (Kind.TRANSCRIPTION, Kind.ESTIMATED_TRANSCRIPTION)
    return "transcription_second" if is_transcription else "session_second"


class Rates:
    """A rate card in use. ``text`` is its TOML, empty for the built-in card."""

    def __init__(self, version: str, entries: Iterable[PriceEntry] = (), *, text: str = "") -> None:
        self.version = version
        self.entries = tuple(entries)
        self.text = text
        # 0.1 µs a row in place of a search through the patterns.
        self._find = lru_cache(_FOUND_MAX)(self._search)

    def credits(self, batch: UsageBatch) -> int:
        """What a usage row is charged: rounded here, once."""
        if not self.entries:
            return batch.usage.total_tokens
        return to_credits(self.price(batch))

    def price(self, batch: UsageBatch) -> int:
        """What ``batch`` costs, in nano-credits: exact, and not rounded."""
        return self._find(batch.provider, batch.model).price(batch.usage, batch.kind)

    def unpriced(self, batch: UsageBatch) -> tuple[str, ...]:
        """The units in ``batch`` without a price: it costs nothing for them."""
        if not (batch.raw or batch.usage.billed_ms or _pieces(batch.usage)):
            return ()  # only tokens, which have a price always
        units = self._find(batch.provider, batch.model).unpriced(batch.usage, batch.kind)
        if not batch.raw or self.frees_others(batch.provider, batch.model):
            return units
        return (*units, OTHER_UNIT) if other_units(batch.raw) else units

    def frees_others(self, provider: str, model: str) -> bool:
        """Whether a matching entry declares units without a column free (``other = 0``)."""
        return any(OTHER_UNIT in entry.prices for entry in self._matching(provider, model))

    def names(self, provider: str, model: str, unit: str) -> bool:
        """Whether an entry that matches the model has a price for ``unit``."""
        return any(entry.price(unit) is not None for entry in self._matching(provider, model))

    def _search(self, provider: str, model: str) -> Rate:
        return _rate(self._matching(provider, model))

    def _matching(self, provider: str, model: str) -> list[PriceEntry]:
        """The entries about a model, in the order in which they are asked."""
        kind = kind_of(provider)
        of_kind = [entry for entry in self.entries if entry.matches(kind, model)]
        if kind == provider:
            return of_kind
        named = (entry for entry in self.entries if entry.matches(provider, model))
        return [*(entry for entry in named if not entry.is_about(kind)), *of_kind]


def to_credits(nano: int) -> int:
    """Nano-credits (from 0) as credits, rounded half up."""
    assert nano >= 0
    return (nano + NANO_PER_CREDIT // 2) // NANO_PER_CREDIT


# --- prices --------------------------------------------------------------------------------------


def _rate(entries: Sequence[PriceEntry]) -> Rate:
    """The prices by those ``entries``, all of which match."""

    def named(unit: str) -> int | None:
        return next((p for entry in entries if (p := entry.price(unit)) is not None), None)

    def token(unit: str) -> int:
        price = named(unit)
        return MICRO_PER_CREDIT if price is None else price

    inputs = (*(token(f"{name}_input") for name in _MODALITIES), token("input"))
    cached = (*(token(f"cached_{name}_input") for name in _MODALITIES), token("cached_input"))
    discounts = tuple(map(sub, inputs, cached))
    write = named("cache_write_input")
    return Rate(
        inputs=inputs,
        discounts=discounts if any(discounts) else (),
        write_discounts=() if write is None else tuple(price - write for price in inputs),
        outputs=(token("text_output"), token("audio_output"), token("output")),
        transcription_second=named("transcription_second"),
        session_second=named("session_second"),
        pieces={name: named(name) for name in COUNT_BY_PIECE},
    )


def _parts(whole: int, *claims: int) -> list[int]:
    """``whole`` divided as claimed, each claim cut to what is left of it; last what is unclaimed.

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
    named.append(0)  # the provider says nothing of the rest
    *more, _ = _parts(left, *map(sub, inputs, named))
    return list(map(add, named, more))


def _written(inputs: Sequence[int], usage: Usage) -> list[int]:
    """How much of each input was written to a cache: of what was not read from one, in order."""
    uncached = map(sub, inputs, _cached(inputs, usage))
    return _parts(usage.input_cache_write_tokens, *uncached)[: len(inputs)]


def _pieces(usage: Usage) -> list[tuple[str, int]]:
    """The pieces (searches, queries, calls) in ``usage``, by the names of their prices."""
    if not (usage.web_searches or usage.grounding_queries or usage.tool_calls):
        return _NO_PIECES
    counts = ((name, getattr(usage, field)) for name, field in COUNT_BY_PIECE.items())
    return [(name, count) for name, count in counts if count]


_NO_PIECES: Final[list[tuple[str, int]]] = []
DEFAULT_RATES: Final = Rates(ORIGINAL_VERSION)
"""The card where there is none: a row costs exactly its total tokens."""
