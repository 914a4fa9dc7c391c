"""Prices against the rules written out token by token, in fractions."""

from fractions import Fraction
from math import floor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.rate_card import RateCardError, read_rates
from shared.rates import (
    DEFAULT_RATES,
    NANO_PER_CREDIT,
    NANO_PER_MICRO,
    PRICE_KEYS,
    PRICE_MAX,
    PriceEntry,
    Rates,
)
from shared.usage import TOKENS_PER_RESPONSE_MAX, USAGE_FIELDS, Kind, Usage, UsageBatch
from shared.wire import decode_usage, encode_usage

Card = dict[str, int]

KINDS = [
    Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION, Kind.ESTIMATE, Kind.ESTIMATED_TRANSCRIPTION,
    Kind.ESTIMATED_DURATION,
]  # fmt: skip
PIECES = {
    "web_search": "web_searches",
    "grounding_query": "grounding_queries",
    "tool_call": "tool_calls",
}
kinds = st.sampled_from(KINDS)
cards = st.dictionaries(st.sampled_from(PRICE_KEYS), st.integers(0, PRICE_MAX))
few = st.integers(0, 12)
MODALITIES = ("text", "audio", "image")


@st.composite
def odd_usages(draw: st.DrawFn, counts: st.SearchStrategy[int] = few) -> Usage:
    """Whatever the wire lets through: parts that claim more than their whole, among others."""
    found = {name: draw(counts) for name in USAGE_FIELDS}
    found["total_tokens"] += found["input_tokens"] + found["output_tokens"]
    return Usage(**found)


@st.composite
def sound_usages(draw: st.DrawFn) -> Usage:
    """Parts that are parts, cached tokens of a named modality; only text is written to a cache."""
    text, audio, image, rest = (draw(few) for _ in range(4))
    out_text, out_audio, thoughts = (draw(few) for _ in range(3))
    cached = [draw(st.integers(0, most)) for most in (text, audio, image)]
    tokens_in, tokens_out = text + audio + image + rest, out_text + out_audio + thoughts
    return Usage(
        tokens_in, tokens_out, tokens_in + tokens_out + draw(few), text, audio, image, sum(cached),
        out_text, out_audio, thoughts, draw(few), *cached,
        draw(st.integers(0, text - cached[0])), draw(few), draw(few), draw(few),
    )  # fmt: skip


def card_of(prices: Card) -> Rates:
    """A card of one entry, through its text."""
    lines = [f"{name} = {price}" for name, price in prices.items()]
    return read_rates("\n".join(['version = "v"', "[[rates]]", *lines]).encode())


def batch(usage: Usage, kind: str = Kind.RESPONSE) -> UsageBatch:
    """A row with this usage."""
    return UsageBatch("a", "s", "openai", "m", kind, 1, ("r",), usage, 0)


def claimed(whole: list[str], claims: list[tuple[str, int]]) -> list[str]:
    """Each token gets the name of the first claim that is left, as long as there are tokens."""
    names = [name for name, count in claims for _ in range(count)]
    return [*names, *whole][: len(whole)]


