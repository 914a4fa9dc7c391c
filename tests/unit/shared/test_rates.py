"""What a rate card makes of a usage."""

from typing import Any

import pytest

from gateway.providers.catalog import PROVIDER_NAMES
from shared.provider_kinds import KINDS
from shared.rate_card import RateCardError, read_rates
from shared.rates import DEFAULT_RATES, NANO_PER_CREDIT, to_credits
from shared.usage import Kind, Usage, UsageBatch
from tests.support.paths import EXAMPLE_RATES as EXAMPLE

# Each price is another power of ten, so that the digits of a charge say what was counted as what.
DECIMAL = """
    version = "decimal"
    [[rates]]
    provider = "openai"
    model = "split-*"
    text_input = 1_000_000
    audio_input = 10_000_000
    image_input = 100_000_000
    input = 1_000_000_000
    text_output = 10_000_000_000
    audio_output = 100_000_000_000
    output = 1_000_000_000_000
    [[rates]]
    model = "cached"
    input = 10_000_000
    text_input = 100_000_000
    audio_input = 1_000_000_000
    image_input = 10_000_000_000
    cached_input = 1_000_000
    output = 0
    [[rates]]
    model = "seconds"
    input = 0
    output = 0
    transcription_second = 1_000
    session_second = 2_000_000
    [[rates]]
    provider = "x*"
    output = 3_000_000
"""


def batch(model: str, kind: str = Kind.RESPONSE, provider: str = "openai", **counts: int) -> Any:
    """A row of one response with these counts."""
    return UsageBatch("a", "s", provider, model, kind, 1, ("r",), Usage(**counts), 0)


def tokens(total: int, into: int, out: int, **splits: int) -> dict[str, int]:
    """The counts of a usage, the splits by the rest of their names."""
    named = {f"{name}_tokens": count for name, count in splits.items()}
    return {"total_tokens": total, "input_tokens": into, "output_tokens": out, **named}


CHARGES = [
    # what it is; model; counts; credits, whose digits say how many of each, from the right
    ("no details", "split-1", tokens(7, 4, 3), 3_004_000),
    ("one of each",
     "split-1", tokens(6, 3, 3, input_text=1, input_audio=1, input_image=1, output_text=1,
                       output_audio=1), 1_110_111),
    ("a rest", "split-1", tokens(9, 9, 0, input_text=2, input_audio=3), 4_032),
    ("thoughts", "split-1", tokens(9, 0, 9, output_audio=4, output_thought=5), 5_400_000),
    ("a total alone", "split-1", tokens(5, 0, 0), 5_000),
    ("more than its parts",
     "split-1", tokens(5, 1, 1, input_text=1, output_text=1), 13_001),
    ("text beyond the input", "split-1", tokens(2, 2, 0, input_text=9, input_audio=9), 2),
    ("audio beyond the rest", "split-1", tokens(4, 4, 0, input_text=1, input_audio=9), 31),
    ("audio beyond the output", "split-1", tokens(4, 0, 4, output_text=1, output_audio=9), 310_000),
    ("cached as said",
     "cached", tokens(9, 9, 0, input_text=5, input_audio=4, input_cached=3, input_cached_audio=3),
     1_503),
    ("cached, nobody says what",
     "cached", tokens(9, 9, 0, input_text=2, input_audio=3, input_image=1, input_cached=4), 11_034),
    ("cached, partly said",
     "cached", tokens(9, 9, 0, input_text=2, input_audio=3, input_image=1, input_cached=5,
                      input_cached_image=1), 1_035),
    ("all cached", "cached", tokens(9, 9, 0, input_text=2, input_cached=9), 9),
    ("cached beyond the input", "cached", tokens(9, 5, 4, input_text=2, input_cached=9), 5),
    ("cached beyond its modality",
     "cached", tokens(9, 9, 0, input_text=1, input_cached=4, input_cached_text=4), 54),
    ("modalities beyond what was cached",
     "cached", tokens(9, 9, 0, input_text=5, input_audio=4, input_cached=2, input_cached_audio=4),
     2_502),
    ("no entry", "other", tokens(9, 5, 4), 9),
]  # fmt: skip


@pytest.mark.parametrize(("what", "model", "counts", "charged"), CHARGES)
def test_every_token_is_priced_as_what_it_is(
    what: str, model: str, counts: dict[str, int], charged: int
) -> None:
    """Splits that claim too much are cut in the order of the fields; nothing is counted twice."""
    assert read_rates(DECIMAL.encode()).credits(batch(model, **counts)) == charged, what


DURATIONS = [
    # kind, milliseconds, credits
    (Kind.DURATION, 1_000, 2),
    (Kind.DURATION, 250, 1),  # half a credit
    (Kind.DURATION, 249, 0),
    (Kind.TRANSCRIPTION, 499_999, 0),  # a nano-credit less than half a credit
    (Kind.TRANSCRIPTION, 500_000, 1),
    (Kind.ESTIMATED_TRANSCRIPTION, 500_000, 1),
    (Kind.ESTIMATED_DURATION, 1_000, 2),
]


