"""Meters of sockets that hear what another connection is charged for."""

from typing import Any

import pytest

from gateway.metering.openai.observer import LiveObserverMeter, ObserverMeter
from tests.support.metering import hear, say, text


def test_who_attaches_is_charged_nothing() -> None:
    """And ends nothing: the session is another connection's."""
    watch = LiveObserverMeter()
    for event in (
        {"type": "session.updated", "session": {"id": "s", "model": "gpt-live-1"}},
        {"type": "session.usage.updated", "usage": {"seconds": 61}},
    ):
        assert list(watch.observe(text(event))) == []
    assert (watch.drain_s, watch.cancel_events(), watch.finish()) == (0, [], [])
    assert not watch.in_flight


def test_a_sideband_of_a_client_is_charged_nothing() -> None:
    """It knows what is being streamed; when it leaves, the response goes on."""
    watch = ObserverMeter(model="gpt-realtime")
    hear(watch, "response.created", response={"id": "resp_1"})
    assert watch.streaming == {"resp_1"}
    assert say(watch, 3) == []
    assert (watch.in_flight, watch.drain_s, watch.cancel_events()) == (frozenset(), 0, [])
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    assert hear(watch, "response.done", response={"id": "resp_1", "usage": usage}) == []
    assert watch.streaming == frozenset()
    assert watch.finish() == []


ACCOUNT_ERROR: dict[str, Any] = {"code": "insufficient_quota", "message": "You exceeded it."}


@pytest.mark.parametrize("meter", [ObserverMeter(model="m"), LiveObserverMeter()])
def test_an_error_about_our_account_is_masked_there_too(meter: ObserverMeter) -> None:
    """A client hears no more of it than on its session's own connection."""
    hear(meter, "error", error=ACCOUNT_ERROR)
    assert meter.masked_error is not None
    assert b"exceeded" not in meter.masked_error.message
