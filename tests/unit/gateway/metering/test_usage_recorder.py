"""From the provider's frames to what is noted, spent, sent and forwarded."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.frames import Frame, Opcode
from gateway.handles.handle import HandleKind, IssuedHandle
from gateway.limits import BATCH_RESPONSES
from gateway.metering.account_errors import NEUTRAL_CODE
from gateway.metering.base import Metered
from gateway.metering.batching import BillingContext
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.usage_recorder import Recorder
from shared.usage import Kind, Usage, UsageBatch
from tests.support.metering import in_pieces, said, text
from tests.support.noting_sender import Happened, NotingSender

PRODUCER = b"p" * 16
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
SECRET = "sk-abcd1234"
QUOTA = {"type": "error", "event_id": "event_1",
         "error": {"type": "insufficient_quota", "code": "insufficient_quota",
                   "message": f"You exceeded your quota. {SECRET}"}}  # fmt: skip
DELTA = {"type": "response.output_audio.delta", "delta": "AA" * 100}


class NotingSpending:
    """Costs ten nano-credits a token."""

    def __init__(self, happened: Happened, *, is_near_empty: bool = False) -> None:
        self._happened = happened
        self.is_near_empty = is_near_empty
        self.charged: list[tuple[int, bytes, int]] = []

    def spend(self, single: UsageBatch) -> int:
        """See ``Spending``."""
        self._happened.append(("spent", *single.response_ids))
        return 10 * single.usage.total_tokens

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """See ``Spending``."""
        self.charged.append((nano, producer, sequence))


class Recording:
    """A real recorder of a session with OpenAI, between doubles that write down what happens."""

    def __init__(
        self, *, sends_at_once: bool = False, is_near_empty: bool = False, is_shared: bool = False
    ) -> None:
        self.happened: Happened = []
        self.issued: list[IssuedHandle] = []
        self.sender = NotingSender(self.happened, sends_at_once=sends_at_once)
        self.spending = NotingSpending(self.happened, is_near_empty=is_near_empty)
        self.recorder = Recorder(
            BillingContext("acct", "sess", "openai"),
            OpenAIMeter(model="m", is_shared=is_shared),
            self.sender,
            self.spending,
            on_handle_issued=self.issued.append,
        )

    def forwarded(self, *frames: Frame) -> Sequence[Frame]:
        """What the client gets of frames that come in one reading."""
        self.recorder.observe(frames)
        return self.recorder.for_client(frames)


def done(name: str, *, usage: Any = USAGE, **response: Any) -> dict[str, Any]:
    """The end of a response."""
    ended = {"id": name, "status": "completed", "usage": usage, **response}
    return {"type": "response.done", "response": ended}


def pieces_of(event: dict[str, Any], size: int) -> list[Frame]:
    """A message of the provider's in fragments."""
    return in_pieces(json.dumps(event).encode(), size, mask=False)


def event_of(frame: Frame) -> Any:
    """The event in a frame that is a message."""
    assert frame.is_final
    return json.loads(frame.raw[frame.start :])


# --- what the client gets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        DELTA,
        done("r1"),
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "code": "bad", "message": "?"},
        },
    ],
)
def test_what_is_not_about_our_account_goes_on_as_it_came(event: dict[str, Any]) -> None:
    """The same frames, not copies."""
    recording, frame = Recording(), text(event)
    (forwarded,) = recording.forwarded(frame)
    assert forwarded is frame
    assert recording.recorder.account_errors == 0


def test_an_error_about_our_account_is_replaced_in_its_place() -> None:
    """The frames around it stay, and the client learns neither our key nor our quota."""
    recording, before, after = Recording(), text(DELTA), text(done("r1"))
    first, replaced, last = recording.forwarded(before, text(QUOTA), after)
    assert (first, last) == (before, after)
    assert replaced.opcode == Opcode.TEXT
    told = event_of(replaced)
    assert (told["type"], told["event_id"]) == ("error", "event_1")
    assert told["error"]["code"] == NEUTRAL_CODE
    assert SECRET.encode() not in replaced.raw


