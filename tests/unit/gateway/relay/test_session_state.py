"""The life of a session as a table."""

from gateway.relay.session_state import TRANSITIONS, SessionState


def test_the_transition_table_is_complete() -> None:
    """Every state has an entry, every state can end, and the end is final."""
    assert set(TRANSITIONS) == set(SessionState)
    assert TRANSITIONS[SessionState.ENDED] == set()
    assert all(
        SessionState.ENDED in TRANSITIONS[state]
        for state in SessionState
        if state is not SessionState.ENDED
    )


def test_a_session_never_goes_back() -> None:
    """A client that is gone cannot be called back: no transition leads to an earlier state."""
    order = list(SessionState)
    for state, following in TRANSITIONS.items():
        assert all(order.index(after) > order.index(state) for after in following)
