"""The index of sealed messages: what is there, what is missing, what was removed."""

from gateway.delivery.segments import SealedIndex


def test_a_message_is_found_where_it_was_added() -> None:
    """By segment and offset, the largest ones too."""
    index = SealedIndex()
    assert not index
    index.add(1, 1, 29)
    index.add(2, 2**32 - 1, 2**32 - 1)
    assert index
    assert [index.find(n) for n in (0, 1, 2, 3)] == [None, (1, 29), (2**32 - 1, 2**32 - 1), None]
    assert index.last == 2


def test_skipped_messages_are_missing() -> None:
    """Before one that is there, and up to the last that must have been there."""
    index = SealedIndex()
    index.add(3, 1, 29)
    index.fill_through(5)
    assert (index.last, index.missing) == (5, 4)
    assert [n for n in range(7) if index.find(n) is not None] == [3]
    index.fill_through(4)
    assert index.last == 5


def test_what_was_removed_before_the_first_is_not_missing() -> None:
    """The index begins where the journal does."""
    index = SealedIndex()
    index.begin_at(8)
    assert index.last == 7
    index.add(8, 1, 29)
    assert (index.last, index.missing) == (8, 0)
    assert index.find(8) == (1, 29)


def test_removed_messages_are_not_found_and_the_others_stay() -> None:
    """Twice the same segment, or one without messages, removes nothing."""
    index = SealedIndex()
    for sequence in (1, 2, 3):
        index.add(sequence, sequence, 29)
    for through in (2, 2, 0):
        index.remove_through(through)
    assert [index.find(n) for n in (1, 2, 3)] == [None, None, (3, 29)]
    assert index.last == 3
