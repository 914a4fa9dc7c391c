"""The meter on messages of any shape: same meaning, same charge; never a crash."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as ReferenceFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.meter import OpenAIMeter
from shared.usage import TOKENS_PER_RESPONSE_MAX, Usage, UsageBatch
from shared.wire import decode_usage, encode_usage
from tests.support.metering import the_one

counts = st.integers(0, 1_000_000)


def feed(message: bytes, cuts: list[int] | None = None) -> list[Metered | Unreadable]:
    """What the meter finds in one message, sent whole or in fragments."""
    edges = [0, *sorted({cut % (len(message) + 1) for cut in cuts or []}), len(message)]
    parts = [message[a:b] for a, b in itertools.pairwise(edges)]
    stream = b"".join(
        ReferenceFrame(
            Opcode.CONT if index else Opcode.TEXT, part, fin=index == len(parts) - 1
        ).serialize(mask=False)
        for index, part in enumerate(parts)
    )
    meter = OpenAIMeter(model="gpt-realtime")
    frames = FrameScanner(expects_mask=False).feed(stream)
    return [found for frame in frames if (found := the_one(meter.observe(frame))) is not None]


@st.composite
def spelled(draw: st.DrawFn, event: dict[str, Any]) -> bytes:
    """The event in any key order, spacing and escaping that JSON allows."""

    def shuffle(value: Any) -> Any:
        if isinstance(value, dict):
            keys = draw(st.permutations(sorted(value)))
            return {key: shuffle(value[key]) for key in keys}
        return value

    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", " : ")]))
    text = json.dumps(
        shuffle(event), separators=separators, indent=draw(st.sampled_from([None, 2]))
    )
    if draw(st.booleans()):
        text = text.replace("response.done", "respons\\u0065.done")
    return text.encode()


@given(st.data(), counts, counts, st.lists(st.integers(0, 5000), max_size=4))
def test_spelling_does_not_change_the_charge(
    data: st.DataObject, tokens_in: int, tokens_out: int, cuts: list[int]
) -> None:
    """Key order, whitespace, escapes and fragmentation leave the charge as it is."""
    event = {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1",
            "status": "completed",
            "output": [{"content": [{"transcript": '{"type":"response.done","usage":9}'}]}],
            "usage": {
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        },
    }
    (found,) = feed(data.draw(spelled(event)), cuts)
    assert isinstance(found, Metered)
    usage = found.usage
    assert (usage.input_tokens, usage.output_tokens) == (tokens_in, tokens_out)
    assert usage.total_tokens == tokens_in + tokens_out


@given(st.text(max_size=200))
def test_a_quoted_event_is_not_an_event(text: str) -> None:
    """A transcript may quote a whole response.done: it costs nothing."""
    quoted = json.dumps({"type": "response.done", "response": {"usage": {"total_tokens": 5}}})
    event = {"delta": text + quoted, "type": "response.output_audio_transcript.delta"}
    assert feed(json.dumps(event).encode()) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(json_values, json_values, json_values)
def test_any_usage_is_charged_or_quarantined(first: Any, second: Any, third: Any) -> None:
    """Whatever stands where counts should be, the outcome is a valid charge or a quarantine."""
    usages = [first, {"input_tokens": first, "output_tokens": second, "total_tokens": third}]
    for usage in usages:
        event = {"type": "response.done", "response": {"id": second, "usage": usage}}
        for found in feed(json.dumps(event).encode()):
            if isinstance(found, Metered):
                assert 0 <= found.usage.total_tokens <= TOKENS_PER_RESPONSE_MAX
                batch = UsageBatch("a", "s", "p", "m", "response", 1, ("r",), found.usage, 0)
                assert decode_usage(encode_usage(batch)) == batch
            else:
                assert found.detail


@given(st.binary(max_size=200))
def test_any_bytes_cost_nothing_or_are_quarantined(data: bytes) -> None:
    """Bytes that are no JSON never crash the meter, also behind a metered event's name."""
    assert feed(data) == []
    assert all(isinstance(x, Unreadable) for x in feed(b'{"type":"response.done",' + data))


@given(st.lists(st.builds(Usage, counts, counts, counts), max_size=5))
def test_usage_adds_up_field_by_field(usages: list[Usage]) -> None:
    """The sum of usages is the sum of each count."""
    total = sum(usages, start=Usage())
    assert total.input_tokens == sum(u.input_tokens for u in usages)
    assert total.total_tokens == sum(u.total_tokens for u in usages)
