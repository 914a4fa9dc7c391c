"""What the meter reads from OpenAI's events: usage shapes with the charge beside each."""

import json
from typing import Any

import pytest

from gateway.frames import Frame
from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.cancel import CANCEL_ID
from gateway.metering.openai.meter import OpenAIMeter
from gateway.providers.base import Target
from gateway.providers.openai import XAI
from shared.usage import TOKENS_PER_RESPONSE_MAX, Kind, Usage
from tests.support.metering import text, the_one

DETAILED: dict[str, Any] = {
    "total_tokens": 230,
    "input_tokens": 52,
    "output_tokens": 178,
    "input_token_details": {
        "text_tokens": 20,
        "audio_tokens": 32,
        "image_tokens": 0,
        "cached_tokens": 16,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 5, "image_tokens": 1},
    },
    "output_token_details": {"text_tokens": 34, "audio_tokens": 144, "reasoning_tokens": 3},
}


def done(usage: Any, *, response_id: str = "resp_1", status: str = "completed") -> Frame:
    """A response.done with the given usage."""
    response = {"id": response_id, "status": status, "usage": usage}
    return text({"type": "response.done", "response": response})


def meter() -> OpenAIMeter:
    """A meter of a session that asked for gpt-realtime."""
    return OpenAIMeter(model="gpt-realtime")


@pytest.mark.parametrize(
    ("inner", "outer", "charged"),
    [
        ({"input_token_details": {"audio_tokens": 12}}, {"total_tokens": 0}, 12),
        ({"input_token_details": {"audio_tokens": 12}}, {"num_x": 1}, 12),
        ({"input_token_details": {"audio_tokens": 0}}, {"input_tokens": 7}, 7),
        ({"total_tokens": 0}, {"output_token_details": {"text_tokens": 5}}, 5),
        ({}, {"input_tokens": 7}, 7),
        (None, {"input_tokens": 7}, 7),
        ({"input_tokens": 3}, {"input_tokens": 7}, 3),
    ],
)
def test_of_two_usages_the_one_that_counts_is_charged(
    inner: object, outer: object, charged: int
) -> None:
    """In the response, and beside it (xAI); what only the details count is counted."""
    response = {"id": "resp_1", "status": "completed", "usage": inner}
    found = the_one(
        meter().observe(text({"type": "response.done", "response": response, "usage": outer}))
    )
    assert isinstance(found, Metered)
    assert found.usage.total_tokens == charged


def test_keeps_the_split_of_text_audio_and_cached() -> None:
    """Every count that the provider reports is kept; cached input is a subset, never added."""
    found = the_one(meter().observe(done(DETAILED)))
    assert found == Metered(
        "resp_1",
        "gpt-realtime",
        Usage(
            input_tokens=52,
            output_tokens=178,
            total_tokens=230,
            input_text_tokens=20,
            input_audio_tokens=32,
            input_cached_tokens=16,
            output_text_tokens=34,
            output_audio_tokens=144,
            output_thought_tokens=3,
            input_cached_text_tokens=10,
            input_cached_audio_tokens=5,
            input_cached_image_tokens=1,
        ),
    )


CHARGES = [
    # usage as reported -> (input, output, charged)
    ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}, (3, 4, 7)),
    ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, (0, 0, 0)),
    ({"input_tokens": 3, "output_tokens": 4}, (3, 4, 7)),
    ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 9}, (3, 4, 7)),
    ({"input_tokens": 3, "total_tokens": 7}, (3, 4, 7)),
    ({"output_tokens": 4, "total_tokens": 7}, (3, 4, 7)),
    ({"total_tokens": 7}, (0, 0, 7)),
    ({"input_tokens": 3}, (3, 0, 3)),
    ({"input_tokens": 3, "output_tokens": None}, (3, 0, 3)),
    ({"input_tokens": 3, "input_token_details": None}, (3, 0, 3)),
    ({"unknown_unit": 9}, (0, 0, 0)),
    (
        {
            "input_token_details": {"text_tokens": 2, "audio_tokens": 3, "cached_tokens": 4},
            "output_token_details": {"text_tokens": 5, "audio_tokens": 6, "reasoning_tokens": 1},
        },
        (5, 11, 16),
    ),
    ({"input_tokens": 9, "output_token_details": {"audio_tokens": 6}}, (9, 6, 15)),
    ({"output_tokens": 4, "input_token_details": {"audio_tokens": 6}}, (6, 4, 10)),
    ({"total_tokens": 7, "input_token_details": {"audio_tokens": 6}}, (0, 0, 7)),
    ({"output_token_details": {"reasoning_tokens": 6}}, (0, 0, 0)),
]


