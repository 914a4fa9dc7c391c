"""Sessions of a Gemini client that move between Gemini and OpenAI at any instant.

What the client hears is Gemini's grammar, one ``setupComplete`` among it; what it wrote and heard
reaches the last provider once, in its order; and what it asked for it hears an answer to.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from gateway.translate.kept_gemini.keeper import GeminiKeeper
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN
from tests.support.gemini_moves import MovingTalk
from tests.support.gemini_values import VALUES

Step = Callable[[MovingTalk], object]


def _times(act: Step) -> st.SearchStrategy[Step]:
    return st.integers(1, 8).map(lambda count: lambda talk: [act(talk) for _ in range(count)])


WRITES: st.SearchStrategy[Step] = st.builds(
    lambda asks, realtime: lambda talk: talk.write(asks=asks, is_realtime=realtime),
    st.sampled_from((True, True, False)), st.booleans(),
)  # fmt: skip
OTHERS: st.SearchStrategy[Step] = st.sampled_from(
    (
        MovingTalk.call, MovingTalk.output, MovingTalk.cut, MovingTalk.move, MovingTalk.move,
        MovingTalk.rest,
    )
)  # fmt: skip
GOING_ON = (
    _times(lambda talk: talk.model.read())
    | _times(lambda talk: talk.model.go_on())
    | _times(lambda talk: talk.deliver())
)


@settings(max_examples=200)
@given(st.booleans(), st.booleans(), st.lists(WRITES | OTHERS | GOING_ON, max_size=30))
def test_a_conversation_moves_with_its_session(
    is_resumable: bool, begins_away: bool, steps: list[Step]
) -> None:
    """Nothing is lost, repeated, or told in another order."""
    talk = MovingTalk(is_resumable=is_resumable, begins_away=begins_away)
    for step in steps:
        step(talk)
    talk.finish()
    assert talk.problems() == []


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(("model", "tools", "systemInstruction")), VALUES), VALUES)
def test_no_setup_makes_a_move_raise(setup: dict[str, object], said: object) -> None:
    """One that cannot be read closes the session."""
    keeper = GeminiKeeper(seed="5eed")
    for message in ({"setup": setup}, {"clientContent": said}):
        keeper.client_said(message, json.encode(message))
    keeper.provider_closed()
    there = OpenAITranslator(provider="openai", model="m", seed="09e7", voices=BUILT_IN)
    made = there.take_over(keeper.leave())
    assert made.close is None or made.close.code == 1007
    there.provider_opened()
    there.provider_closed()
    back = GeminiKeeper(seed="1a57")
    back.take_over(there.leave())
    json.encode(list(back.provider_opened()))
