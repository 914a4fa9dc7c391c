"""Digests of payloads, and how long they are remembered."""

from accountd.ledger.payload_digests import RecentDigests, digest_of
from tests.support.memory_ledger import P

DIGEST_OF_USAGE = 3351228868243206096


def test_a_digest_is_the_same_in_every_process() -> None:
    """It is stored: another value would make conflicts of all that is sent again."""
    assert digest_of(b"usage") == DIGEST_OF_USAGE


def test_digests_are_forgotten_oldest_first() -> None:
    """The memory is bounded; what is known already does not count twice."""
    recent = RecentDigests(entries_max=3)
    recent.remember({(P, n): n for n in (1, 2, 3)})
    recent.remember({(P, 3): 3})
    assert len(recent) == 3
    recent.remember({(P, 4): 4})
    assert [recent.get((P, n)) for n in (1, 2, 3, 4)] == [None, 2, 3, 4]
