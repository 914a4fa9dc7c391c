"""How long a user waits for an answer."""

import pytest

from gateway.relay.answer_wait import ASK, BEGUN, STOPPED, AnswerWait

STARTED, DONE = "input_audio_buffer.speech_started", "response.done"
CREATED = "response.created"


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        ([STOPPED, CREATED, BEGUN, DONE], [2.0]),
        ([STOPPED, CREATED, BEGUN, BEGUN, DONE, STOPPED, BEGUN], [2.0, 1.0]),
        ([BEGUN, DONE], []),
        ([STARTED, STOPPED, STARTED, BEGUN], []),
        ([STOPPED, CREATED, DONE, CREATED, BEGUN], []),
        ([STOPPED, ASK, CREATED, BEGUN], []),
        ([STOPPED, STOPPED, BEGUN], [1.0]),
    ],
    ids=[
        "an answer", "two answers", "nothing was said", "the user goes on", "a function is called",
        "the client takes its time", "speech that stops again",
    ],
)  # fmt: skip
def test_a_wait_is_from_the_end_of_speech_to_the_begin_of_its_answer(
    events: list[str], waits: list[float]
) -> None:
    """Each event comes a second after the one before."""
    now, found = 0.0, list[float]()
    wait = AnswerWait(lambda: now, found.append)
    for now, event in enumerate(events):  # noqa: B007 - the clock reads it
        wait.heard(event)
    assert found == waits


def test_what_was_said_to_a_connection_that_is_gone_has_no_answer() -> None:
    """The next one is told of it, and takes longer."""
    found = list[float]()
    wait = AnswerWait(lambda: 0.0, found.append)
    wait.heard(STOPPED)
    wait.forget()
    wait.heard(BEGUN)
    assert found == []