def fee(prices: Card, usage: Usage, kind: str) -> Fraction:
    """The rules of the page, one token after the other, in credits."""
    every = claimed(["input"] * usage.total_tokens, [
        ("in", usage.input_tokens), ("out", usage.output_tokens),
    ])  # fmt: skip
    ins = claimed(
        ["input"] * every.count("in"),
        [(f"{m}_input", getattr(usage, f"input_{m}_tokens")) for m in MODALITIES],
    )
    outs = claimed(
        ["output"] * every.count("out"),
        [(f"{m}_output", getattr(usage, f"output_{m}_tokens")) for m in ("text", "audio")],
    )
    is_cached = [False] * len(ins)
    for modality in MODALITIES:
        named = getattr(usage, f"input_cached_{modality}_tokens")
        for place in [n for n, name in enumerate(ins) if name == f"{modality}_input"][:named]:
            is_cached[place] = sum(is_cached) < usage.input_cached_tokens
    for place in range(len(ins)):
        is_cached[place] = is_cached[place] or sum(is_cached) < usage.input_cached_tokens

    left = usage.input_cache_write_tokens
    is_written = [False] * len(ins)
    for place in [n for n, cached in enumerate(is_cached) if not cached][:left]:
        is_written[place] = True

    def price(name: str) -> int:
        plain = name.rpartition("_")[2]
        return prices.get(name, prices.get(plain, 1_000_000))

    def token_price(name: str, is_cached: bool, is_written: bool) -> int:
        if is_cached:
            return prices.get(f"cached_{name}", prices.get("cached_input", price(name)))
        return prices.get("cache_write_input", price(name)) if is_written else price(name)

    micro = Fraction(sum(price(name) for name in [*outs, *["input"] * every.count("input")]))
    micro += sum(map(token_price, ins, is_cached, is_written))
    micro += sum(getattr(usage, field) * prices.get(name, 0) for name, field in PIECES.items())
    unit = "transcription_second" if "transcription" in kind else "session_second"
    return (micro + Fraction(usage.billed_ms, 1000) * prices.get(unit, 0)) / 1_000_000


