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


def test_nobody_is_dialled_for_a_client_that_is_gone() -> None:
    """No state after the client's departure leads to one in which a provider is dialled, or in
    which there is a client; and a session begins once.
    """
    gone = (SessionState.DRAINING, SessionState.ENDED)
    for state in gone:
        assert TRANSITIONS[state] <= set(gone)
    assert not any(SessionState.CONNECTING in following for following in TRANSITIONS.values())
    assert SessionState.DRAINING not in TRANSITIONS[SessionState.DRAINING]