@pytest.mark.parametrize(("usage", "expected"), CHARGES)
def test_partial_usage_counts_what_is_there(
    usage: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """All fields are optional: an absent one is zero, or the rest of the total."""
    found = the_one(meter().observe(done(usage)))
    assert isinstance(found, Metered)
    counts = found.usage
    assert (counts.input_tokens, counts.output_tokens, counts.total_tokens) == expected


@pytest.mark.parametrize("usage", [None, {}])
def test_no_usage_is_no_charge(usage: Any) -> None:
    """A response without usage ends the flight but is not metered."""
    watch = meter()
    watch.observe(text({"type": "response.created", "response": {"id": "resp_1"}}))
    assert the_one(watch.observe(done(usage))) is None
    assert watch.in_flight == frozenset()


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete", "new"])
def test_every_status_is_charged(status: str) -> None:
    """A cancelled or incomplete response is billed for what was generated."""
    found = the_one(meter().observe(done({"input_tokens": 1, "output_tokens": 2}, status=status)))
    assert isinstance(found, Metered)
    assert found.usage.total_tokens == 3


ABSURD = [
    {"input_tokens": -1},
    {"input_tokens": 1.5},
    {"input_tokens": "12"},
    {"input_tokens": True},
    {"input_tokens": []},
    {"input_tokens": TOKENS_PER_RESPONSE_MAX + 1},
    {"input_tokens": TOKENS_PER_RESPONSE_MAX, "output_tokens": 1},
    {"input_tokens": 5, "total_tokens": 4},
    {"input_tokens": 5, "input_token_details": {"audio_tokens": -1}},
    {"input_tokens": 5, "output_token_details": 7},
    [5],
    "many",
    7,
]


@pytest.mark.parametrize("usage", ABSURD)
def test_absurd_usage_goes_to_quarantine_whole(usage: Any) -> None:
    """Nothing is clamped or guessed: what the provider wrote is kept for a person to look at."""
    found = the_one(meter().observe(done(usage)))
    assert isinstance(found, Unreadable)
    assert found.response_id == "resp_1"
    assert json.loads(found.raw) == usage
    assert "found" in found.detail or "is less than" in found.detail or "tokens" in found.detail


def test_a_broken_response_done_goes_to_quarantine() -> None:
    """An event that says it carries usage and is no JSON is not silently lost."""
    found = the_one(meter().observe(text(b'{"type":"response.done","response":{"id":')))
    assert isinstance(found, Unreadable)
    assert found.raw.startswith('{"type":"response.done"')


def test_a_repeated_response_is_counted_once() -> None:
    """The provider may send an event twice; the response was made once."""
    watch = meter()
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert isinstance(the_one(watch.observe(done(usage))), Metered)
    assert the_one(watch.observe(done(usage))) is None
    assert isinstance(the_one(watch.observe(done(usage, response_id="resp_2"))), Metered)


def test_remembered_response_ids_are_bounded() -> None:
    """A session that never ends does not fill the memory."""
    watch = meter()
    for number in range(RESPONSE_IDS_MAX + 10):
        watch.observe(done({"total_tokens": 1}, response_id=f"resp_{number}"))
    assert len(watch._charges._seen._ids) == RESPONSE_IDS_MAX


def test_the_server_names_the_billed_model() -> None:
    """What session.created and session.updated say is billed, not what the client asked for."""
    watch = meter()
    watch.observe(text({"type": "session.created", "session": {"model": "gpt-realtime-2025"}}))
    found = the_one(watch.observe(done({"total_tokens": 1})))
    assert isinstance(found, Metered)
    assert found.model == "gpt-realtime-2025"


def test_in_flight_responses_are_known() -> None:
    """A response is in flight from response.created to response.done."""
    watch = meter()
    watch.observe(text({"type": "response.created", "response": {"id": "resp_1"}}))
    assert watch.in_flight == watch.streaming == {"resp_1"}
    watch.observe(done({"total_tokens": 1}))
    assert watch.in_flight == watch.streaming == frozenset()


def test_audio_is_not_parsed() -> None:
    """The type is read from the first bytes: a delta with broken JSON behind it is passed over."""
    delta = b'{"type":"response.output_audio.delta","delta":"response.done' + b"A" * 16_000
    assert the_one(meter().observe(text(delta))) is None


def test_fragments_are_joined_and_pings_do_not_count() -> None:
    """A response.done in three fragments is read when its last one is here."""
    frame = done({"total_tokens": 9})
    whole = frame.raw[frame.start :]
    watch = meter()
    assert the_one(watch.observe(Frame(1, False, 2, b"\x01\x00" + whole[:9]))) is None
    assert the_one(watch.observe(Frame(0, False, 2, b"\x00\x00" + whole[9:40]))) is None
    found = the_one(watch.observe(Frame(0, True, 2, b"\x80\x00" + whole[40:])))
    assert isinstance(found, Metered)
    assert found.usage.total_tokens == 9


TRANSCRIPTION = "conversation.item.input_audio_transcription"
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "item_1"}
COMPLETED = {"type": f"{TRANSCRIPTION}.completed", "item_id": "item_1", "transcript": "Hello."}
WHISPER = {"model": "whisper-1"}
SESSIONS = [
    # what the server said of the session -> whether speech is transcribed
    ([{"audio": {"input": {"transcription": WHISPER}}}], True),
    ([{"input_audio_transcription": WHISPER}], True),
    ([{"input_audio_transcription": WHISPER}, {"model": "m"}], True),
    ([{"audio": {"input": {"transcription": WHISPER}}},
      {"audio": {"input": {"transcription": None}}}], False),
    ([{"input_audio_transcription": None}], False),
    ([{"audio": {"input": None}}, {"audio": []}, {}, None, []], False),
    ([], False),
]  # fmt: skip


