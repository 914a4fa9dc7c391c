"""How long sessions may last."""

import json

import pytest

from gateway.lifetime import Due, due, ending_event
from gateway.providers.catalog import PROVIDER_NAMES
from gateway.providers.lifetimes import LIFETIMES, lifetime_s

HOUR = 3_600.0

CASES = [
    # provider, model, age, a response is being said, what is due
    ("openai", "gpt-realtime", HOUR - 61, False, Due.NOTHING),
    ("openai", "gpt-realtime", HOUR, False, Due.WARNING),
    ("openai", "gpt-realtime", HOUR + 11, False, Due.END),
    ("openai", "gpt-realtime", HOUR + 11, True, Due.WARNING),
    ("openai", "gpt-realtime", HOUR + 131, True, Due.END),
    ("openai", "gpt-live-1", HOUR + 60, False, Due.NOTHING),
    ("openai", "gpt-live-1", 2 * HOUR + 11, False, Due.END),
    ("xai", "grok-voice-latest", HOUR + 60, True, Due.NOTHING),
    ("xai", "", 2 * HOUR + 11, False, Due.END),
    ("azure", "my-deployment", HOUR + 11, False, Due.END),
    ("gemini", "gemini-3.8-live", HOUR + 11, False, Due.END),
]


@pytest.mark.parametrize(("provider", "model", "age_s", "is_speaking", "expected"), CASES)
def test_the_provider_decides_how_long_a_session_lasts(
    provider: str, model: str, age_s: float, is_speaking: bool, expected: Due
) -> None:
    """It ends after the provider's own end, and what is being said may be finished."""
    assert due(provider, model, age_s, is_speaking=is_speaking) is expected


def test_every_provider_has_a_lifetime() -> None:
    """For every model, whatever it is called; and no row is for nobody."""
    assert {name for name, _, _ in LIFETIMES} == PROVIDER_NAMES
    assert all(lifetime_s(name, "anything") >= HOUR for name in PROVIDER_NAMES)


def test_the_warning_says_what_is_left() -> None:
    """In whole seconds."""
    assert json.loads(ending_event("xai", "grok", 2 * HOUR - 20)) == {
        "type": "rts.session_ending",
        "seconds_left": 30,
    }
