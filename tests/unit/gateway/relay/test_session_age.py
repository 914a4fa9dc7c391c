"""What is due by the age of a session."""

import json

import pytest

from gateway.providers.lifetimes import Lifetime, Lifetimes
from gateway.relay.session_age import Age, AgeAction

HOUR = 3_600.0
USUAL = Lifetimes()

CASES = [
    # provider, model, age, a response is streaming, what is due
    ("openai", "gpt-realtime", HOUR - 61, False, AgeAction.NOTHING),
    ("openai", "gpt-realtime", HOUR, False, AgeAction.WARNING),
    ("openai", "gpt-realtime", HOUR + 11, False, AgeAction.END),
    ("openai", "gpt-realtime", HOUR + 11, True, AgeAction.WARNING),
    ("openai", "gpt-realtime", HOUR + 131, True, AgeAction.END),
    ("openai", "gpt-live-1", HOUR + 60, False, AgeAction.NOTHING),
    ("openai", "gpt-live-1", 2 * HOUR + 11, False, AgeAction.END),
    ("xai", "grok-voice-latest", HOUR + 60, True, AgeAction.NOTHING),
    ("xai", "", 2 * HOUR + 11, False, AgeAction.END),
    ("azure", "my-deployment", HOUR + 11, False, AgeAction.END),
    ("gemini", "gemini-3.8-live", HOUR + 11, False, AgeAction.END),
]


@pytest.mark.parametrize(("provider", "model", "age_s", "is_streaming", "expected"), CASES)
def test_the_provider_decides_how_long_a_session_lasts(
    provider: str, model: str, age_s: float, is_streaming: bool, expected: AgeAction
) -> None:
    """It ends after the provider's own end; a response that is streaming may be finished."""
    age = Age(USUAL, provider, opened_at=5.0)
    assert age.due(model, 5.0 + age_s, is_streaming=is_streaming) is expected


def test_a_session_is_due_when_the_operator_says() -> None:
    """A minute, and ten seconds of grace; it is warned in time."""
    age = Age(Lifetimes([Lifetime("azure", "short*", 1)]), "azure", opened_at=0.0)
    assert age.due("short-1", 9, is_streaming=False) is AgeAction.NOTHING
    assert age.due("short-1", 11, is_streaming=False) is AgeAction.WARNING
    assert age.due("short-1", 71, is_streaming=False) is AgeAction.END


def test_the_warning_says_what_is_left() -> None:
    """In whole seconds."""
    assert json.loads(Age(USUAL, "xai", opened_at=0.0).ending_event("grok", 2 * HOUR - 20)) == {
        "type": "rts.session_ending",
        "seconds_left": 30,
    }
