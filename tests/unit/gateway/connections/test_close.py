"""Close reasons that fit into a close frame."""

import pytest
from websockets.frames import Close

from gateway.connections.close import INTERNAL_ERROR, fitting

REASONS = [
    ("", ""),
    ("session over", "session over"),
    ("x" * 123, "x" * 123),
    ("x" * 124, "x" * 123),
    ("ä" * 62, "ä" * 61),  # 124 bytes: the 62nd does not fit, and half of it says nothing
    ("x" * 121 + "€", "x" * 121),
    ("x" * 120 + "€", "x" * 120 + "€"),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_a_reason_is_cut_between_two_characters(reason: str, expected: str) -> None:
    """RFC 6455 section 5.5: 125 bytes, of which the code takes two."""
    assert fitting(reason) == expected
    assert len(Close(INTERNAL_ERROR, fitting(reason)).serialize()) <= 125
