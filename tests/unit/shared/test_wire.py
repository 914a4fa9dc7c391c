"""Messages that are none, the words that say why, and the level of what is understood."""

import pytest

from shared.fields import RejectReason, WireError
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


# By level: the counts of a usage, the fields of a batch, the kinds. Level 3 has claims in `sync`.
UNDERSTOOD = {1: (18, 12, 10), 2: (18, 13, 10), 3: (18, 13, 10)}


def test_a_level_says_what_is_understood() -> None:
    """Who adds a field or a kind raises the level, and adds a line here: an accountd of before
    drops it silently, or refuses it, and a gateway says so only when the level tells.
    """
    found = len(USAGE_FIELDS), len(UsageBatch.__struct_fields__), len(Kind)
    assert {LEVEL: found} == {max(UNDERSTOOD): UNDERSTOOD[max(UNDERSTOOD)]}
