"""What an account may still spend, as one gateway sees it."""

import pytest

from gateway.accountd_client.rpc_client import PRODUCERS_MAX
from gateway.credit.allotments import LATE_S, RECONNECT_S
from gateway.credit.asked import ASKED_MAX, portions
from gateway.credit.credit import OVERDUE_S, Credit, CreditStatus
from gateway.credit.credit_table import CreditTable
from shared.announcements import AnnouncedBalance, Applied
from shared.fields import MESSAGE_BYTES_MAX
from shared.rates import NANO_PER_CREDIT
from shared.requests import Request, encode_request
from shared.usage import ID_CHARS_MAX

P = b"p" * 16
NEAR = 10


def opened(topup: int = 100, tokens: int = 0) -> tuple[CreditTable, Credit]:
    """The table of a gateway with one session of account ``a``."""
    table = CreditTable(near_responses=NEAR)
    return table, table.open("a", topup=topup, tokens=tokens)


def announce(
    table: CreditTable,
    credits_left: int,
    *,
    revision: int,
    epoch: int = 1,
    gateways: int = 1,
    through: int | None = None,
    ahead: frozenset[int] = frozenset(),
    now: float = 0.0,
) -> Credit | None:
    """accountd announces what ``a`` has left."""
    applied = {} if through is None else {P: Applied(through, ahead)}
    balance = AnnouncedBalance(
        "a", epoch, revision, credits_left, 0, gateways=gateways, applied=applied
    )
    return table.announced(balance, now=now)


def spend(
    table: CreditTable, credit: Credit, credits_spent: int, sequence: int, now: float = 0.0
) -> None:
    """A response is metered and sent in a message of its own."""
    credit.metered(credits_spent * NANO_PER_CREDIT, is_response=True)
    table.sealed("a", credits_spent * NANO_PER_CREDIT, P, sequence, now=now)


def test_what_is_metered_counts_at_once() -> None:
    """The gateway does not wait for accountd to know that nothing is left."""
    _, credit = opened(topup=3, tokens=-1)
    assert credit.status is CreditStatus.AVAILABLE
    credit.metered(2 * NANO_PER_CREDIT - 1, is_response=True)
    assert (credit.left, credit.status) == (1, CreditStatus.AVAILABLE)
    credit.metered(1, is_response=False)
    assert (credit.left, credit.status) == (0, CreditStatus.EXHAUSTED)


def test_a_balance_takes_the_place_of_what_is_in_it() -> None:
    """Each message counts exactly once, in whatever order they were applied."""
    table, credit = opened()
    for sequence in (1, 2, 3, 4):
        spend(table, credit, 10, sequence)
    announce(table, 80, revision=1, through=1, ahead=frozenset({3}))
    assert credit.left == 60 * NANO_PER_CREDIT
    announce(table, 60, revision=2, through=4)
    assert credit.left == 60 * NANO_PER_CREDIT


def test_a_missed_balance_is_made_up_for_by_the_watermark() -> None:
    """What is durable stays subtracted until a balance includes it."""
    table, credit = opened()
    spend(table, credit, 10, 1)
    assert table.acknowledged(P, 1) == [credit]
    assert credit.left == 90 * NANO_PER_CREDIT
    announce(table, 90, revision=9)
    assert credit.left == 90 * NANO_PER_CREDIT


def test_an_older_balance_changes_nothing() -> None:
    """One that arrives after a newer one, and one of an earlier boot."""
    table, credit = opened()
    assert announce(table, 50, revision=5, epoch=7) is credit
    assert announce(table, 70, revision=4, epoch=7) is None
    assert announce(table, 80, revision=99, epoch=6) is None
    assert credit.left == 50 * NANO_PER_CREDIT
    table.answered(6)  # an accountd whose clock went back, and that answered a question
    assert announce(table, 80, revision=1, epoch=6) is credit
    assert credit.left == 80 * NANO_PER_CREDIT


def test_balances_of_accounts_without_sessions_are_ignored() -> None:
    """Announcements may come late."""
    table, credit = opened()
    table.close(credit)
    assert announce(table, 5, revision=1) is None
    assert len(table) == 0


def test_an_account_is_remembered_while_anything_is_pending() -> None:
    """A session that begins at once knows what the last one spent."""
    table, credit = opened()
    spend(table, credit, 30, 1)
    table.close(credit)
    assert table.open("a", topup=100, tokens=0).left == 70 * NANO_PER_CREDIT
    table.close(credit)
    announce(table, 70, revision=1, through=1)
    assert len(table) == 0


