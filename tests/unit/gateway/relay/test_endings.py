"""How a session's end is told to its client."""

import pytest

from gateway.connections.close import CloseEvent
from gateway.metering.account_errors import NEUTRAL_CODE
from gateway.relay.endings import close_for_client, model_not_allowed
from gateway.relay.session_state import Departure

NEUTRAL = (1013, NEUTRAL_CODE)
CLOSES = [
    # the provider's close, an account error before, as its last words, what the client hears
    (CloseEvent(1000, "bye"), False, False, (1000, "bye")),
    (CloseEvent(1011, "sorry"), True, False, (1011, "sorry")),
    (CloseEvent(1008, "no such model"), False, False, (1008, "no such model")),
    (CloseEvent(1008, "no"), True, False, NEUTRAL),
    (CloseEvent(3000, "no"), True, False, NEUTRAL),
    (CloseEvent(2999, "no"), True, False, (2999, "no")),
    (CloseEvent(1000, ""), True, True, NEUTRAL),
    (CloseEvent(1008, "insufficient_quota"), False, False, NEUTRAL),
]


@pytest.mark.parametrize(("close", "before", "just_now", "expected"), CLOSES)
def test_what_is_about_our_account_is_not_told(
    close: CloseEvent, before: bool, just_now: bool, expected: tuple[int, str]
) -> None:
    """A client hears that it may try again; any other close is its provider's own."""
    told = close_for_client(close, has_account_errors=before, has_just_refused=just_now)
    assert told == expected


def test_a_refused_model_is_named_if_it_can_be() -> None:
    """A name is cut: it is the client's own, of any length."""
    assert "'gpt-x'" in model_not_allowed("gpt-x").message
    assert len(model_not_allowed("x" * 10_000).message) < 200
    assert "name one of them first" in model_not_allowed("").message


@pytest.mark.parametrize(
    ("now", "is_idle", "expected"), [(9.0, False, False), (9.0, True, True), (11.0, False, True)]
)
def test_a_departure_waits_for_a_response(now: float, is_idle: bool, expected: bool) -> None:
    """And for none that does not end in time."""
    assert Departure(by=10.0, close_code=1001).is_due(now, is_idle=is_idle) is expected