def test_the_operator_hears_of_an_error_about_our_account() -> None:
    """In one line, without the text, which may name a part of the key."""
    recording = Recording()
    with capture_logs() as logs:
        recording.forwarded(text(QUOTA))
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("provider refuses our account", "error")
    assert (line["session"], line["code"]) == ("sess", "insufficient_quota")
    assert SECRET not in str(line)
    assert recording.recorder.account_errors == 1


def test_a_refusal_counts_as_the_last_word_until_the_next_message() -> None:
    """A close that follows at once belongs to it."""
    recording = Recording()
    recording.forwarded(text(QUOTA))
    assert recording.recorder.has_just_refused
    recording.forwarded(text(DELTA))
    assert not recording.recorder.has_just_refused


def test_a_replacement_is_made_once() -> None:
    """The next reading is forwarded as it comes."""
    recording = Recording()
    recording.forwarded(text(QUOTA))
    frames = [text(DELTA)]
    assert recording.recorder.for_client(frames) is frames


def test_a_failed_response_is_charged_and_masked() -> None:
    """Its usage is in the event whose error is replaced."""
    failed = done("r1", status="failed", status_details={"type": "failed", "error": QUOTA["error"]})
    recording = Recording()
    (told,) = recording.forwarded(text(failed))
    assert ("noted", "r1") in recording.happened
    response = event_of(told)["response"]
    assert response["status_details"]["error"]["code"] == NEUTRAL_CODE
    assert response["usage"] == USAGE


# --- fragments ------------------------------------------------------------------------------------


HELD = [
    # a message; the length of its first fragment; whether it is held back until its last one
    (DELTA, 120, False),
    (DELTA, 20, True),
    ({"delta": "AA" * 100, "type": "response.output_audio.delta"}, 120, True),
    (done("r1"), 100, True),
    ({"type": "response.event", "pad": "x" * 100}, 100, True),
    ({"type": "decision.event", "pad": "x" * 100}, 100, True),
    ({"type": "transport.failed", "pad": "x" * 100}, 100, True),
    ({"type": "conversation.created", "pad": "\u00e9" * 50}, 100, True),
]


@pytest.mark.parametrize(("event", "size", "is_held"), HELD)
def test_fragments_are_held_back_that_may_be_an_error(
    event: dict[str, Any], size: int, is_held: bool
) -> None:
    """By the type at the message's beginning; one that cannot be read there may be any."""
    recording, pieces = Recording(), pieces_of(event, size)
    forwarded = [list(recording.forwarded(piece)) for piece in pieces]
    at_the_end = [*([] for _ in pieces[1:]), pieces]
    assert forwarded == (at_the_end if is_held else [[piece] for piece in pieces])


@pytest.mark.parametrize("size", [1, 40, 100])
def test_an_error_about_our_account_in_fragments_is_one_neutral_message(size: int) -> None:
    """Nothing of it was forwarded before it was known."""
    recording, pieces = Recording(), pieces_of(QUOTA, size)
    forwarded = [frame for piece in pieces for frame in recording.forwarded(piece)]
    (told,) = map(event_of, forwarded)
    assert told["error"]["code"] == NEUTRAL_CODE


def test_a_whole_message_in_fragments_may_come_in_one_reading() -> None:
    """With others around it; each frame is forwarded once, in its order."""
    recording = Recording()
    frames = [text(DELTA), *pieces_of(done("r1"), 30), *pieces_of(QUOTA, 30), text(DELTA)]
    forwarded = recording.forwarded(*frames)
    of_quota = len(pieces_of(QUOTA, 30))
    assert list(forwarded[:-2]) == frames[: -1 - of_quota]
    assert event_of(forwarded[-2])["error"]["code"] == NEUTRAL_CODE
    assert forwarded[-1] == frames[-1]


# --- what is noted, spent and sent ----------------------------------------------------------------


def test_a_response_is_noted_and_spent_before_it_is_forwarded() -> None:
    """``observe`` has done both when it returns, and says that it found something."""
    recording = Recording()
    assert recording.recorder.observe([text(done("r1"))])
    assert recording.happened == [("noted", "r1"), ("spent", "r1")]
    assert not recording.recorder.observe([text(DELTA)])


