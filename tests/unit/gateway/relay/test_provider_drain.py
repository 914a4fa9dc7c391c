"""How sessions are sent away by a gateway that stops, and how a provider is heard out."""

from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.connections.upstream import Upstream
from gateway.limits import DRAIN_S, LATE_ANSWER_S
from gateway.metering.usage_recorder import Recorder
from gateway.relay.provider_drain import Drain, departure_gap_s

NEVER_S = 1_000.0

DEPARTURES = [
    # sessions, seconds until the last one leaves
    (1, 0.005),
    (100, 0.5),
    (2_000, DRAIN_S),
    (3_000, DRAIN_S),
    (30_000, DRAIN_S),
]


@pytest.mark.parametrize(("sessions", "expected"), DEPARTURES)
def test_departures_are_spread(sessions: int, expected: float) -> None:
    """A few leave at once, and thousands over all the time that there is."""
    assert sessions * departure_gap_s(sessions) == pytest.approx(expected)


class Waited:
    """A recorder of which only what is to come is known."""

    drain_s = DRAIN_S

    def __init__(self, in_flight: set[str], streaming: set[str]) -> None:
        self.in_flight, self.streaming = in_flight, streaming


class Cut:
    """A provider that says nothing, and notes when it is cut off."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open, self.is_cut = is_open, False

    def abort(self) -> None:
        """See ``Connection``."""
        self.is_cut = True


def drained(provider: Cut, recorder: Waited, log: Any) -> Drain:
    """A drain that began at 0 s."""
    return Drain(
        cast("Upstream", provider), cast("Recorder", recorder),
        on_close=lambda _: None, log=log, now=0.0,
    )  # fmt: skip


WAITED_FOR = [
    # in flight, being said, what the log says
    ({"resp_1"}, {"resp_1"}, "the usage of a response"),
    ({"item_1"}, set(), "a transcript"),
    (set(), set(), "an answer to the cancel"),
]


@pytest.mark.parametrize(("in_flight", "streaming", "expected"), WAITED_FOR)
def test_a_drain_that_times_out_says_for_what(
    in_flight: set[str], streaming: set[str], expected: str
) -> None:
    """A count of zero is no reason by itself."""
    provider = Cut()
    with capture_logs() as lines:
        drain = drained(provider, Waited(in_flight, streaming), structlog.get_logger())
        drain.check(NEVER_S)
    assert provider.is_cut
    assert [line["waited_for"] for line in lines] == [expected]


def test_a_provider_that_was_heard_out_is_not_late() -> None:
    """A close was sent, and the answer to it has a deadline of its own."""
    provider = Cut(is_open=False)
    with capture_logs() as lines:
        drained(provider, Waited(set(), set()), structlog.get_logger()).check(NEVER_S)
    assert (provider.is_cut, lines) == (False, [])


def test_nobody_leaves_where_nobody_is() -> None:
    """There is no gap to divide by."""
    assert departure_gap_s(0) > 0


PATIENCE = [
    # age, the gateway stops, whether the provider is cut off
    (DRAIN_S + 1, False, False),
    (LATE_ANSWER_S - 1, False, False),
    (LATE_ANSWER_S + 1, False, True),
    (DRAIN_S - 1, True, False),
    (DRAIN_S + 1, True, True),
]


@pytest.mark.parametrize(("age_s", "is_stopping", "expected"), PATIENCE)
def test_a_late_answer_is_waited_for_unless_the_gateway_stops(
    age_s: float, is_stopping: bool, expected: bool
) -> None:
    """The connection is of no use to a client, and ending it costs at most an estimate."""
    provider = Cut()
    drain = drained(provider, Waited({"resp_1"}, {"resp_1"}), structlog.get_logger())
    if is_stopping:
        drain.hurry()
    drain.check(age_s)
    assert provider.is_cut is expected
    assert drain.is_late is (age_s > DRAIN_S)
