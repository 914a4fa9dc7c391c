"""From what a provider says to the credits: golden sessions by the example of a rate card."""

import pytest

from gateway.metering.base import Metered
from shared.rate_card import read_rates
from shared.rates import DEFAULT_RATES, Rates
from shared.usage import USAGE_FIELDS, Usage, UsageBatch
from tests.support import golden_audio, golden_gemini, golden_openai
from tests.support.golden import Script, play
from tests.support.paths import EXAMPLE_RATES as EXAMPLE

SCRIPTS = golden_openai.SCRIPTS + golden_gemini.SCRIPTS + golden_audio.SCRIPTS


def rows(script: Script) -> list[UsageBatch]:
    """What the session's findings become in the ledger."""
    provider = "gemini" if script.is_gemini else "xai" if script.shape == "xai" else "openai"
    provider = "azure" if "Azure" in script.name else provider
    return [
        UsageBatch("a", "s", provider, one.model, one.kind, 1, (one.response_id,), one.usage, 0)
        for one in play(script)
        if isinstance(one, Metered)
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_golden_session_is_free_or_unpriced(script: Script) -> None:
    """By the entries of the models themselves, without the last one, which prices everything."""
    card = Rates("own", read_rates(EXAMPLE.read_bytes()).entries[:-1])
    metered = [row for row in rows(script) if row.usage != Usage()]
    assert [unit for row in metered for unit in card.unpriced(row)] == []
    assert not metered or sum(map(card.credits, metered)) > 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_original_rule_charges_tokens_and_names_the_rest(script: Script) -> None:
    """Of every unit that a provider reports the built-in card says that it has no price."""
    for row in rows(script):
        assert DEFAULT_RATES.credits(row) == row.usage.total_tokens
        named = set(DEFAULT_RATES.unpriced(row))
        assert bool(named & {"session_second", "transcription_second"}) == bool(row.usage.billed_ms)
        pieces = (row.usage.web_searches, row.usage.grounding_queries, row.usage.tool_calls)
        assert len(named & {"web_search", "grounding_query", "tool_call"}) == sum(map(bool, pieces))


def test_a_row_that_costs_nothing_by_the_example_has_another_beside_it() -> None:
    """xAI's tokens are for information: the seconds of the same response are what is billed."""
    card = read_rates(EXAMPLE.read_bytes())
    free = {
        (row.provider, row.kind)
        for script in SCRIPTS
        for row in rows(script)
        if any(getattr(row.usage, name) for name in USAGE_FIELDS) and not card.price(row)
    }
    assert free <= {("xai", "response"), ("xai", "transcription")}