def test_each_gateway_spends_its_allotment_and_then_waits_for_a_balance() -> None:
    """Three gateways: a third of the balance each, until all must know what is left."""
    table, credit = opened()
    announce(table, 90, revision=1, gateways=3)
    spend(table, credit, 29, 1)
    assert credit.status is CreditStatus.AVAILABLE
    spend(table, credit, 1, 2)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    announce(table, 60, revision=2, gateways=3, through=2, now=10.0)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    assert table.expired(10.0 + LATE_S - 0.1) == []
    assert table.expired(10.0 + LATE_S) == [credit]
    assert credit.status is CreditStatus.AVAILABLE
    assert table.expired(99.0) == []
    assert not credit.is_waiting


def test_given_credits_are_divided_at_once() -> None:
    """A gateway that does not know of them yet spends less, not more."""
    table, credit = opened()
    announce(table, 90, revision=1, gateways=3)
    spend(table, credit, 30, 1)
    announce(table, 60, revision=2, gateways=3, through=1, now=10.0)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    announce(table, 120, revision=3, gateways=3, now=10.1)
    assert credit.status is CreditStatus.AVAILABLE
    spend(table, credit, 20, 2)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT


def test_an_allotment_is_renewed_while_announcements_go_on() -> None:
    """However often a balance comes: an old allotment binds for ``LATE_S`` only."""
    table, credit = opened()
    left, now = 900, 10.0
    announce(table, left, revision=1, gateways=3, now=now)
    for number in range(1, 41):
        now += LATE_S / 5
        table.expired(now)
        assert credit.status is CreditStatus.AVAILABLE, f"{left} are left"
        spend(table, credit, 10, number)
        left -= 15  # another gateway spends, too
        announce(table, left, revision=1 + number, gateways=3, through=number, now=now)


def test_a_single_gateway_keeps_no_old_allotment() -> None:
    """Its allotment is the whole balance: no other gateway could learn of it later."""
    table, credit = opened()
    announce(table, 90, revision=1)
    spend(table, credit, 80, 1)
    announce(table, 10, revision=2, through=1)
    assert credit.status is CreditStatus.AVAILABLE
    assert not credit.is_waiting


def test_near_empty_is_so_many_typical_responses() -> None:
    """Measured against the allotment; before the first response nothing is typical."""
    table, credit = opened()
    announce(table, 1_000, revision=1, gateways=2)
    assert not credit.is_near_empty
    spend(table, credit, 40, 1)
    assert not credit.is_near_empty  # 460 left of our allotment
    spend(table, credit, 64, 2)  # the typical response is now one of 46
    assert credit.is_near_empty  # 396 are less than 10 of them


def test_what_a_dead_accountd_may_have_applied_ends_no_session() -> None:
    """The new balance may include it or not: sessions wait until that is known."""
    table, credit = opened()
    announce(table, 50, revision=1, epoch=1)
    spend(table, credit, 30, 1)
    announce(table, 20, revision=1, epoch=2)  # 30 were applied, which nobody announced
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    table.acknowledged(P, 1)
    assert (credit.status, credit.left) == (CreditStatus.AVAILABLE, 20 * NANO_PER_CREDIT)


def test_what_a_missed_balance_may_have_named_ends_no_session() -> None:
    """The connection broke for a moment: the next balance does not name what it includes."""
    table, credit = opened()
    announce(table, 50, revision=1)
    spend(table, credit, 30, 1)
    announce(table, 20, revision=3)  # the second one, which named the message, was not heard
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    table.acknowledged(P, 1)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    announce(table, 20, revision=4)
    assert (credit.status, credit.left) == (CreditStatus.AVAILABLE, 20 * NANO_PER_CREDIT)


def test_what_became_durable_unannounced_is_not_spent_again() -> None:
    """A request is answered before announcements arrive: the known balance is an old one."""
    table, credit = opened()
    spend(table, credit, 60, 1)
    announce(table, 100, revision=1)
    announce(table, 100, revision=2)  # of another gateway's usage
    table.acknowledged(P, 1)
    assert credit.left == 40 * NANO_PER_CREDIT


def test_what_is_used_up_exactly_is_sent_at_once() -> None:
    """Even with no typical response, or ``near_responses`` of 0: other gateways wait for it."""
    table = CreditTable(near_responses=0)
    credit = table.open("a", topup=90, tokens=0)
    announce(table, 90, revision=1, gateways=3)
    credit.metered(30 * NANO_PER_CREDIT, is_response=False)
    assert (credit.status, credit.is_near_empty) == (CreditStatus.ALLOTMENT_SPENT, True)


def test_gateways_keep_their_allotment_after_a_restart_of_accountd() -> None:
    """Its balances lack what the others metered: each stays within its old allotment."""
    table, credit = opened()
    announce(table, 90, revision=1, gateways=3)
    spend(table, credit, 10, 1)
    announce(table, 80, revision=1, epoch=2, gateways=1, through=1, now=10.0)
    spend(table, credit, 20, 2)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    announce(table, 60, revision=2, epoch=2, gateways=2, through=2, now=10.1)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    assert table.expired(10.0 + RECONNECT_S - 0.1) == []
    assert table.expired(10.0 + RECONNECT_S) == [credit]
    assert (credit.status, credit.left) == (CreditStatus.AVAILABLE, 60 * NANO_PER_CREDIT)
    assert table.expired(99.0) == []