@pytest.mark.parametrize(("kind", "ms", "charged"), DURATIONS)
def test_seconds_are_priced_to_the_millisecond(kind: Kind, ms: int, charged: int) -> None:
    """Sessions and transcriptions have prices of their own; rounding is half up, and once."""
    assert read_rates(DECIMAL.encode()).credits(batch("seconds", kind, billed_ms=ms)) == charged


MATCHES = [
    # provider, model, credits for one output token
    ("openai", "split-1", 1_000_000),
    ("azure", "split-1", 1),
    ("openai", "SPLIT-1", 1),
    ("openai", "a split-1", 1),
    ("azure", "cached", 0),
    ("xai", "cached", 0),  # the first entry that matches
    ("xai", "grok", 3),
    ("xai", "", 3),
    ("gemini", "grok", 1),
]


@pytest.mark.parametrize(("provider", "model", "charged"), MATCHES)
def test_the_first_entry_that_matches_counts(provider: str, model: str, charged: int) -> None:
    """By provider and model; what none matches costs what the original rule says."""
    one = batch(model, provider=provider, output_tokens=1, total_tokens=1)
    assert read_rates(DECIMAL.encode()).credits(one) == charged


FALLS = """
    version = "falls"
    [[rates]]
    model = "fast-*"
    input = 4_000_000
    audio_input = 32_000_000
    cached_input = 400_000
    cached_audio_input = 600_000
    cache_write_input = 5_000_000
    web_search = 10_000_000_000
    [[rates]]
    model = "*-whisper"
    transcription_second = 1_000_000
    [[rates]]
    provider = "openai"
    output = 16_000_000
    session_second = 0
    tool_call = 2_000_000
"""
FALLEN = [
    # model; kind; counts; credits; what nobody prices
    ("fast-1", Kind.RESPONSE, tokens(2, 1, 1), 20, ()),
    ("fast-1", Kind.RESPONSE, tokens(10, 10, 0, input_audio=10, input_cached=10,
                                     input_cached_audio=10), 6, ()),
    ("fast-1", Kind.RESPONSE, tokens(10, 10, 0, input_text=10, input_cached=10), 4, ()),
    ("fast-1", Kind.RESPONSE, tokens(10, 10, 0, input_cache_write=4), 44, ()),
    ("fast-1", Kind.RESPONSE, tokens(10, 10, 0, input_cached=9, input_cache_write=4), 9, ()),
    ("fast-1", Kind.RESPONSE, {"web_searches": 3}, 30_000, ()),
    ("fast-1", Kind.RESPONSE, {"tool_calls": 3, "grounding_queries": 2}, 6, ("grounding_query",)),
    ("fast-whisper", Kind.TRANSCRIPTION, {"billed_ms": 60_000}, 60, ()),
    ("fast-1", Kind.TRANSCRIPTION, {"billed_ms": 60_000}, 0, ("transcription_second",)),
    ("fast-1", Kind.DURATION, {"billed_ms": 60_000}, 0, ()),  # free on purpose
    ("slow", Kind.RESPONSE, tokens(2, 1, 1), 17, ()),  # the original rule for the input
]  # fmt: skip


@pytest.mark.parametrize(("model", "kind", "counts", "charged", "unpriced"), FALLEN)
def test_a_unit_that_an_entry_does_not_price_falls_to_the_next(
    model: str, kind: Kind, counts: dict[str, int], charged: int, unpriced: tuple[str, ...]
) -> None:
    """And what no entry prices is named, unless it is a token."""
    card, one = read_rates(FALLS.encode()), batch(model, kind, **counts)
    assert (card.credits(one), card.unpriced(one)) == (charged, unpriced)


def test_the_built_in_card_prices_tokens_alone() -> None:
    """Seconds and pieces are not free there: they are named."""
    one = batch("m", total_tokens=5, input_tokens=5, web_searches=1, billed_ms=1)
    assert DEFAULT_RATES.credits(one) == 5
    assert DEFAULT_RATES.unpriced(one) == ("web_search", "session_second")


