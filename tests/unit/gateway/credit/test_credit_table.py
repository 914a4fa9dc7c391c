"""Which accounts a gateway knows, and for how long."""

from gateway.credit.credit import Credit
from gateway.credit.credit_table import CreditTable
from shared.announcements import AnnouncedBalance, Applied
from shared.rates import NANO_PER_CREDIT

P, Q = b"p" * 16, b"q" * 16


def opened() -> tuple[CreditTable, Credit]:
    """The table of a gateway with one session of account ``a``."""
    table = CreditTable(near_responses=10)
    return table, table.open("a", topup=100, tokens=0)


def spend(table: CreditTable, credit: Credit, producer: bytes, sequence: int) -> None:
    """A credit is metered, and sent in a message of its own."""
    credit.metered(NANO_PER_CREDIT, is_response=True)
    table.sealed("a", NANO_PER_CREDIT, producer, sequence, now=0.0)


def include(table: CreditTable, revision: int, applied: dict[bytes, Applied]) -> None:
    """A balance of ``a`` says what is in it."""
    table.announced(AnnouncedBalance("a", 1, revision, 99, 0, applied=applied), now=0.0)


def test_sessions_of_one_account_share_one_credit() -> None:
    """The second one learns nothing from its key that the first does not know better."""
    table, credit = opened()
    credit.metered(30 * NANO_PER_CREDIT, is_response=True)
    assert table.open("a", topup=100, tokens=0) is credit
    assert credit.left == 70 * NANO_PER_CREDIT
    assert table.open("b", topup=100, tokens=0) is not credit
    assert len(table) == 2


def test_usage_of_an_account_that_nobody_uses_makes_none_known() -> None:
    """A recovered journal is sealed without a session of its account."""
    table = CreditTable(near_responses=10)
    table.sealed("a", NANO_PER_CREDIT, P, 1, now=0.0)
    assert len(table) == 0
    assert table.producers == []
    assert table.acknowledged(P, 1) == []


def test_a_producer_is_asked_about_while_a_message_of_it_is_in_no_balance() -> None:
    """A balance that names a part of them is not enough."""
    table, credit = opened()
    for sequence in (1, 2):
        spend(table, credit, P, sequence)
    spend(table, credit, Q, 1)
    include(table, 1, {P: Applied(1)})
    assert table.producers == [P, Q]
    include(table, 2, {P: Applied(2)})
    assert table.producers == [Q]
    include(table, 3, {Q: Applied(1)})
    assert table.producers == []


def test_a_balance_of_a_producer_that_was_never_heard_of_changes_nothing() -> None:
    """Another gateway's: the balance itself counts."""
    table, credit = opened()
    spend(table, credit, P, 1)
    include(table, 1, {Q: Applied(9)})
    assert table.producers == [P]
    assert credit.left == 98 * NANO_PER_CREDIT


def test_one_of_two_accounts_may_be_waited_for() -> None:
    """A producer's messages are of many accounts, and each has a balance of its own."""
    table, credit = opened()
    other = table.open("b", topup=100, tokens=0)
    spend(table, credit, P, 1)
    other.metered(NANO_PER_CREDIT, is_response=True)
    table.sealed("b", NANO_PER_CREDIT, P, 2, now=0.0)
    table.close(other)
    include(table, 1, {P: Applied(2)})
    assert table.producers == [P]
    assert len(table) == 2, "b has usage that is in no balance"
    table.announced(AnnouncedBalance("b", 1, 2, 99, 0, applied={P: Applied(2)}), now=0.0)
    assert table.producers == []
    assert len(table) == 1
