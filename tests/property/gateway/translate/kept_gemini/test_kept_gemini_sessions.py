"""Sessions of a Gemini client at Gemini whose connection is cut at any instant.

Whatever is said, the client hears what Gemini's grammar allows; what it knows of the conversation
reaches the next provider once, in its order; and of what was told again it hears nothing.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from gateway.translate.kept_gemini.keeper import GeminiKeeper
from tests.support.gemini_values import VALUES
from tests.support.kept_gemini_talk import GeminiTalk

Step = Callable[[GeminiTalk], object]


def _times(act: Step) -> st.SearchStrategy[Step]:
    return st.integers(1, 8).map(lambda count: lambda talk: [act(talk) for _ in range(count)])


WRITES: st.SearchStrategy[Step] = st.builds(
    lambda asks, realtime: lambda talk: talk.write(asks=asks, is_realtime=realtime),
    st.sampled_from((True, True, False)), st.booleans(),
)  # fmt: skip
OTHERS: st.SearchStrategy[Step] = st.sampled_from(
    (GeminiTalk.output, GeminiTalk.cut, GeminiTalk.rest)
)
GOING_ON = (
    _times(lambda talk: talk.model.read())
    | _times(lambda talk: talk.model.go_on())
    | _times(lambda talk: talk.deliver())
)


@settings(max_examples=200)
@given(st.booleans(), st.lists(WRITES | OTHERS | GOING_ON, max_size=30))
def test_a_conversation_outlasts_its_connections(is_resumable: bool, steps: list[Step]) -> None:
    """With a handle, and without: nothing is lost, repeated, or told in another order."""
    talk = GeminiTalk(is_resumable=is_resumable)
    for step in steps:
        step(talk)
    talk.rest()
    assert talk.problems() == []


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(("client", "provider", "cut")), VALUES), max_size=12))
def test_nothing_that_a_peer_sends_raises(said: list[tuple[str, object]]) -> None:
    """Whatever stands where."""
    keeper = GeminiKeeper(seed="5eed")
    for who, value in said:
        message = value if isinstance(value, dict) else {"serverContent": value}
        if who == "client":
            keeper.client_said(message, json.encode(message))
        elif who == "provider":
            keeper.provider_said(message)
        else:
            json.encode([*keeper.provider_closed(), *keeper.provider_opened()])
        keeper.heard()
        keeper.take_due()