@pytest.mark.parametrize(("sessions", "is_awaited"), SESSIONS)
def test_speech_that_is_to_be_transcribed_is_in_flight(
    sessions: list[object], is_awaited: bool
) -> None:
    """From its commit to its transcript, as long as the session transcribes."""
    watch = meter()
    for session in sessions:
        watch.observe(text({"type": "session.updated", "session": session}))
    assert watch.in_flight == frozenset(), "what is not committed is owed nothing"
    watch.observe(text(COMMITTED))
    assert watch.in_flight == ({"item_1"} if is_awaited else set())
    assert watch.streaming == frozenset(), "a session without credit does not wait for it"


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_transcript_that_came_or_failed_is_awaited_no_more(end: str) -> None:
    """With or without usage, after the commit or, as with xAI, before it."""
    for order in ([COMMITTED, COMPLETED], [COMPLETED, COMMITTED]):
        watch = meter()
        watch.observe(text({"type": "session.created", "session": {
            "input_audio_transcription": WHISPER}}))  # fmt: skip
        for event in order:
            kind = event["type"].replace("completed", end)
            watch.observe(text({**event, "type": kind}))
        assert watch.in_flight == frozenset()


def test_speech_is_neither_cancelled_nor_estimated() -> None:
    """Only responses can be: nobody knows what a transcript that never came would have cost."""
    watch = meter()
    watch.observe(text({"type": "session.created", "session": {
        "input_audio_transcription": WHISPER}}))  # fmt: skip
    watch.observe(text(COMMITTED))
    assert [json.loads(event) for event in watch.cancel_events()] == [
        {"type": "response.cancel", "event_id": CANCEL_ID}
    ]
    assert watch.finish() == []
    assert watch.in_flight == frozenset()


