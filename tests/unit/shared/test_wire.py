"""Messages that are none, the words that say why, and the level of what is understood."""

from typing import Any

import msgpack
import pytest

from shared.fields import VERSION, RejectReason, WireError
from shared.requests import decode_reply, decode_request
from shared.usage import USAGE_FIELDS, Kind, UsageBatch
from shared.wire import (
    LEVEL,
    PRODUCER_BYTES,
    SEQUENCE_BYTES,
    SEQUENCE_MAX,
    decode_envelope,
    encode_envelope,
)

P = b"p" * PRODUCER_BYTES
ONE = (1).to_bytes(SEQUENCE_BYTES, "big")

ENVELOPES = [
    # frames; what is wrong
    ([], "found 0 frames, expected 3"),
    ([P, ONE], "found 2 frames, expected 3"),
    ([P[1:], ONE, b""], "producer of 15 bytes, expected 16"),
    ([P, ONE[1:], b""], "sequence of 7 bytes, expected 8"),
    ([P, bytes(SEQUENCE_BYTES), b""], "sequence 0 is out of range"),
    ([P, (SEQUENCE_MAX + 1).to_bytes(SEQUENCE_BYTES, "big"), b""], "is out of range"),
]


@pytest.mark.parametrize(("frames", "message"), ENVELOPES)
def test_what_is_no_envelope_is_refused(frames: list[bytes], message: str) -> None:
    """It has no producer to answer, so the log says what came."""
    with pytest.raises(WireError, match=message) as caught:
        decode_envelope(frames)
    assert caught.value.reason is RejectReason.UNREADABLE


@pytest.mark.parametrize("sequence", [1, 256, SEQUENCE_MAX])
def test_an_envelope_survives_the_wire(sequence: int) -> None:
    """The number in big endian, so that a dump can be read."""
    frames = encode_envelope(P, sequence, b"payload")
    assert frames == [P, sequence.to_bytes(SEQUENCE_BYTES, "big"), b"payload"]
    envelope = decode_envelope(frames)
    assert (envelope.producer, envelope.sequence, envelope.payload) == (P, sequence, b"payload")


def packed(**fields: Any) -> bytes:
    """A payload of our version."""
    return bytes(msgpack.packb({"v": VERSION, **fields}))


REQUESTS = [
    (packed(), "method: found nothing"),
    (packed(method=5), "method: found 5"),
    (packed(method="m", params=[]), "params: found .*expected a map"),
    (packed(method="m", params={b"k": 1}), "params: found .*expected a map"),
]


@pytest.mark.parametrize(("payload", "message"), REQUESTS)
def test_what_is_no_request_is_refused(payload: bytes, message: str) -> None:
    """A method is a text, and its parameters have names."""
    with pytest.raises(WireError, match=message) as caught:
        decode_request(payload)
    assert caught.value.reason is RejectReason.BAD_FIELD


def test_a_request_needs_no_parameters() -> None:
    """Absent is empty."""
    assert decode_request(packed(method="m")).params == {}


REPLIES = [
    (packed(error="no"), "error: found a str, expected a map"),
    (packed(error={"code": "c"}), "message: found nothing"),
    (packed(error={"code": 5, "message": "m"}), "code: found 5"),
    (packed(error={"code": "c", "message": "m" * 4097}), "at most 4096 characters"),
]


@pytest.mark.parametrize(("payload", "message"), REPLIES)
def test_what_is_no_reply_is_refused(payload: bytes, message: str) -> None:
    """A gateway that cannot read an answer asks again; it takes no error for a result."""
    with pytest.raises(WireError, match=message) as caught:
        decode_reply(payload)
    assert caught.value.reason is RejectReason.BAD_FIELD


def test_a_reply_is_a_result_or_an_error() -> None:
    """A result may be nothing at all."""
    assert decode_reply(packed()).result is None
    assert decode_reply(packed(result=[1])).result == [1]
    assert decode_reply(packed(error={"code": "c", "message": "m" * 4096})).error == (
        "c", "m" * 4096
    )  # fmt: skip


# By level: the counts of a usage, the fields of a batch, the kinds.
UNDERSTOOD = {1: (18, 12, 10)}


def test_a_level_says_what_is_understood() -> None:
    """Who adds a field or a kind raises the level, and adds a line here: an accountd of before
    drops it silently, or refuses it, and a gateway says so only when the level tells.
    """
    found = len(USAGE_FIELDS), len(UsageBatch.__struct_fields__), len(Kind)
    assert {LEVEL: found} == {max(UNDERSTOOD): UNDERSTOOD[max(UNDERSTOOD)]}
