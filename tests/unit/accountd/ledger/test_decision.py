"""The decisions about usage messages, as tables; the state is a dictionary."""

import msgpack
import pytest

from accountd.ledger.cascade import Deduction
from accountd.ledger.charging import BALANCE_MIN, Balance, Unchargeable
from accountd.ledger.decision import AlreadyCharged, decide_retry
from accountd.ledger.decision_types import Charge, Rejection, Retried
from accountd.ledger.estimates import EstimatePolicy
from accountd.ledger.payload_digests import digest_of
from shared.fields import RejectReason
from shared.rate_card import read_rates
from shared.usage import InvalidUsage, Kind
from shared.wire import encode_usage
from tests.support.memory_ledger import END, NOW, Memory, P, Q, sent, usage

ORDERS = [
    # sent, applied, duplicates, watermark, ahead
    ((1, 2, 3), 3, 0, 3, set()),
    ((3, 2, 1), 3, 0, 3, set()),
    ((1, 1, 2, 1), 2, 2, 2, set()),
    ((2,), 1, 0, 0, {2}),
    ((1, 3, 3, 5), 3, 1, 1, {3, 5}),
    ((5, 4, 2, 1), 4, 0, 2, {4, 5}),
]


@pytest.mark.parametrize(("order", "applied", "duplicates", "watermark", "ahead"), ORDERS)
@pytest.mark.parametrize("grouped", [True, False])
def test_each_sequence_counts_once(
    order: tuple[int, ...],
    applied: int,
    duplicates: int,
    watermark: int,
    ahead: set[int],
    grouped: bool,
) -> None:
    """In one group or message by message: the same rows, watermark and money."""
    memory = Memory()
    groups = [sent(*order)] if grouped else [[m] for m in sent(*order)]
    decisions = [memory.apply(*group) for group in groups]
    assert sum(d.applied for d in decisions) == applied
    assert sum(d.duplicates for d in decisions) == duplicates
    assert decisions[-1].watermarks == {P: watermark}
    assert memory.stored[P] == (watermark, ahead, None)
    left = memory.accounts["a"]
    assert left.topup + left.tokens == 1_100 - sum(set(order))


def test_the_cascade_runs_over_the_group() -> None:
    """Each charge sees what the one before it left."""
    charges = Memory().apply(*sent(1, 2, 3, payload=usage(40))).charges
    assert [c.deduction for c in charges] == [
        Deduction(40, 0), Deduction(40, 0), Deduction(20, 20),
    ]  # fmt: skip


REJECTED = [
    (b"\xc1", RejectReason.UNREADABLE),
    (usage(account_id="nobody"), RejectReason.UNKNOWN_ACCOUNT),
    (usage(kind="gift"), RejectReason.BAD_FIELD),
    (msgpack.packb({"v": 9}), RejectReason.UNKNOWN_VERSION),
    (encode_usage(InvalidUsage("a", "s", "p", "m", "r", "bad", "{}", 0)),
     RejectReason.UNREADABLE_USAGE),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "reason"), REJECTED)
def test_what_cannot_be_applied_is_quarantined_and_counts_as_received(
    payload: bytes, reason: RejectReason
) -> None:
    """The watermark moves, no balance does, and a resend is a plain duplicate."""
    memory = Memory()
    first, again = memory.apply(*sent(1, payload=payload)), memory.apply(*sent(1, payload=payload))
    assert first.rejected == {reason: 1}
    (rejection,) = first.rejections
    assert (rejection.producer, rejection.sequence, rejection.payload) == (P, 1, payload)
    assert first.watermarks == {P: 1}
    assert not first.balances
    assert (again.duplicates, again.rejections) == (1, [])


def test_a_charge_below_64_bits_is_refused() -> None:
    """It goes to quarantine; the one that still fits is charged."""
    memory = Memory(accounts={"a": Balance(0, BALANCE_MIN + 15)})
    decision = memory.apply(*sent(1, 2, payload=usage(10)))
    assert (decision.applied, decision.rejected) == (1, {RejectReason.OUT_OF_RANGE: 1})
    assert memory.accounts["a"] == Balance(0, BALANCE_MIN + 5)


@pytest.mark.parametrize("grouped", [True, False])
def test_other_content_under_a_known_sequence_is_a_conflict(grouped: bool) -> None:
    """Kept whole, once; never charged, never called a duplicate; the first one stays applied."""
    memory = Memory()
    messages = [*sent(1), *sent(1, payload=usage(77)), *sent(1, payload=usage(77)), *sent(1)]
    groups = [messages] if grouped else [[m] for m in messages]
    decisions = [memory.apply(*group) for group in groups]
    (rejection,) = [r for d in decisions for r in d.rejections]
    assert (rejection.reason, rejection.payload) == (RejectReason.CONFLICT, usage(77))
    assert (rejection.producer, rejection.sequence) == (P, 1)
    assert sum(d.conflicts for d in decisions) == 2
    assert sum(d.duplicates for d in decisions) == 1
    assert sum(d.applied for d in decisions) == 1
    assert memory.accounts["a"] == Balance(99, 1_000)
    assert memory.apply(*sent(1, payload=usage(78))).rejected == {RejectReason.CONFLICT: 1}


