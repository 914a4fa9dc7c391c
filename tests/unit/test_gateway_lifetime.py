"""How long sessions may last."""

import json
import re
from pathlib import Path

import pytest

from gateway.lifetime import Due, due, ending_event
from gateway.limits import IDLE_S
from gateway.providers.catalog import PROVIDER_NAMES
from gateway.providers.lifetimes import FINISHING_S, LIFETIMES, lifetime_s

HOUR = 3_600.0
HAPROXY = Path(__file__).resolve().parents[2] / "deploy" / "haproxy" / "haproxy.cfg"

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


def test_haproxy_cuts_no_session_that_we_would_let_last() -> None:
    """Neither with a new certificate, for which it is reloaded, nor because nobody speaks."""
    text = HAPROXY.read_text()
    found = {
        name: int(minutes) * 60
        for name, minutes in re.findall(r"^ +(hard-stop-after|timeout tunnel) (\d+)m$", text, re.M)
    }
    longest_s = max(lifetime_s(name, model.rstrip("*")) for name, model, _ in LIFETIMES)
    assert found["hard-stop-after"] > longest_s + FINISHING_S
    assert found["timeout tunnel"] > IDLE_S
