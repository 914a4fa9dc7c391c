"""Whole sessions for the meters, in any order that a provider may choose: the sum is right."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.base import Metered, MeterResult
from shared.usage import Kind
from tests.support.golden import Event, Script, Step, play
from tests.support.golden_gemini import READY, SETUP, TURN, complete, server, usage_alone
from tests.support.golden_openai_events import created, done, transcribed

counts = st.integers(0, 100_000)
turn_usages = st.fixed_dictionaries(
    {"promptTokenCount": st.integers(1, 100_000)},
    optional={
        "responseTokenCount": counts,
        "toolUsePromptTokenCount": counts,
        "thoughtsTokenCount": counts,
        "cachedContentTokenCount": counts,
    },
)
STYLES = (
    "beside", "before", "before the beginning", "after", "before and beside", "beside and after",
    "after and after",
)  # fmt: skip


def turn(style: str, usage: Event) -> list[Step]:
    """A turn whose usage stands where ``style`` says."""
    alone, silent, beside = usage_alone(usage), [*TURN, complete()], [*TURN, complete(usage)]
    return {
        "beside": beside,
        "before": [*TURN, alone, complete()],
        "before the beginning": [alone, *silent],
        "after": [*silent, alone],
        "before and beside": [*TURN, alone, complete(usage)],
        "beside and after": [*beside, alone],
        "after and after": [*silent, alone, alone],
    }[style]


def cost(usage: Event) -> int:
    """What a turn costs."""
    return sum(count for name, count in usage.items() if not name.startswith("cached"))


def summed(found: Sequence[MeterResult]) -> int:
    """All tokens that were charged."""
    assert all(isinstance(one, Metered) and one.kind != Kind.ESTIMATE for one in found)
    return sum(one.usage.total_tokens for one in found if isinstance(one, Metered))


@given(st.lists(st.tuples(st.sampled_from(STYLES), turn_usages), max_size=6))
def test_every_turn_is_charged_once_wherever_its_usage_stands(
    turns: list[tuple[str, Event]],
) -> None:
    """Beside, before or after the end of a turn, or twice: the sum is the sum of the turns.

    A prompt holds the whole conversation, so that it grows: equal usages are repetitions.
    """
    steps, told = [], []
    for number, (style, usage) in enumerate(turns, start=1):
        grown = {**usage, "promptTokenCount": usage["promptTokenCount"] + number * 100_000}
        told.append(grown)
        steps += turn(style, grown)
    found = play(Script("", "", "", (SETUP, READY, *steps)))
    assert len(found) == len(turns)
    assert summed(found) == sum(map(cost, told))


@given(st.lists(st.tuples(st.sampled_from(["beside", "before", "after"]), turn_usages), max_size=6))
def test_equal_turns_are_still_turns(turns: list[tuple[str, Event]]) -> None:
    """Each turn that reports once and says something is charged, what the last one cost or not."""
    steps = [step for style, usage in turns for step in turn(style, usage)]
    found = play(Script("", "", "", (SETUP, READY, *steps)))
    assert summed(found) == sum(cost(usage) for _, usage in turns)


@given(turn_usages, st.lists(turn_usages, max_size=4), st.booleans())
def test_the_newest_snapshot_of_a_turn_counts(
    last: Event, earlier: list[Event], is_cut_off: bool
) -> None:
    """Snapshots within a turn replace each other, also when the session ends before the turn."""
    steps = [*TURN, *map(usage_alone, [*earlier, last]), *([] if is_cut_off else [complete()])]
    (found,) = play(Script("", "", "", (SETUP, READY, *steps)))
    assert summed([found]) == cost(last)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
fields = st.sampled_from(
    ["usageMetadata", "usage_metadata", "serverContent", "server_content", "setupComplete",
     "toolCall"]
)  # fmt: skip
content = st.dictionaries(
    st.sampled_from(["turnComplete", "interactionStatus", "modelTurn", "outputTranscription"]),
    junk | st.sampled_from([True, "IN_PROGRESS", "IDLE", {"text": ""}]),
)
usages = st.dictionaries(
    st.sampled_from(["promptTokenCount", "responseTokensDetails", "thoughts_token_count"]), junk
)


@given(st.lists(st.dictionaries(fields, junk | content | usages, max_size=3), max_size=6))
def test_gemini_messages_of_any_shape_never_crash(events: list[dict[str, Any]]) -> None:
    """Whatever stands where something is expected is charged, quarantined or passed over."""
    found = play(Script("", "", "", (SETUP, *(server(**event) for event in events))))
    assert all(one.detail for one in found if not isinstance(one, Metered))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Step], int]:
    """Responses and transcriptions of OpenAI in any order, some events twice, and their tokens."""
    threads: list[list[Step]] = []
    total = 0
    for number in range(draw(st.integers(0, 5))):
        tokens_in, tokens_out = draw(counts), draw(counts)
        usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
        total += tokens_in + tokens_out
        if draw(st.booleans()):
            response_id = f"resp_{number}"
            threads.append([created(response_id), done(usage, name=response_id)])
        else:
            item = draw(st.sampled_from(["item_1", "item_2", "resp_0"]))
            threads.append([transcribed({"type": "tokens", **usage}, number=number, item=item)])
    steps: list[Step] = []
    while threads := [thread for thread in threads if thread]:
        thread = draw(st.sampled_from(threads))
        steps += [thread.pop(0)] * draw(st.sampled_from([1, 1, 2]))
    ended = [step for step in steps if step.event["type"] != "response.created"]
    if ended:  # an event may also come once more much later
        steps += draw(st.lists(st.sampled_from(ended), max_size=3))
    return steps, total


@given(conversations())
def test_every_response_and_transcription_is_charged_once(
    conversation: tuple[list[Step], int],
) -> None:
    """However they are interleaved and repeated, the sum is the sum of what was reported."""
    steps, total = conversation
    if steps:
        assert summed(play(Script("", "", "gpt-realtime", tuple(steps)))) == total