def test_a_conflict_is_noticed_ahead_of_the_watermark_too() -> None:
    """A sequence applied beyond a gap is compared like any other."""
    memory = Memory()
    memory.apply(*sent(5))
    assert memory.apply(*sent(5, payload=usage(1))).conflicts == 1


def test_after_a_restart_other_content_is_a_conflict() -> None:
    """What was applied and what was quarantined are both known from their rows."""
    memory = Memory()
    memory.apply(*sent(1, 2, 4))
    for restart in range(2):
        memory.restart()
        decision = memory.apply(*sent(1, payload=usage(77)), *sent(1), *sent(4, payload=b"junk"))
        assert (decision.duplicates, decision.conflicts, decision.applied) == (1, 2, 0)
        kept = {} if restart else {RejectReason.CONFLICT: 2}
        assert decision.rejected == kept, "a conflict is quarantined once, whenever it comes again"


def test_what_is_in_quarantine_is_compared_after_a_restart_too() -> None:
    """Another payload under the sequence of a rejected one is a conflict, the same one is not."""
    memory = Memory()
    memory.apply(*sent(1, payload=b"junk"))
    memory.restart()
    decision = memory.apply(*sent(1, payload=b"junk"), *sent(1))
    assert (decision.duplicates, decision.conflicts) == (1, 1)


def test_the_state_is_asked_once_for_what_memory_does_not_know() -> None:
    """One question a group, and none for what was applied or compared by this process."""
    memory = Memory()
    memory.apply(*sent(1, 2, 3))
    assert memory.apply(*sent(1, 2, 3, 4)).duplicates == 3
    assert memory.questions == []
    memory.restart()
    memory.apply(*sent(5))
    assert memory.apply(*sent(1, 2, 3, 5, 2)).duplicates == 5
    assert memory.apply(*sent(1, 2, 3, 5, 6)).duplicates == 4
    assert memory.questions == [{(P, 1), (P, 2), (P, 3)}]


def test_a_row_from_before_digests_were_kept_is_not_compared() -> None:
    """What repeats it is a duplicate: nothing is charged, nothing is alarmed."""
    memory = Memory()
    memory.apply(*sent(1))
    memory.restart()
    memory.kept[P, 1] = None
    decision = memory.apply(*sent(1, payload=usage(77)))
    assert (decision.duplicates, decision.conflicts, decision.applied) == (1, 0, 0)


@pytest.mark.parametrize("ends", [(2,), (2, 3)])
def test_usage_under_the_number_of_an_end_is_a_conflict(ends: tuple[int, ...]) -> None:
    """An end leaves no row; after a restart only another end passes for it."""
    memory = Memory()
    memory.apply(*sent(1), *sent(*ends, payload=END))
    for again in range(2):
        memory.restart()
        decision = memory.apply(*sent(*ends, payload=END), *sent(*ends))
        assert (decision.duplicates, decision.conflicts) == (len(ends), len(ends))
        assert len(decision.rejections) == (0 if again else len(ends))


OVERRUNS = [
    # sequences of usage, of end markers, whether somebody went on
    ((1, 2), (3,), False),
    ((1, 2, 4), (3,), True),
    ((5,), (3,), True),
    ((1,), (5,), False),
    ((1,), (2, 3), True),
]


@pytest.mark.parametrize(("usages", "ends", "is_overrun"), OVERRUNS)
def test_what_is_beyond_an_end_is_reported(
    usages: tuple[int, ...], ends: tuple[int, ...], is_overrun: bool
) -> None:
    """In the group that brings it, in whatever order; repetitions report nothing."""
    for messages in (
        [*sent(*usages), *sent(*ends, payload=END)],
        [*sent(*ends, payload=END), *sent(*usages)],
    ):
        memory = Memory()
        overrun = {producer for m in messages for producer in memory.apply(m).overrun}
        assert overrun == ({P} if is_overrun else set())
        assert memory.apply(*messages).overrun == []


