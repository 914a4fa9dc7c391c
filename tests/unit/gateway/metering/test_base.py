"""What meters have in common: joined fragments, remembered ids, and the handles that they tell."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.frames import Frame
from gateway.handles.handle import HandleKind, IssuedHandle
from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering.base import (
    NO_RESULTS,
    Fragments,
    Metered,
    RecentIds,
    Unreadable,
    results_of,
)
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.meter import OpenAIMeter
from shared.usage import Usage
from tests.support.metering import text

FIRST, LATER = 1, 0  # opcodes of a text message's first frame, and of its others


def piece(payload: bytes, opcode: int, *, is_final: bool) -> Frame:
    """One frame of a message."""
    return Frame(opcode, is_final, 2, b"hh" + payload)


MESSAGES = [
    # the frames: payload, opcode, whether it is the last; the messages that they make
    ([(b"one", FIRST, True), (b"two", FIRST, True)], [b"one", b"two"]),
    ([(b"on", FIRST, False), (b"", LATER, False), (b"e", LATER, True)], [b"one"]),
    ([(b"on", FIRST, False), (b"e", LATER, True), (b"t", FIRST, False), (b"wo", LATER, True)],
     [b"one", b"two"]),
    # The beginning was not seen: what follows is no message, and the next one is whole.
    ([(b"e", LATER, True), (b"two", FIRST, True)], [b"", b"two"]),
    ([(b"n", LATER, False), (b"e", LATER, True), (b"two", FIRST, True)], [b"", b"two"]),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "messages"), MESSAGES)
def test_fragments_are_joined(frames: list[tuple[bytes, int, bool]], messages: list[bytes]) -> None:
    """A message is there with its last fragment and not before."""
    fragments = Fragments()
    found = [fragments.add(piece(data, opcode, is_final=last)) for data, opcode, last in frames]
    assert [message for message in found if message is not None] == messages


def test_an_id_is_repeated_when_it_was_seen_before() -> None:
    """One that a provider left empty tells nothing apart."""
    ids = RecentIds()
    assert [ids.is_repeated(name) for name in ("a", "b", "a", "", "")] == [
        False, False, True, False, False
    ]  # fmt: skip
    assert list(ids) == ["a", "b"]
    ids.discard("a")
    ids.discard("never seen")
    assert "a" not in ids
    assert not ids.is_repeated("a")


def test_the_oldest_id_is_forgotten_first() -> None:
    """A session that never ends does not fill the memory."""
    ids = RecentIds()
    for number in range(RESPONSE_IDS_MAX):
        ids.add(str(number))
    ids.add("0")  # known already: nothing has to go
    assert "0" in ids
    ids.add("new")
    assert ("0" in ids, "1" in ids, "new" in ids) == (False, True, True)
    assert len(list(ids)) == RESPONSE_IDS_MAX


def test_only_what_there_is_counts_as_a_result() -> None:
    """In order; nearly every frame has none."""
    row, bad = Metered("r", "m", Usage(1, 1, 2)), Unreadable("q", "m", "detail", "{}")
    assert list(results_of(None, row, None, bad)) == [row, bad]
    assert results_of(None, None) is NO_RESULTS


GIVEN: list[tuple[Any, dict[str, Any], IssuedHandle | None]] = [
    (OpenAIMeter(model="grok", bills_seconds=True),
     {"type": "conversation.created", "event_id": "e", "conversation": {"id": "conv_1"}},
     IssuedHandle(HandleKind.CONVERSATION, "conv_1")),
    (OpenAIMeter(model="grok"), {"conversation": {"id": "c"}, "type": "conversation.created"},
     IssuedHandle(HandleKind.CONVERSATION, "c")),
    (OpenAIMeter(model="grok"), {"type": "conversation.created"}, None),
    (OpenAIMeter(model="grok"), {"type": "conversation.created", "conversation": {"id": 7}}, None),
    (OpenAIMeter(model="grok"), {"type": "response.created", "response": {"id": "r"}}, None),
    (GeminiMeter(model="g"), {"sessionResumptionUpdate": {"newHandle": "h" * 999}},
     IssuedHandle(HandleKind.SESSION, "h" * 999)),
    (GeminiMeter(model="g"), {"session_resumption_update": {"new_handle": "h1"}},
     IssuedHandle(HandleKind.SESSION, "h1")),
    (GeminiMeter(model="g"), {"sessionResumptionUpdate": {"newHandle": "", "resumable": False}},
     None),
    (GeminiMeter(model="g"), {"sessionResumptionUpdate": "newHandle"}, None),
    (GeminiMeter(model="g"), {"setupComplete": {}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("meter", "event", "given"), GIVEN)
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_handle_that_the_provider_gives_is_told(
    meter: Any, event: dict[str, Any], given: IssuedHandle | None, is_whole: bool
) -> None:
    """Whole, as it came, in one frame or in fragments; nothing is charged by it."""
    meter.issued_handle = None
    frame = text(event)
    cut = len(frame.raw) // 2
    parts = [replace(frame, raw=frame.raw[:cut], is_final=False),
             Frame(0, True, 2, b"\x80\x00" + frame.raw[cut:])]  # fmt: skip
    assert [
        found for part in ([frame] if is_whole else parts) for found in meter.observe(part)
    ] == []
    assert meter.issued_handle == given