ROUNDED = [(0, 0), (1, 0), (NANO_PER_CREDIT // 2 - 1, 0), (NANO_PER_CREDIT // 2, 1),
           (NANO_PER_CREDIT, 1), (NANO_PER_CREDIT * 3 // 2, 2)]  # fmt: skip


@pytest.mark.parametrize(("nano", "charged"), ROUNDED)
def test_credits_are_rounded_half_up(nano: int, charged: int) -> None:
    """Also where a banker would round down."""
    assert to_credits(nano) == charged


@pytest.mark.parametrize("model", ["gpt-realtime-whisper", "gpt-live-transcribe", "whisper-1"])
def test_a_minute_of_transcription_is_not_free_in_the_example(model: str) -> None:
    """Whatever entry of a model that speaks matches its name as well."""
    card = read_rates(EXAMPLE.read_bytes())
    assert card.credits(batch(model, Kind.TRANSCRIPTION, billed_ms=60_000)) >= 60 * 25


MINI = tokens(2_000_000, 2_000_000, 0, input_text=1_000_000, input_audio=1_000_000,
              input_cached=2_000_000, input_cached_text=1_000_000,
              input_cached_audio=1_000_000)  # fmt: skip


GPT_5 = tokens(3_200, 3_000, 200, input_cache_write=2_048)
CREDITS_PER_DOLLAR = 250_000  # of the example: a credit is a text token that gpt-realtime reads
LISTED = [
    # what is billed; provider, model, kind, counts; dollars by the list
    ("a minute of a streaming transcriber", "openai", "gpt-realtime-whisper", Kind.TRANSCRIPTION,
     {"billed_ms": 60_000}, 0.017),
    ("an hour with xAI", "xai", "grok-voice-latest", Kind.DURATION, {"billed_ms": 3_600_000}, 3.0),
    ("its tokens", "xai", "grok-voice-latest", Kind.RESPONSE, tokens(341, 200, 141), 0),
    ("its tools", "xai", "grok-voice-latest", Kind.RESPONSE, {"tool_calls": 2}, 0.01),
    ("a minute of translation", "azure", "gpt-realtime-translate", Kind.ESTIMATED_DURATION,
     {"billed_ms": 60_000}, 0.034),
    ("cache writes and searches", "openai", "gpt-5.6", Kind.RESPONSE, GPT_5 | {"web_searches": 3},
     (952 * 5 + 2_048 * 6.25 + 200 * 40) / 1e6 + 3 * 0.01),
    ("grounding", "gemini", "gemini-3.8-live", Kind.RESPONSE, {"grounding_queries": 1_000}, 14),
    ("cached text, audio and images", "openai", "gpt-realtime-2", Kind.RESPONSE,
     tokens(3_000_000, 3_000_000, 0, input_text=1_000_000, input_audio=1_000_000,
            input_image=1_000_000, input_cached=3_000_000, input_cached_text=1_000_000,
            input_cached_audio=1_000_000, input_cached_image=1_000_000), 0.4 + 0.4 + 0.5),
    ("a second of Gemini's transcriber", "gemini", "gemini-3.5-transcribe-live",
     Kind.ESTIMATED_TRANSCRIPTION, {"billed_ms": 40_000}, 1_000 * 3 / 1e6),
    ("the same in tokens", "gemini", "gemini-3.5-transcribe-live", Kind.RESPONSE,
     tokens(1_000, 1_000, 0, input_audio=1_000), 1_000 * 3 / 1e6),
]  # fmt: skip


@pytest.mark.parametrize(("what", "provider", "model", "kind", "counts", "dollars"), LISTED)
def test_the_example_charges_what_the_provider_bills(
    what: str, provider: str, model: str, kind: Kind, counts: dict[str, int], dollars: float
) -> None:
    """Units that are no tokens, and tokens at prices of their own."""
    card, one = read_rates(EXAMPLE.read_bytes()), batch(model, kind, provider, **counts)
    assert card.credits(one) == pytest.approx(dollars * CREDITS_PER_DOLLAR, abs=1), what
    assert card.unpriced(one) == ()


def test_each_modality_has_a_price_for_what_was_cached() -> None:
    """The list price of a million cached text and audio tokens of the mini model: 0.06 + 0.30 $."""
    card = read_rates(EXAMPLE.read_bytes())
    assert card.credits(batch("gpt-realtime-2.1-mini", **MINI)) == (60_000 + 300_000) // 4


def test_the_providers_are_those_of_the_gateway() -> None:
    """A pattern for one that is forgotten here would be refused as a slip of the pen."""
    assert set(KINDS) == PROVIDER_NAMES


HIDDEN = [
    ("*", "azure-eu", False),
    ("*", "azure", True),
    ("azure-eu", "azure", False),
    ("azure", "azure-eu", False),
    ("azure-*", "azure-*", True),
]


@pytest.mark.parametrize(("first", "second", "is_hidden"), HIDDEN)
def test_only_what_is_asked_before_hides_an_entry(first: str, second: str, is_hidden: bool) -> None:
    """A card in which an entry never counts is refused."""
    entries = "".join(f"[[rates]]\nprovider = '{name}'\ninput = 1\n" for name in (first, second))
    card = f"version = 'v'\n{entries}".encode()
    if not is_hidden:
        assert len(read_rates(card).entries) == 2
        return
    with pytest.raises(RateCardError, match="entry 2: never counts"):
        read_rates(card)
