"""Usage that is in messages and in no balance yet, message by message."""

from collections.abc import Iterable

import pytest

from gateway.credit.pending import PendingUsage
from shared.announcements import Applied

P, Q = b"p" * 16, b"q" * 16


def pending(*amounts: int, producer: bytes = P) -> PendingUsage:
    """One message for each amount, numbered from 1."""
    usage = PendingUsage()
    for sequence, nano in enumerate(amounts, start=1):
        usage.add(nano, producer, sequence)
    return usage


def include(usage: PendingUsage, through: int, ahead: Iterable[int] = ()) -> None:
    """A balance that names what of P it includes."""
    usage.include({P: Applied(through, frozenset(ahead))})


def test_what_is_durable_stays_subtracted_until_a_balance_includes_it() -> None:
    """A watermark makes messages durable one after the other, a balance takes them off."""
    usage = pending(10, 20, 40)
    assert usage.acknowledge(P, 1, is_new_boot=False) is True
    assert usage.acknowledge(P, 2, is_new_boot=False) is True
    assert (usage.nano, bool(usage)) == (70, True)
    include(usage, 3)
    assert (usage.nano, bool(usage)) == (0, False)


@pytest.mark.parametrize(("producer", "through"), [(Q, 9), (P, 0)])
def test_a_watermark_that_covers_nothing_is_no_news(producer: bytes, through: int) -> None:
    """Of another producer, or of before."""
    usage = pending(10)
    assert usage.acknowledge(producer, through, is_new_boot=False) is False
    assert usage.nano == 10


@pytest.mark.parametrize(
    ("through", "ahead", "left"),
    [(0, (), 70), (1, (), 60), (0, (2,), 50), (1, (3,), 20), (0, (7,), 70), (3, (2,), 0)],
)
def test_a_balance_includes_what_it_names(through: int, ahead: tuple[int, ...], left: int) -> None:
    """Everything up to a sequence, and some beyond it."""
    usage = pending(10, 20, 40)
    include(usage, through, ahead)
    assert usage.nano == left


def test_what_a_balance_does_not_name_is_perhaps_included() -> None:
    """It may be included all the same; what is sealed later is not."""
    usage = pending(10, 20)
    include(usage, 1)
    usage.add(5, P, 3)
    assert (usage.perhaps_included, usage.nano) == (20, 25)


@pytest.mark.parametrize(
    ("is_new_boot", "perhaps_included", "nano"), [(False, 20, 25), (True, 0, 5)]
)
def test_what_was_perhaps_included_and_is_durable_now(
    is_new_boot: bool, perhaps_included: int, nano: int
) -> None:
    """The first balance of a boot includes all that the boot before had applied; others may not."""
    usage = pending(10, 20)
    include(usage, 1)
    usage.add(5, P, 3)
    assert usage.acknowledge(P, 2, is_new_boot=is_new_boot)
    assert (usage.perhaps_included, usage.nano) == (perhaps_included, nano)


def test_a_part_of_what_was_perhaps_included_is_durable() -> None:
    """After a restart the rest stays perhaps included."""
    usage = pending(10, 20, 40)
    include(usage, 0)
    assert usage.perhaps_included == 70
    assert usage.acknowledge(P, 1, is_new_boot=True)
    assert (usage.perhaps_included, usage.nano) == (60, 60)


def test_producers_are_kept_apart() -> None:
    """Each has its own sequences, and its own part that is perhaps included."""
    usage = pending(10)
    usage.add(7, Q, 1)
    assert usage.has_producer(P)
    assert usage.has_producer(Q)
    include(usage, 1)
    assert (usage.has_producer(P), usage.has_producer(Q), usage.nano) == (False, True, 7)
    assert usage.perhaps_included == 7


def test_the_first_message_of_a_new_producer_is_not_perhaps_included() -> None:
    """It was sealed after the balance."""
    usage = PendingUsage()
    include(usage, 0)
    usage.add(7, Q, 1)
    assert usage.acknowledge(Q, 1, is_new_boot=True)
    assert (usage.perhaps_included, usage.nano) == (0, 7)
