"""When a peer is pinged, and when it is lost."""

import pytest

from gateway.connections.liveness import CatchUp, Liveness, PeerAction
from gateway.limits import ADDRESSED_PING_S, CATCH_UP_S, IDLE_S, PING_S, PONG_S, STALLED_S

DUE = [
    # heard at, pinged at, stalled since, is reading, now, what is due
    (0.0, 0.0, None, True, PING_S, PeerAction.NOTHING),
    (0.0, 0.0, None, True, PING_S + 1, PeerAction.PING),
    (0.0, PING_S, None, True, PING_S + 1, PeerAction.NOTHING),
    (0.0, PING_S, None, True, 2 * PING_S + 1, PeerAction.PING),
    (0.0, IDLE_S - 1, None, True, IDLE_S + 1, PeerAction.CUT_SILENT),
    (0.0, 0.0, None, False, IDLE_S + 1, PeerAction.NOTHING),
    (STALLED_S, 0.0, 1.0, True, 1.0 + STALLED_S, PeerAction.NOTHING),
    (STALLED_S, 0.0, 1.0, True, 2.0 + STALLED_S, PeerAction.CUT_STALLED),
    (STALLED_S, 0.0, 1.0, False, 2.0 + STALLED_S, PeerAction.CUT_STALLED),
]


SOON = ADDRESSED_PING_S
ADDRESSED = [
    # heard at, pinged at, stalled since, is reading, now, what is due
    (0.0, 0.0, None, True, SOON, PeerAction.NOTHING),
    (0.0, 0.0, None, True, SOON + 1, PeerAction.PING),
    (SOON, 1.0, None, True, SOON + 1, PeerAction.NOTHING),
    (0.0, SOON, None, True, SOON + PONG_S, PeerAction.NOTHING),
    (0.0, SOON, None, True, SOON + PONG_S + 1, PeerAction.CUT_UNANSWERING),
    (SOON + 1, SOON, None, True, SOON + PONG_S + 1, PeerAction.PING),
    (0.0, SOON, 1.0, True, SOON + PONG_S + 1, PeerAction.NOTHING),
    (0.0, SOON, None, False, SOON + PONG_S + 1, PeerAction.NOTHING),
]
ALL = [*((False, *row) for row in DUE), *((True, *row) for row in ADDRESSED)]


@pytest.mark.parametrize(
    ("is_addressed", "heard", "pinged", "stalled", "is_reading", "now", "expected"), ALL
)
def test_what_is_due(
    is_addressed: bool,
    heard: float,
    pinged: float,
    stalled: float | None,
    is_reading: bool,
    now: float,
    expected: PeerAction,
) -> None:
    """A peer that takes nothing is lost even while it sends; a ping is due once in ``PING_S``. One
    that is spoken to has to answer one sooner, unless that cannot have reached it, or its answer is
    not read.
    """
    liveness = Liveness(heard_at=heard, pinged_at=pinged, stalled_since=stalled)
    due = liveness.due_when_addressed if is_addressed else liveness.due
    assert due(now, is_reading=is_reading) is expected


def test_silence_counts_from_when_reading_goes_on() -> None:
    """Nothing can be heard of a peer that is not read."""
    liveness = Liveness(heard_at=0.0, pinged_at=0.0)
    assert liveness.due(IDLE_S + 1, is_reading=False) is PeerAction.NOTHING
    assert liveness.due(IDLE_S + 2, is_reading=True) is PeerAction.NOTHING
    assert liveness.due(2 * IDLE_S + 2, is_reading=True) is PeerAction.CUT_SILENT


CATCHING_UP = [
    # seconds since the close was overdue, unsent before and now, last heard, whether to wait on
    (1.0, 100, 50, -60.0, True),
    (1.0, 100, 100, -60.0, False),
    (1.0, 100, 100, 0.0, True),
    (1.0, 0, 0, -60.0, False),
    (CATCH_UP_S, 100, 50, CATCH_UP_S, False),
]


@pytest.mark.parametrize(("now", "before", "unsent", "heard_at", "expected"), CATCHING_UP)
def test_a_client_may_catch_up(
    now: float, before: int, unsent: int, heard_at: float, expected: bool
) -> None:
    """One that takes or sends something has ``CATCH_UP_S`` to come to our close."""
    catch_up = CatchUp(0.0)
    catch_up.goes_on(0.0, unsent=before, heard_at=0.0)
    assert catch_up.goes_on(now, unsent=unsent, heard_at=heard_at) is expected
