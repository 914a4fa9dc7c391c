"""Prices against the rules written out token by token, in fractions."""

from fractions import Fraction
from math import floor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.rates import (
    DEFAULT_RATES,
    NANO_PER_CREDIT,
    PRICE_KEYS,
    PRICE_MAX,
    RateCardError,
    Rates,
    read_rates,
)
from shared.wire import (
    TOKENS_PER_RESPONSE_MAX,
    USAGE_FIELDS,
    Kind,
    Usage,
    UsageBatch,
    decode_usage,
    encode_usage,
)

Card = dict[str, int]

KINDS = [Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION, Kind.ESTIMATE]
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
    """Parts that are parts, and cached tokens whose modality is named."""
    text, audio, image, rest = (draw(few) for _ in range(4))
    out_text, out_audio, thoughts = (draw(few) for _ in range(3))
    cached = [draw(st.integers(0, most)) for most in (text, audio, image)]
    tokens_in, tokens_out = text + audio + image + rest, out_text + out_audio + thoughts
    return Usage(
        tokens_in, tokens_out, tokens_in + tokens_out + draw(few), text, audio, image, sum(cached),
        out_text, out_audio, thoughts, draw(few), *cached,
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

    def price(name: str) -> int:
        plain = name.rpartition("_")[2]
        return prices.get(name, prices.get(plain, 1_000_000))

    micro = Fraction(sum(price(name) for name in [*outs, *["input"] * every.count("input")]))
    for name, cached in zip(ins, is_cached, strict=True):
        micro += prices.get("cached_input", price(name)) if cached else price(name)
    unit = {Kind.TRANSCRIPTION: "transcription_second", Kind.DURATION: "session_second"}.get(
        Kind(kind), ""
    )
    return (micro + Fraction(usage.billed_ms, 1000) * prices.get(unit, 0)) / 1_000_000


@given(odd_usages(st.integers(0, TOKENS_PER_RESPONSE_MAX // 3)), kinds)
def test_the_default_card_is_the_original_rule(usage: Usage, kind: str) -> None:
    """One credit for each of the total tokens and nothing else, whatever its parts claim."""
    sent = decode_usage(encode_usage(batch(usage, kind)))
    assert isinstance(sent, UsageBatch)
    assert DEFAULT_RATES.credits(sent) == usage.total_tokens
    assert card_of({}).credits(sent) == usage.total_tokens


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
