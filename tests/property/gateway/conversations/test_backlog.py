"""Of each connection the newest state waits, in order and within bounds."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversations import backlog
from gateway.conversations.backlog import Backlog, Key, State
from gateway.conversations.encoding import Texts
from gateway.conversations.messages import store_params
from shared.requests import Request, encode_request

HOLDERS = [b"a" * 16, b"b" * 16]
STATES = st.builds(
    State,
    st.builds(Key, st.just("acct"), st.sampled_from("stuvw")),
    st.sampled_from(HOLDERS),
    st.none() | st.builds(Texts, st.text(max_size=9), st.text(max_size=40)),
    st.integers(0, 99),
    st.booleans(),
)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Bounds that a few states reach."""
    patch = pytest.MonkeyPatch()
    patch.setattr(backlog, "STATES_MAX", 4)
    patch.setattr(backlog, "BYTES_MAX", 100)
    patch.setattr(backlog, "PORTION_BYTES_MAX", 400)
    patch.setattr(backlog, "CONVERSATIONS_MAX", 3)
    yield
    patch.undo()


@given(st.lists(STATES | st.just("send")))
def test_the_newest_of_each_is_sent_once(steps: list[State | str]) -> None:
    """Against a plain model: a list in which a newer state replaces the one before."""
    waiting, model, dropped = Backlog(), list[State](), 0
    for step in steps:
        if isinstance(step, str):
            portion = waiting.portion()
            assert portion == model[: len(portion)]
            assert bool(portion) is bool(model)
            assert len(portion) <= 3
            assert len(encode_request(Request("", store_params(portion)))) <= 440
            waiting.settle(portion)
            del model[: len(portion)]
            continue
        waiting.put(step)
        model = [x for x in model if (x.key, x.holder) != (step.key, step.holder)] + [step]
        while len(model) > 4 or sum(state.size for state in model) > 100:
            model.pop(0)
            dropped += 1
        assert len(waiting) == len(model)
        assert waiting.newest(step.key) == (step if step in model else None)
    assert waiting.dropped == dropped


@given(STATES, STATES)
def test_what_came_while_it_was_sent_stays(first: State, second: State) -> None:
    """An answer is for what was sent."""
    waiting = Backlog()
    waiting.put(first)
    sent = waiting.portion()
    newer = State(first.key, first.holder, second.texts, second.revision, second.is_last)
    waiting.put(newer)
    waiting.settle(sent)
    assert waiting.portion() == [newer]
