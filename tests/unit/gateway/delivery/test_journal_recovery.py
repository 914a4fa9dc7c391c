"""What a recovery makes of a journal that a disk, or a person, has changed."""

import pytest

from gateway.delivery.journal_format import (
    encode_base,
    encode_header,
    encode_metered,
    encode_sealed,
)
from gateway.delivery.journal_recovery import Recovered, Recovery
from gateway.limits import BATCH_RESPONSES, OUTBOX_BATCHES_MAX
from tests.support.memory_store import MemoryStore

PRODUCER = bytes(range(16))
JUMP = OUTBOX_BATCHES_MAX * BATCH_RESPONSES
START = encode_header(PRODUCER) + encode_base(0, 0)


def recovered(*segments: bytes) -> Recovered:
    """What is found in a journal of these segments."""
    recovery = Recovery(PRODUCER)
    recovery.read(MemoryStore(dict(enumerate(segments, start=1))), now=0.0)
    return recovery.found


def test_a_journal_that_is_whole_has_no_damage() -> None:
    """Two responses, of which a message covers the first."""
    found = recovered(
        START + encode_metered(1, b"one") + encode_sealed(1, (1,), b"m") + encode_metered(2, b"two")
    )
    assert (found.last_sequence, found.last_payload, found.unsealed) == (1, b"m", {2: b"two"})
    assert not found.is_damaged
    assert not found.is_bare


def test_a_journal_of_another_producer_is_damaged() -> None:
    """A file that was copied to the wrong folder; its records have checks of their own."""
    found = recovered(encode_header(bytes(16)) + encode_base(0, 0) + encode_metered(1, b"one"))
    assert found.is_damaged
    assert found.unsealed == {1: b"one"}


FAR = [
    # a record that cannot follow the first response; whether it is damage
    (encode_metered(1 + JUMP, b"x"), False),
    (encode_metered(2 + JUMP, b"x"), True),
    (encode_sealed(JUMP, (1,), b"x"), False),
    (encode_sealed(JUMP + 1, (1,), b"x"), True),
    (encode_base(JUMP + 1, 1), True),
    (encode_base(0, JUMP + 2), True),
]


@pytest.mark.parametrize(("record", "is_implausible"), FAR)
def test_a_number_far_beyond_the_last_is_damage(record: bytes, is_implausible: bool) -> None:
    """No journal can have lost so many records; one that did would be expected number by number."""
    found = recovered(START + encode_metered(1, b"one") + record)
    assert bool(found.damaged_bytes) is is_implausible
    if is_implausible:
        assert (found.last_sequence, found.unsealed) == (0, {1: b"one"})


def test_a_repeated_message_is_read_once() -> None:
    """The first one counts: what was sent under its sequence."""
    found = recovered(START + encode_sealed(1, (), b"first") + encode_sealed(1, (), b"again"))
    assert (found.last_sequence, found.last_payload) == (1, b"first")


def test_a_journal_whose_beginning_is_lost_begins_with_its_first_message() -> None:
    """What was before it is not known, and is not taken for missing."""
    header = encode_header(PRODUCER)
    found = recovered(header + encode_sealed(5, (9,), b"m") + encode_metered(10, b"ten"))
    assert (found.last_sequence, found.missing_sequences) == (5, 0)
    assert found.unsealed == {10: b"ten"}


def test_a_base_behind_messages_moves_nothing() -> None:
    """A segment whose base was lost, and then one that has it."""
    lost = encode_header(PRODUCER) + encode_sealed(5, (), b"m")
    found = recovered(lost, encode_header(PRODUCER) + encode_base(5, 0))
    assert (found.last_sequence, found.last_payload, found.missing_sequences) == (5, b"m", 0)


def test_a_journal_of_which_only_the_numbering_is_left_is_bare() -> None:
    """All its messages were removed; without any, there was nothing to remove."""
    assert recovered(encode_header(PRODUCER) + encode_base(3, 7)).is_bare
    assert not recovered(START).is_bare