def test_the_first_balance_replaces_no_allotment() -> None:
    """The balance in the authorization of a key is no allotment."""
    table, credit = opened(topup=1)
    announce(table, 90, revision=1)
    spend(table, credit, 30, 1)
    assert credit.status is CreditStatus.AVAILABLE


def test_what_is_not_announced_in_time_is_overdue() -> None:
    """Counted from the first message that waits; a balance that includes all ends the wait."""
    table, credit = opened()
    assert table.overdue(99.0) == []
    spend(table, credit, 1, 1, now=100.0)
    spend(table, credit, 1, 2, now=100.9)
    assert table.overdue(100.0 + OVERDUE_S) == []
    assert table.overdue(100.1 + OVERDUE_S) == ["a"]
    announce(table, 99, revision=1, through=1, now=101.0)
    assert table.overdue(101.0 + OVERDUE_S) == []
    assert table.overdue(101.1 + OVERDUE_S) == ["a"]
    announce(table, 98, revision=2, through=2, now=102.0)
    assert table.overdue(200.0) == []


def test_only_producers_with_pending_messages_are_asked_about() -> None:
    """The producers whose messages are in no balance yet."""
    table, credit = opened()
    assert table.producers == []
    spend(table, credit, 1, 1)
    assert table.producers == [P]
    table.acknowledged(P, 1)
    assert table.producers == []


@pytest.mark.parametrize(
    ("letter", "length"), [("a", 20), ("a", ID_CHARS_MAX), ("𝄞", ID_CHARS_MAX)]
)
def test_a_request_for_balances_fits_into_one_message(letter: str, length: int) -> None:
    """A longer one would cost the connection, and with it every other request."""
    names = [f"{number:05}".rjust(length, letter) for number in range(ASKED_MAX + 1)]
    asked = list(portions(names))
    assert [name for some in asked for name in some] == names
    for some in asked:
        assert 0 < len(some) <= ASKED_MAX
        params = {"accounts": some, "producers": [P] * PRODUCERS_MAX}
        assert len(encode_request(Request("balances", params))) <= MESSAGE_BYTES_MAX


@pytest.mark.parametrize(
    ("costs", "near_at"),
    [
        # what responses cost one after the other; the allotment left at which it is near empty
        ([], 0),
        ([40], 400),
        ([40, 40], 400),
        ([40, 80], 500),  # a quarter of a change counts
        ([80, 40], 700),
        ([40, 43], 407),  # in whole nano-credits, rounded down
    ],
)
def test_the_typical_response_follows_the_last_ones(costs: list[int], near_at: int) -> None:
    """Near empty is ten typical responses: each new one moves the average by a quarter."""
    table, credit = opened()
    announce(table, 10_000, revision=1)
    for number, cost in enumerate(costs, start=1):
        spend(table, credit, cost, number)
        announce(table, 10_000, revision=1 + number, through=number)
    announce(table, near_at + 1, revision=100, through=len(costs))
    assert not credit.is_near_empty
    announce(table, near_at, revision=101, through=len(costs))
    assert credit.is_near_empty


def test_a_transcription_does_not_change_the_typical_response() -> None:
    """It costs little, and comes beside each response."""
    table, credit = opened()
    announce(table, 401, revision=1)
    spend(table, credit, 40, 1)
    announce(table, 401, revision=2, through=1)
    credit.metered(0, is_response=False)
    assert not credit.is_near_empty


def test_messages_wait_for_a_balance_of_their_own_producer() -> None:
    """A gateway may have several: its own, and those of journals that it adopted."""
    table, credit = opened()
    spend(table, credit, 1, 1)
    assert credit.awaits(P)
    assert not credit.awaits(b"q" * 16)


def test_time_alone_changes_a_session_only_where_an_old_allotment_held_it() -> None:
    """Expiry of a bound that held nobody is no news."""
    table, credit = opened()
    announce(table, 90, revision=1, gateways=3)
    announce(table, 90, revision=2, gateways=3)
    assert credit.is_waiting
    assert credit.expire_allotments(now=LATE_S) is False, "it allowed what it allows now"
    assert not credit.is_waiting
    assert credit.expire_allotments(now=2 * LATE_S) is False, "there is none"
    spend(table, credit, 30, 1)
    announce(table, 60, revision=3, gateways=3, through=1, now=10.0)
    assert credit.status is CreditStatus.ALLOTMENT_SPENT
    assert credit.expire_allotments(now=10.0 + LATE_S / 2) is False, "it still binds"
    assert credit.expire_allotments(now=10.0 + LATE_S) is True
    assert credit.status is CreditStatus.AVAILABLE
