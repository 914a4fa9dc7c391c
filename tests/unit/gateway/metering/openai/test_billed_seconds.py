"""The seconds of audio that xAI bills: told, estimated, and the rest at the end."""

import itertools
import json
from typing import Any

import pytest

from gateway.frames import Frame, Opcode
from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.billed_seconds import BilledSeconds
from gateway.metering.openai.meter import OpenAIMeter
from shared.usage import TOKENS_PER_RESPONSE_MAX, Kind, Usage
from tests.support.metering import SECOND, frame, hear, say

TOTALS = [
    # the totals that responses tell (None: not told), and the seconds that each is charged
    ([1, 2, 3], [1, 1, 1]),
    ([2, 4, 2, 5], [2, 2, 0, 1]),
    ([3, None, 5], [3, 0, 2]),
    ([0, 7, 7], [0, 7, 0]),
    ([6_000, 12_000, 18_000], [6_000, 6_000, 6_000]),
    ([5, 20_000, 8], [5, 0, 3]),  # no response is so long: quarantined, and no total to go on from
]


def xai_done(number: int, total: int | None) -> dict[str, Any]:
    """A response of xAI's that ended."""
    usage: dict[str, Any] = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    if total is not None:
        usage["billable_audio_seconds"] = total
    return {"response": {"id": f"r{number}", "usage": {}}, "usage": usage}


@pytest.mark.parametrize(("totals", "charged"), TOTALS)
def test_xai_tells_a_running_total(totals: list[int | None], charged: list[int]) -> None:
    """What is new of it is charged: three turns of a second are three seconds, not six."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    found = [hear(meter, "response.done", **xai_done(n, total)) for n, total in enumerate(totals)]
    seconds = [
        sum(one.usage.billed_ms for one in rows if isinstance(one, Metered)) // 1000
        for rows in found
    ]
    assert seconds == charged


def test_a_resumed_conversation_is_not_charged_from_its_beginning() -> None:
    """Its total goes on from another connection: no more than was relayed on this one is new."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True, resumes="conv_1")
    say(meter, 2)
    _, first = hear(meter, "response.done", **xai_done(1, 600))
    _, second = hear(meter, "response.done", **xai_done(2, 603))
    assert isinstance(first, Metered)
    assert isinstance(second, Metered)
    assert first.usage.billed_ms == pytest.approx(2_000, rel=0.05)
    assert second.usage.billed_ms == 3_000


@pytest.mark.parametrize(("name", "charged_ms"), [("conv_1", 2_000), ("conv_2", 3_000)])
def test_a_conversation_that_is_not_known_any_more_begins_anew(name: str, charged_ms: int) -> None:
    """xAI says which one it is: of another one the whole total is new."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True, resumes="conv_1")
    hear(meter, "conversation.created", conversation={"id": name})
    say(meter, 2)
    _, seconds = hear(meter, "response.done", **xai_done(1, 3))
    assert isinstance(seconds, Metered)
    assert seconds.usage.billed_ms == pytest.approx(charged_ms, rel=0.05)


def test_a_response_of_xai_that_is_cut_is_estimated_in_seconds_too() -> None:
    """Its card may price nothing else."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    hear(meter, "response.created", response={"id": "r1"})
    say(meter, 6)
    tokens, seconds = meter.finish()
    assert isinstance(tokens, Metered)
    assert isinstance(seconds, Metered)
    assert (tokens.kind, seconds.kind) == (Kind.ESTIMATE, Kind.ESTIMATED_DURATION)
    assert seconds.usage.billed_ms == pytest.approx(6_000, rel=0.05)


RESTS = [
    # the totals that responses tell (None: no response), the seconds that were said behind each
    ([None], [7], 7),
    ([None], [0], 0),
    ([3], [5], 5),
    ([3, 6], [2, 4], 4),
    ([3], [0.45], 0),  # a total is rounded up
]