def test_a_doubtful_response_waits_in_quarantine() -> None:
    """It is charged by nobody but an operator, and then as the response that it is."""
    memory = Memory()
    doubtful = usage(7, kind=Kind.DOUBTFUL)
    decision = memory.apply(*sent(1, payload=doubtful))
    assert (decision.applied, decision.rejected) == (0, {RejectReason.DOUBTFUL: 1})
    decided = decide_retry(decision.rejections[0], state=memory)
    assert isinstance(decided, tuple)
    charge, left, _ = decided
    assert left == Balance(93, 1_000)
    assert (charge.producer, charge.sequence, charge.batch.kind) == (P, 1, Kind.RESPONSE)
    assert decision.applied_digests == {P: {1: digest_of(doubtful)}}, "its number was applied"
    memory.restart()
    assert memory.apply(*sent(1, payload=doubtful)).duplicates == 1
    assert memory.apply(*sent(1, payload=usage(8))).conflicts == 1


def test_an_end_marker_is_known_by_its_digest() -> None:
    """After a restart, too: it repeats as itself, and other content under its number conflicts."""
    memory, end = Memory(), END
    memory.apply(*sent(1, payload=end))
    memory.restart()
    assert memory.apply(*sent(1, payload=end)).duplicates == 1
    assert memory.apply(*sent(1, payload=usage(8))).conflicts == 1


RETRIES = [
    # reason, ids of the message, charged of its session, what of it stands in the way
    (RejectReason.CONFLICT, ("a", "b", "c"), {"b", "c", "z"}, ("b", "c")),
    (RejectReason.CONFLICT, ("a",), {"z"}, None),
    (RejectReason.DOUBTFUL, ("a",), {"a"}, ("a",)),
    (RejectReason.DOUBTFUL, ("a",), set(), None),
    (RejectReason.UNKNOWN_ACCOUNT, ("a",), {"a"}, None),
]


@pytest.mark.parametrize(("reason", "names", "charged", "doubled"), RETRIES)
def test_a_retry_charges_no_response_twice(
    reason: RejectReason,
    names: tuple[str, ...],
    charged: set[str],
    doubled: tuple[str, ...] | None,
) -> None:
    """What a copied or damaged spool brought is compared with what the session was charged."""
    payload = usage(5, responses=len(names), response_ids=names)
    rejection = Rejection(P, 1, reason, "", payload, NOW)
    decided = decide_retry(rejection, state=Memory(charged=charged))
    if doubled is None:
        assert isinstance(decided, tuple)
        assert isinstance(decided[0], Charge)
    else:
        assert decided == AlreadyCharged(doubled, len(names))
        assert not isinstance(decided, (Unchargeable, tuple))
        assert ", ".join(doubled) in decided.detail


def test_a_refusal_names_a_bounded_number_of_responses() -> None:
    """A batch may hold a thousand."""
    detail = AlreadyCharged(tuple(f"r{n}" for n in range(12)), 20).detail
    assert detail.startswith("12 of 20 responses are charged: r0, ")
    assert detail.endswith("r9 …")


def test_a_group_that_was_not_committed_is_not_remembered() -> None:
    """Deciding twice about one group gives one answer: nothing but the state was read."""
    memory = Memory()
    first, second = memory.decide(*sent(1)), memory.decide(*sent(1, payload=usage(77)))
    assert (first.applied, second.applied, second.conflicts) == (1, 1, 0)
    assert len(memory.recent) == 0


def test_duplicates_alone_have_a_watermark_and_nothing_to_write() -> None:
    """The gateway that sends again must hear the answer again."""
    memory = Memory()
    memory.apply(*sent(1, 2))
    decision = memory.apply(*sent(2, 1))
    assert decision.watermarks == {P: 2}
    written = (decision.charges, decision.rejections, decision.balances, decision.windows)
    assert not any(written)


ENDS = [
    # sequences of usage, of end markers; watermark, ended_at, what is missing
    ((1, 2), (3,), 3, 3, []),
    ((1, 3), (4,), 1, 4, [2]),
    ((), (1,), 1, 1, []),
    ((1, 2, 4), (3,), 4, 3, []),
    ((1,), (5,), 1, 5, [2, 3, 4]),
    ((1,), (3, 2), 3, 2, []),
]


@pytest.mark.parametrize(("usages", "ends", "watermark", "ended_at", "missing"), ENDS)
def test_an_end_marker_is_a_message_like_any_other(
    usages: tuple[int, ...],
    ends: tuple[int, ...],
    watermark: int,
    ended_at: int,
    missing: list[int],
) -> None:
    """It counts, costs nothing and says where the producer stopped; what is beyond is applied."""
    memory = Memory()
    decision = memory.apply(*sent(*ends, payload=END), *sent(*usages))
    assert decision.applied == len(usages)
    assert decision.watermarks == {P: watermark}
    assert memory.stored[P][2] == ended_at
    assert decision.windows[P].missing(at_most=9) == missing