ANSWERS = [
    ({"code": "response_cancel_not_active"}, True),
    ({"code": "invalid_value", "event_id": CANCEL_ID}, True),  # a session that knows no cancel
    ({"code": "invalid_value", "event_id": "event_of_the_client"}, False),
    ({"code": "invalid_value", "event_id": None}, False),
    (None, False),
]


@pytest.mark.parametrize(("error", "is_answer"), ANSWERS)
def test_an_error_that_names_the_cancel_answers_it(error: object, is_answer: bool) -> None:
    """Others may still answer what the client did before it left."""
    watch = meter()
    watch.observe(text({"type": "error", "error": error}))
    assert watch.cancels_answered == is_answer


def resumable(value: Any) -> Frame:
    """A session that says whether its conversation can be resumed."""
    return text({"type": "session.updated", "session": {"resumption": value}})


SHARED: list[tuple[str, list[Frame], bool]] = [
    ("/v1/realtime?model=grok", [], False),
    ("/v1/realtime?model=grok&conversation_id=conv_1", [], True),
    ("/v1/realtime?model=grok", [resumable({"enabled": False})], False),
    ("/v1/realtime?model=grok", [resumable({"enabled": True})], True),
    ("/v1/realtime?model=grok", [resumable({"enabled": True}), resumable(None)], True),
    ("/v1/realtime?model=grok", [resumable("enabled")], False),
]


@pytest.mark.parametrize(("target", "heard", "is_shared"), SHARED)
def test_a_session_that_another_socket_may_hear_is_shared(
    target: str, heard: list[Frame], is_shared: bool
) -> None:
    """One that resumes, and from then on one that can be resumed."""
    query = target.partition("?")[2]
    meter = XAI(base_url="ws://x/v1", api_key="k").meter(
        Target("xai", "grok", "s", "/realtime", query)
    )
    for frame in heard:
        meter.observe(frame)
    assert meter.is_shared is is_shared


WRITING = [
    # type of the event, what was written, tokens
    ("response.output_text.delta", ["A written ", "answer."], 5),  # 17 bytes
    ("response.text.delta", ['"\\', "", "\u4f60\ud83d"], 2),  # as UTF-8, however it is spelled
    ("response.function_call_arguments.delta", ['{"a":', "10}"], 2),
    ("response.output_audio_transcript.delta", ["Words of what is spoken"], 0),
]


@pytest.mark.parametrize(("kind", "deltas", "tokens"), WRITING)
@pytest.mark.parametrize("begins_with_type", [True, False])
def test_what_was_written_and_never_reported_is_estimated(
    kind: str, deltas: list[str], tokens: int, begins_with_type: bool
) -> None:
    """A token for four bytes, which is no audio; of the next response nothing was written."""
    one = meter()
    for _ in range(2):
        one.observe(text({"type": "response.created", "response": {"id": "resp_1"}}))
        for delta in deltas:
            event = {"type": kind, "delta": delta, "obfuscation": "x" * 50}
            event = event if begins_with_type else dict(reversed(event.items()))
            assert not one.observe(text(event))
    (estimate,) = one.finish()
    assert isinstance(estimate, Metered)
    assert estimate.kind == Kind.ESTIMATE
    assert (estimate.usage.output_tokens, estimate.usage.total_tokens) == (tokens, tokens)
    assert (estimate.usage.output_text_tokens, estimate.usage.output_audio_tokens) == (tokens, 0)


def test_what_was_written_and_reported_is_not_estimated_with_the_next() -> None:
    """The usage of the first response covers its text."""
    one = meter()
    written = text({"type": "response.output_text.delta", "delta": "A written answer"})
    one.observe(written)
    one.observe(done({"total_tokens": 7, "input_tokens": 3, "output_tokens": 4}))
    one.observe(text({"type": "response.created", "response": {"id": "resp_2"}}))
    one.observe(written)
    (estimate,) = one.finish()
    assert isinstance(estimate, Metered)
    assert (estimate.response_id, estimate.usage.output_tokens) == ("resp_2", 4)
