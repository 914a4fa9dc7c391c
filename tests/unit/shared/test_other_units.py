"""What providers count and nothing has a place for: marked, but not what is merely told."""

import json

import pytest

from gateway.metering.base import Metered
from shared.other_units import UNREADABLE, other_units
from shared.rate_card import RateCardError, read_rates
from shared.rates import DEFAULT_RATES, Rates
from shared.usage import RAW_PART_CHARS_MAX, Usage, UsageBatch
from tests.support import golden_audio, golden_gemini, golden_openai
from tests.support.golden import Script, play

SCRIPTS = golden_openai.SCRIPTS + golden_gemini.SCRIPTS + golden_audio.SCRIPTS
INVENTED = "smellTokenCount"  # beside Gemini's total, in a golden session about the future

PARTS: list[tuple[object, dict[str, float]]] = [
    ({"billable_video_seconds": 3600}, {"billable_video_seconds": 3600}),
    ({"tool_usage": {"computer": {"seconds": 90.5}}}, {"tool_usage.computer.seconds": 90.5}),
    ({"tiers": [{"units": 2}, {"units": 3}]}, {"tiers.units": 5}),
    ({"billed": {"seconds": 3}}, {"billed.seconds": 3}),
    ({"smell_tokens": 4}, {"smell_tokens": 4}),
    ({"n": 1e400}, {"n": 2.0**53}),
    ({"n": -4, "m": 0, "is_cached": True, "tier": "priority", "at": None}, {}),
    ({"trafficType": "ON_DEMAND"}, {}),
    ({"output_token_details": {"grok_tokens": 20}, "output_audio_seconds": 3.38}, {}),
    ({"promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 340}]}, {}),
    ({"output_tokens_details": {"rendered_seconds": 8}},
     {"output_tokens_details.rendered_seconds": 8}),
    ([], {}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "found"), PARTS, ids=[str(part) for part, _ in PARTS])
def test_what_may_be_billed_is_found(part: object, found: dict[str, float]) -> None:
    """By its name, with its sum; what another unit charges, and what is no count, is none."""
    assert other_units([json.dumps(part)]) == found
    assert other_units([json.dumps(part)] * 2) == {
        name: min(2 * amount, 2.0**53) for name, amount in found.items()
    }


@pytest.mark.parametrize("part", ['{"long": "', "[" * RAW_PART_CHARS_MAX, ""])
def test_what_cannot_be_read_may_hold_anything(part: str) -> None:
    """A part that was cut, or is nested too deeply."""
    assert other_units([part]) == {UNREADABLE: 1}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_golden_session_has_no_other_units(script: Script) -> None:
    """Else every row of a provider would be marked; but for the one that was invented."""
    metered = [one for one in play(script) if isinstance(one, Metered) and one.raw]
    found = {name for one in metered for name in other_units([one.raw])}
    assert found == ({INVENTED} if INVENTED in str(script) else set())


def row(model: str, raw: object) -> UsageBatch:
    """A response that says ``raw`` beside its tokens."""
    usage, text = Usage(total_tokens=2, input_tokens=2), json.dumps(raw)
    return UsageBatch("a", "s", "openai", model, "response", 1, ("r",), usage, 0, raw=(text,))


VIDEO = {"billable_video_seconds": 3600}


def test_other_units_are_unpriced_until_a_card_says_that_they_are_free() -> None:
    """On any card, the built-in one too; tokens cost what they cost."""
    card = read_rates(b'version = "v"\n[[rates]]\nmodel = "gpt-*"\nother = 0\ninput = 500_000')
    for rates, model, marked in (
        (DEFAULT_RATES, "gpt-realtime", ("other",)),
        (card, "grok-voice-latest", ("other",)),
        (card, "gpt-realtime", ()),
    ):
        assert rates.unpriced(row(model, VIDEO)) == marked
        assert rates.unpriced(row(model, {"serviceTier": "priority"})) == ()
    assert card.credits(row("gpt-realtime", VIDEO)) == 1


@pytest.mark.parametrize("price", ["1", "true", "0.0", '"free"'])
def test_other_units_have_no_price_but_none(price: str) -> None:
    """Nothing says what one of them is."""
    with pytest.raises(RateCardError, match=r"entry 1: other: found .*, expected 0"):
        read_rates(f'version = "v"\n[[rates]]\nother = {price}'.encode())


def test_an_entry_that_frees_other_units_counts_beside_a_general_one() -> None:
    """And is hidden by one that says the same."""
    general = 'version = "v"\n[[rates]]\n%sinput = 1\n[[rates]]\nmodel = "m"\nother = 0\n'
    assert isinstance(read_rates((general % "").encode()), Rates)
    with pytest.raises(RateCardError, match="entry 2: never counts"):
        read_rates((general % "other = 0\n").encode())