@pytest.mark.parametrize(("totals", "said", "rest"), RESTS)
def test_what_xai_heard_after_its_last_response_is_estimated(
    totals: list[int | None], said: list[float], rest: int
) -> None:
    """All of it in a session that had none: audio is billed whether it is answered or not."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    meter.observe_client(
        frame({"type": "session.update", "session": {"x": "y" * 9_000}}, mask=True)
    )
    for number, (total, seconds) in enumerate(zip(totals, said, strict=True)):
        if total is not None:
            hear(meter, "response.done", **xai_done(number, total))
        say(meter, int(seconds))
        part = SECOND[: int(seconds % 1 * 64_000)]
        meter.observe_client(frame({"type": "input_audio_buffer.append", "audio": part}, mask=True))
    found = [row for row in meter.finish() if isinstance(row, Metered)]
    assert {row.kind for row in found} <= {Kind.ESTIMATED_DURATION}
    heard_ms = sum(row.usage.billed_ms for row in found)
    assert heard_ms == pytest.approx(rest * 1_000, rel=0.02)
    assert meter.finish() == []


@pytest.mark.parametrize("cuts", [[], [48_000], [1, 2, 48_000]])
def test_raw_audio_counts_in_fragments_too(cuts: list[int]) -> None:
    """xAI's transport may be binary, and a proxy may cut its messages."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    hear(meter, "response.created", response={"id": "r1"})
    edges = [0, *cuts, 96_000]
    for begin, end in itertools.pairwise(edges):
        opcode = Opcode.CONTINUATION if begin else Opcode.BINARY
        meter.observe(Frame(opcode, end == edges[-1], 0, bytes(end - begin)))
    _, seconds = meter.finish()
    assert isinstance(seconds, Metered)
    assert seconds.usage.billed_ms == pytest.approx(2_000, rel=0.01)


def test_a_total_holds_the_responses_before_it_that_told_none() -> None:
    """They are charged by it alone; told seconds are a row of their own kind."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    usage: dict[str, Any] = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    say(meter, 6)
    (tokens,) = hear(meter, "response.done", response={"id": "r1", "usage": {}}, usage=usage)
    assert isinstance(tokens, Metered)
    assert tokens.kind == Kind.RESPONSE
    told = {**usage, "billable_audio_seconds": 3600}
    tokens, seconds = hear(meter, "response.done", response={"id": "r2", "usage": {}}, usage=told)
    assert isinstance(tokens, Metered)
    assert isinstance(seconds, Metered)
    assert (seconds.kind, seconds.usage) == (Kind.DURATION, Usage(billed_ms=3_600_000))
    assert (tokens.usage.billed_ms, tokens.usage.total_tokens) == (0, 2)
    again = hear(meter, "response.done", response={"id": "r2", "usage": {}}, usage=told)
    assert again == []


def test_seconds_that_xai_never_tells_are_estimated() -> None:
    """At the end, by the audio of all responses: until then a total may tell them."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    usage: dict[str, Any] = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    for number in range(3):
        say(meter, 6)
        hear(meter, "response.done", response={"id": f"r{number}", "usage": {}}, usage=usage)
    (estimate,) = meter.finish()
    assert isinstance(estimate, Metered)
    assert estimate.kind == Kind.ESTIMATED_DURATION
    assert estimate.usage.billed_ms == pytest.approx(18_000, rel=0.01)


def test_more_audio_than_a_row_may_hold_is_several_rows() -> None:
    """Three hours that no response told: nothing is cut off, and each row has a name."""
    meter = OpenAIMeter(model="grok-voice-latest", bills_seconds=True)
    second = frame({"type": "input_audio_buffer.append", "audio": SECOND}, mask=True)
    for _ in range(3 * 3_600):
        meter.observe_client(second)
    rows: list[Any] = meter.finish()
    assert len({row.response_id for row in rows}) == len(rows) == 2
    assert sum(row.usage.billed_ms for row in rows) == pytest.approx(10_800_000, rel=0.001)
    assert max(row.usage.billed_ms for row in rows) == TOKENS_PER_RESPONSE_MAX


def test_a_total_that_cannot_be_read_is_quarantined() -> None:
    """Whole, under the response's id; the next total holds its seconds."""
    seconds = BilledSeconds(is_billed=True, resumes="")
    wrong = {"billable_audio_seconds": "many"}
    found = seconds.reported("r1", "r1", wrong, model="grok")
    assert isinstance(found, Unreadable)
    assert (found.response_id, found.model, json.loads(found.raw)) == ("r1", "grok", wrong)
    right = seconds.reported("r2", "r2", {"billable_audio_seconds": 3}, model="grok")
    assert isinstance(right, Metered)
    assert right.usage.billed_ms == 3_000


def test_what_is_not_billed_by_seconds_has_none() -> None:
    """Neither told nor estimated, whatever was said."""
    seconds = BilledSeconds(is_billed=False, resumes="")
    seconds.listen(640_000)
    assert seconds.audio.ms == 0
    seconds.spoke(640_000)
    assert seconds.reported("r1", "r1", {"billable_audio_seconds": 3}, model="m") is None
    assert list(seconds.unreported("r1", model="m")) == []
    assert list(seconds.rest(model="m")) == []
