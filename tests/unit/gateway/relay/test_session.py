"""The life of a session as a table."""

from gateway.relay.session_state import TRANSITIONS, State


def test_the_transition_table_is_complete() -> None:
    """Every state has an entry, every state can end, and the end is final."""
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.ENDED] == set()
    assert all(State.ENDED in TRANSITIONS[state] for state in State if state is not State.ENDED)


def test_a_session_never_goes_back() -> None:
    """A client that is gone cannot be called back: no transition leads to an earlier state."""
    order = list(State)
    for state, following in TRANSITIONS.items():
        assert all(order.index(after) > order.index(state) for after in following)