@given(odd_usages(st.integers(0, TOKENS_PER_RESPONSE_MAX // 3)), kinds)
def test_the_default_card_is_the_original_rule(usage: Usage, kind: str) -> None:
    """One credit for each of the total tokens and nothing else, whatever its parts claim."""
    sent = decode_usage(encode_usage(batch(usage, kind)))
    assert isinstance(sent, UsageBatch)
    assert DEFAULT_RATES.credits(sent) == usage.total_tokens
    assert card_of({}).credits(sent) == usage.total_tokens


@given(cards, odd_usages(), kinds)
def test_a_unit_is_priced_or_named(prices: Card, usage: Usage, kind: str) -> None:
    """Nothing that was reported is silently worth nothing, and nothing that is priced is named."""
    counts = {name: getattr(usage, field) for name, field in PIECES.items()}
    second = "transcription_second" if "transcription" in kind else "session_second"
    counts[second] = usage.billed_ms
    expected = {name for name, count in counts.items() if count and name not in prices}
    assert set(card_of(prices).unpriced(batch(usage, kind))) == expected


FIELDS = {**PIECES, "transcription_second": "billed_ms", "session_second": "billed_ms"}


@given(cards, odd_usages(), kinds)
def test_what_is_unpriced_is_not_charged_and_everything_else_is(
    prices: Card, usage: Usage, kind: str
) -> None:
    """Without its unpriced units a row costs the same; without any other, less by its price."""
    card, one = card_of(prices), batch(usage, kind)
    unpriced = card.unpriced(one)
    bare = replace(usage, **{FIELDS[unit]: 0 for unit in unpriced})
    assert card.price(batch(bare, kind)) == card.price(one)
    assert card.unpriced(batch(bare, kind)) == ()
    second = "transcription_second" if "transcription" in kind else "session_second"
    for unit in {*PIECES, second} - set(unpriced):
        count = getattr(usage, FIELDS[unit])
        each = NANO_PER_MICRO if unit in PIECES else 1  # a millisecond of a second's price
        without = card.price(batch(replace(usage, **{FIELDS[unit]: 0}), kind))
        assert card.price(one) - without == count * prices.get(unit, 0) * each


@given(cards, cards, odd_usages(), kinds)
def test_what_the_first_entry_does_not_say_the_next_one_does(
    first: Card, second: Card, usage: Usage, kind: str
) -> None:
    """Two entries cost what one costs that takes from the second what the first leaves open."""
    merged = PriceEntry("*", "*", first)
    said = {name: price for name in PRICE_KEYS if (price := merged.price(name)) is not None}
    other = PriceEntry("*", "*", second)
    for name in PRICE_KEYS:
        if name not in said and (price := other.price(name)) is not None:
            said[name] = price
    lines = ["[[rates]]\nprovider = 'openai'", *(f"{n} = {p}" for n, p in first.items())]
    lines += ["[[rates]]\nmodel = 'm*'", *(f"{n} = {p}" for n, p in second.items())]
    two = read_rates("\n".join(['version = "v"', *lines]).encode())
    assert two.price(batch(usage, kind)) == card_of(said).price(batch(usage, kind))


@given(cards, odd_usages() | sound_usages(), kinds)
def test_prices_are_exact(prices: Card, usage: Usage, kind: str) -> None:
    """Integers say what fractions say, and only the credits are rounded, half up."""
    card, exact = card_of(prices), fee(prices, usage, kind)
    assert Fraction(card.price(batch(usage, kind)), NANO_PER_CREDIT) == exact
    assert card.credits(batch(usage, kind)) == floor(exact + Fraction(1, 2))


@given(cards, sound_usages(), sound_usages(), kinds)
def test_a_batch_costs_what_its_responses_cost(
    prices: Card, one: Usage, other: Usage, kind: str
) -> None:
    """Before rounding: how a session is cut into batches changes a row by less than a credit."""
    card = card_of(prices)
    singly = card.price(batch(one, kind)) + card.price(batch(other, kind))
    assert card.price(batch(one + other, kind)) == singly


@given(cards, odd_usages(st.integers(0, TOKENS_PER_RESPONSE_MAX // 3)), kinds)
def test_no_row_is_negative_or_beyond_64_bits(prices: Card, usage: Usage, kind: str) -> None:
    """Whatever a provider reports."""
    assert 0 <= card_of(prices).credits(batch(usage, kind)) < 2**63


@given(cards, odd_usages(), kinds, st.sampled_from(PRICE_KEYS), st.integers(0, PRICE_MAX))
def test_a_higher_price_never_makes_a_row_cheaper(
    prices: Card, usage: Usage, kind: str, name: str, price: int
) -> None:
    """Which token is what does not depend on the prices."""
    low, high = sorted((price, prices.get(name, price)))
    cheap, dear = ({**prices, name: value} for value in (low, high))
    assert card_of(cheap).price(batch(usage, kind)) <= card_of(dear).price(batch(usage, kind))


values = st.recursive(
    st.integers() | st.booleans() | st.floats() | st.text(max_size=9),
    st.lists,
    max_leaves=3,
)


@given(
    st.binary(max_size=200)
    | st.text(alphabet="[]rates= \"'\n_vnio.1{}#", max_size=200).map(str.encode)
)
def test_any_bytes_are_a_card_or_one_line(content: bytes) -> None:
    """A file that somebody else wrote never ends in a traceback."""
    try:
        card = read_rates(content)
    except RateCardError as exc:
        assert len(str(exc).splitlines()) == 1
    else:
        assert card.version


def toml(value: Any) -> str:
    """A value as TOML spells it; text without what needs an escape."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return "'" + "".join(c for c in value if c.isprintable() and c != "'") + "'"
    return str(value)


@given(st.sampled_from([*PRICE_KEYS, "provider", "model", "version"]), values)
def test_any_value_is_taken_or_named(name: str, value: Any) -> None:
    """A price is an integer in its bounds, a pattern is text; everything else is a mistake."""
    place = "" if name == "version" else 'version = "v"\n[[rates]]\n'
    try:
        card = read_rates(f"{place}{name} = {toml(value)}".encode())
    except RateCardError as exc:
        assert f"{name}: found" in str(exc)
        assert len(str(exc).splitlines()) == 1
    else:
        is_price = type(value) is int and 0 <= value <= PRICE_MAX
        assert is_price == (name in PRICE_KEYS)
        assert isinstance(value, int if is_price else str)
        assert card.version