def test_a_full_batch_is_sent_with_the_numbers_and_the_cost_of_its_responses() -> None:
    """When it is sealed, what it charges is told to the account's credit."""
    recording = Recording()
    recording.forwarded(*(text(done(f"r{n}")) for n in range(BATCH_RESPONSES)))
    assert recording.happened[-1] == ("sent", *(f"r{n}" for n in range(BATCH_RESPONSES)))
    assert recording.sender.covered == [tuple(range(1, BATCH_RESPONSES + 1))]
    (seal,) = recording.sender.unsealed
    seal(PRODUCER, 7)
    assert recording.spending.charged == [(20 * BATCH_RESPONSES, PRODUCER, 7)]


@pytest.mark.parametrize(
    "settings", [{"sends_at_once": True}, {"is_near_empty": True}, {"is_shared": True}]
)
def test_what_may_not_wait_is_sent_at_once(settings: dict[str, bool]) -> None:
    """Without a journal, near the end of the credit, and where another socket may report it."""
    recording = Recording(**settings)
    recording.forwarded(text(done("r1")))
    assert recording.happened == [("noted", "r1"), ("spent", "r1"), ("sent", "r1")]


def test_the_end_of_a_session_sends_what_is_open() -> None:
    """And its summary says what was used."""
    recording = Recording()
    recording.forwarded(text(done("r1")))
    recording.recorder.finish()
    assert recording.happened[-1] == ("sent", "r1")
    assert recording.recorder.summary() == {"responses": 1, "tokens": 2, "estimates": 0}


def test_a_response_whose_usage_never_comes_is_estimated_at_the_end() -> None:
    """It is no response of the summary, and a warning."""
    recording = Recording()
    recording.recorder.observe_client([said({"type": "response.create"})])
    recording.forwarded(text({"type": "response.created", "response": {"id": "r1"}}))
    assert recording.recorder.in_flight == {"r1"}
    with capture_logs() as logs:
        recording.recorder.finish()
    assert recording.happened == [("noted", "r1"), ("spent", "r1"), ("sent", "r1")]
    assert recording.recorder.summary()["estimates"] == 1
    assert recording.recorder.summary()["responses"] == 0
    assert [(line["event"], line["log_level"]) for line in logs] == [("usage estimated", "warning")]


def test_an_id_that_was_made_here_is_another_one_on_each_connection() -> None:
    """The next connection of the session counts its turns from one again."""
    names = set()
    for _ in range(2):
        recording = Recording(is_shared=True)
        recording.recorder.record(Metered("turn_1", "m", Usage(1, 1, 2), is_local=True))
        ((_, name), *_) = recording.happened
        assert name.startswith("turn_1 ")
        assert ("sent", name) not in recording.happened  # no other socket reports it
        names.add(name)
    assert len(names) == 2


def test_a_transcription_is_charged_and_is_no_response() -> None:
    """Its tokens count."""
    recording = Recording()
    recording.recorder.record(Metered("item_1", "m", Usage(1, 1, 2), kind=Kind.TRANSCRIPTION))
    assert recording.recorder.summary() == {"responses": 0, "tokens": 2, "estimates": 0}


# --- quarantine and handles -----------------------------------------------------------------------


def test_a_usage_that_cannot_be_read_goes_to_quarantine() -> None:
    """At once, whole, with the reason; nothing is noted or spent, and the client gets its event."""
    strange = {"input_tokens": -1, "output_tokens": 1, "total_tokens": 0}
    recording, frame = Recording(), text(done("r1", usage=strange))
    assert list(recording.forwarded(frame)) == [frame]
    assert recording.happened == [("quarantined", "r1")]
    (kept,) = recording.sender.quarantined
    assert (kept.account_id, kept.session_id, kept.provider) == ("acct", "sess", "openai")
    assert json.loads(kept.raw) == strange
    assert "input_tokens" in kept.detail
    assert recording.recorder.responses == 0


def test_a_handle_is_told_before_the_client_gets_it() -> None:
    """Once, and the event goes on."""
    recording = Recording()
    created = {"type": "conversation.created", "conversation": {"id": "conv_1"}}
    frame = text(created)
    recording.recorder.observe([frame])
    assert recording.issued == [IssuedHandle(HandleKind.CONVERSATION, "conv_1")]
    assert list(recording.recorder.for_client([frame])) == [frame]
    recording.forwarded(text(DELTA))
    assert len(recording.issued) == 1
