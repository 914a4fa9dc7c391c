"""What goes to quarantine, and that it is kept whole with the reason."""

import pytest

from accountd.ledger.decision_types import Rejection
from accountd.ledger.payload_digests import digest_of
from shared.fields import RejectReason
from shared.usage import InvalidUsage, Kind, LostBatch
from shared.wire import encode_usage
from tests.support.memory_ledger import NOW, Memory, P, sent, usage

INVALID = InvalidUsage("a", "s", "openai", "m", "r", "usage: found a list", "[]", 0)


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        ([b"only one"], b"only one"),
        ([b"short", b"12345678", b"x"], b"short12345678x"),
        ([b"p" * 16, b"\0" * 8, b"payload"], b"p" * 16 + b"\0" * 8 + b"payload"),
    ],
)
def test_a_message_without_an_envelope_is_kept_whole(frames: list[bytes], kept: bytes) -> None:
    """It has no producer and no number, so no watermark counts it."""
    decision = Memory().decide(frames)
    (rejection,) = decision.rejections
    assert (rejection.producer, rejection.sequence) == (None, None)
    assert (rejection.payload, rejection.received_at) == (kept, NOW)
    assert rejection.reason is RejectReason.UNREADABLE
    assert rejection.detail
    assert decision.rejected == {RejectReason.UNREADABLE: 1}
    assert decision.watermarks == {}


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (encode_usage(INVALID), RejectReason.UNREADABLE_USAGE, "usage: found a list"),
        (encode_usage(LostBatch()), RejectReason.LOST, "no gateway holds it any more"),
        (usage(kind=Kind.DOUBTFUL), RejectReason.DOUBTFUL, "the spool was damaged"),
        (usage(account_id="nobody"), RejectReason.UNKNOWN_ACCOUNT, "nobody"),
    ],
)
def test_what_cannot_be_charged_is_kept_under_its_number(
    payload: bytes, reason: RejectReason, detail: str
) -> None:
    """Its sequence counts as received, so it holds nothing back."""
    memory = Memory()
    decision = memory.apply(*sent(1, payload=payload))
    (rejection,) = decision.rejections
    assert (rejection.producer, rejection.sequence, rejection.payload) == (P, 1, payload)
    assert rejection.reason is reason
    assert detail in rejection.detail
    assert rejection.received_at == NOW
    assert decision.watermarks == {P: 1}


def test_a_conflict_says_what_happened() -> None:
    """The second content of a number, whole; the third is only counted."""
    memory = Memory()
    memory.apply(*sent(1))
    second, third = usage(77), usage(78)
    decision = memory.apply(*sent(1, payload=second))
    (rejection,) = decision.rejections
    assert rejection == Rejection(
        P, 1, RejectReason.CONFLICT, "the sequence was applied before, with other content",
        second, NOW, digest_of(second),
    )  # fmt: skip
    again = memory.apply(*sent(1, payload=second))
    assert (again.rejections, again.conflicts) == ([], 1)
    assert memory.apply(*sent(1, payload=third)).conflicts == 1