@pytest.mark.parametrize(("is_charged", "left"), [(False, 100), (True, 90)])
def test_estimates_are_charged_only_on_request(is_charged: bool, left: int) -> None:
    """Recorded and numbered in any case."""
    memory = Memory()
    policy = EstimatePolicy(are_charged=is_charged)
    decision = memory.apply(*sent(1, payload=usage(kind="estimate")), estimates=policy)
    (charge,) = decision.charges
    assert charge.batch.kind == "estimate"
    assert charge.deduction == Deduction(100 - left, 0)
    assert memory.accounts["a"] == Balance(left, 1_000)


def test_producers_do_not_share_sequences() -> None:
    """Each has a window of its own."""
    decision = Memory().apply(*sent(1, 2), *sent(1, producer=Q), *sent(3, producer=Q))
    assert decision.watermarks == {P: 2, Q: 1}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x01", RejectReason.UNREADABLE),
        (END, RejectReason.UNREADABLE_USAGE),
        (usage(account_id="nobody"), RejectReason.UNKNOWN_ACCOUNT),
    ],
)
def test_a_retry_of_what_cannot_be_charged_says_why(payload: bytes, reason: RejectReason) -> None:
    """As it would of a message that comes for the first time."""
    rejection = Rejection(P, 1, RejectReason.UNKNOWN_ACCOUNT, "", payload, NOW)
    refused = decide_retry(rejection, state=Memory())
    assert isinstance(refused, Unchargeable)
    assert refused.reason is reason
    assert refused.detail


def test_a_retry_of_a_conflict_is_charged_under_no_number() -> None:
    """The first message has it."""
    payload = usage(5)
    rejection = Rejection(P, 1, RejectReason.CONFLICT, "", payload, NOW)
    retried = decide_retry(rejection, state=Memory())
    assert isinstance(retried, Retried)
    assert (retried.charge.producer, retried.charge.sequence) == (None, None)
    assert retried.left == Balance(95, 1_000)


def test_a_retry_costs_what_it_costs_now() -> None:
    """By the card in force, whatever it was when the message came."""
    rates = read_rates(b'version = "v"\n[[rates]]\ninput = 3_000_000\noutput = 3_000_000\n')
    rejection = Rejection(P, 1, RejectReason.UNKNOWN_ACCOUNT, "", usage(5), NOW)
    retried = decide_retry(rejection, state=Memory(), rates=rates)
    assert isinstance(retried, Retried)
    assert retried.left == Balance(85, 1_000)
    assert retried.charge.rate_card == "v"


def test_a_retry_of_a_doubtful_transcription_is_a_transcription() -> None:
    """A doubtful response says what it was."""
    payload = usage(5, kind=Kind.DOUBTFUL, doubtful_kind=Kind.TRANSCRIPTION)
    rejection = Rejection(P, 1, RejectReason.DOUBTFUL, "", payload, NOW)
    retried = decide_retry(rejection, state=Memory())
    assert isinstance(retried, Retried)
    assert (retried.charge.batch.kind, retried.charge.batch.doubtful_kind) == (
        Kind.TRANSCRIPTION, "",
    )  # fmt: skip


def test_a_retried_estimate_takes_nothing_below_the_bound() -> None:
    """It is let off like one that comes for the first time, and charged where all are."""
    rejection = Rejection(P, 1, RejectReason.UNKNOWN_ACCOUNT, "", usage(5, kind=Kind.ESTIMATE), NOW)
    free = decide_retry(rejection, state=Memory())
    charged = decide_retry(rejection, state=Memory(), estimates=EstimatePolicy(are_charged=True))
    assert isinstance(free, Retried)
    assert isinstance(charged, Retried)
    assert (free.left, charged.left) == (Balance(100, 1_000), Balance(95, 1_000))


def test_a_retried_shared_response_that_was_charged_is_refused() -> None:
    """Another socket has brought it since."""
    payload = usage(5, is_shared=True)
    memory = Memory()
    assert memory.apply(*sent(1, payload=payload)).applied == 1
    rejection = Rejection(Q, 1, RejectReason.UNKNOWN_ACCOUNT, "", payload, NOW)
    assert decide_retry(rejection, state=memory) == AlreadyCharged(("r",), 1)


@pytest.mark.parametrize(("payload", "is_conflict"), [(END, False), (b"\xc1 of nobody", True)])
def test_what_is_known_to_be_applied_and_left_no_row_was_an_end(
    payload: bytes, is_conflict: bool
) -> None:
    """After a restart nothing but an end marker passes for it, whatever its bytes are."""
    memory = Memory()
    memory.apply(*sent(1, payload=END))
    memory.restart()
    found = memory.apply(*sent(1, payload=payload)).rejections
    assert [one.reason for one in found] == [RejectReason.CONFLICT] * is_conflict
