"""Sessions of one protocol whose provider's connection is cut at any instant.

Whatever is said, the client sees what OpenAI's grammar allows; each item that it knows is at the
next provider once, in its order; nothing of the client is lost, or said twice; and of what was told
again it hears nothing.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kept_talk import DOUBTED, REFUSED, KeptTalk

Step = Callable[[KeptTalk], object]


def _times(act: Callable[[KeptTalk], object]) -> st.SearchStrategy[Step]:
    def make(count: int) -> Step:
        return lambda talk: [act(talk) for _ in range(count)]

    return st.integers(1, 12).map(make)


ASK: st.SearchStrategy[Step] = st.builds(
    lambda kind, beside, has_id: lambda talk: talk.ask(kind=kind, is_beside=beside, has_id=has_id),
    st.sampled_from(("audio", "text", "call")), st.booleans(), st.booleans(),
)  # fmt: skip
WRITE: st.SearchStrategy[Step] = st.builds(
    lambda word, named, has_id: lambda talk: talk.write(
        word=word, is_named=named, has_id=has_id
    ),
    st.sampled_from(("", "", REFUSED, DOUBTED)), st.booleans(), st.booleans(),
)  # fmt: skip
PLACED: st.SearchStrategy[Step] = st.integers(0, 9).map(
    lambda after: lambda talk: talk.write(is_named=True, after=after)
)
ABOUT: st.SearchStrategy[Step] = st.builds(
    lambda verb, number: lambda talk: talk.about_item(verb, number),
    st.sampled_from(("delete", "retrieve", "truncate")), st.integers(0, 9),
)  # fmt: skip
UPDATE: st.SearchStrategy[Step] = st.booleans().map(
    lambda refused: lambda talk: talk.update(is_refused=refused)
)
OTHERS: st.SearchStrategy[Step] = st.sampled_from(
    (
        KeptTalk.output,
        KeptTalk.cancel,
        KeptTalk.cut,
        KeptTalk.rest,
        KeptTalk.speak,
        lambda talk: talk.provider.speech_stops(),
        lambda talk: talk.client("input_audio_buffer.commit"),
    )
)
CUT_AT_XAI: st.SearchStrategy[Step] = st.sampled_from(
    ("finished", "dropped", "cut", "cut", "forgotten")
).map(lambda end: lambda talk: talk.cut(end))
GOING_ON = (
    _times(lambda talk: talk.provider.read())
    | _times(lambda talk: talk.provider.go_on())
    | _times(lambda talk: talk.deliver())
)
AT_XAI = st.lists(ASK | WRITE | UPDATE | OTHERS | GOING_ON | CUT_AT_XAI, max_size=40)
STEPS = st.lists(ASK | WRITE | UPDATE | OTHERS | GOING_ON, max_size=40)
WITH_ITEMS = st.lists(ASK | WRITE | UPDATE | OTHERS | GOING_ON | ABOUT | PLACED, max_size=40)


def run(talk: KeptTalk, steps: list[Step]) -> None:
    """Do all that, and then end what is in progress."""
    for step in steps:
        step(talk)
    talk.provider.speech_stops()
    talk.rest()
    assert talk.problems() == []


@settings(max_examples=400)
@given(st.booleans(), WITH_ITEMS)
def test_a_conversation_outlasts_its_providers(transcribes: bool, steps: list[Step]) -> None:
    """At OpenAI: also where items are deleted, truncated, or put between others."""
    run(KeptTalk(transcribes=transcribes), steps)


DOUBT: st.SearchStrategy[Step] = st.builds(
    lambda named, has_id: lambda talk: talk.write(word=DOUBTED, is_named=named, has_id=has_id),
    st.booleans(), st.booleans(),
)  # fmt: skip
DOUBTS = st.lists(ASK | ASK | DOUBT | UPDATE | st.just(KeptTalk.cut) | GOING_ON, max_size=40)


@settings(max_examples=300)
@given(st.booleans(), STEPS)
def test_it_does_where_a_provider_is_less_exact(renames: bool, steps: list[Step]) -> None:
    """xAI says of no item that it is done, and may call items otherwise than it was told."""
    run(KeptTalk(is_xai=True, renames=renames), steps)


@settings(max_examples=400)
@given(st.booleans(), AT_XAI)
def test_it_does_where_the_provider_goes_on_with_it(renames: bool, steps: list[Step]) -> None:
    """xAI replays what it has of the conversation: perhaps with answers that nobody heard, without
    what was on its way, or nothing any more.
    """
    run(KeptTalk(is_xai=True, renames=renames, resumes=True), steps)


@settings(max_examples=300)
@given(DOUBTS)
def test_no_question_waits_for_ever(steps: list[Step]) -> None:
    """xAI does not say which event its errors are about; several questions are asked at once, and
    the connection is cut.
    """
    run(KeptTalk(is_xai=True, names_events=False), steps)


@settings(max_examples=300)
@given(st.booleans(), st.booleans(), DOUBTS)
def test_nor_does_one_of_which_nothing_is_said(
    is_xai: bool, names_events: bool, steps: list[Step]
) -> None:
    """Errors have no code and no field either: what they refuse may be told again, and what waits
    for it does not wait for ever.
    """
    talk = KeptTalk(is_xai=is_xai, names_events=names_events, is_vague=True)
    for step in steps:
        step(talk)
    talk.rest()
    assert talk.unfinished() == []
