"""The decisions about usage messages, as tables; the state is a dictionary."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

from accountd.cascade import Deduction
from accountd.ingest import (
    BALANCE_MIN,
    Balance,
    Decision,
    ProducerWindow,
    RecentDigests,
    Verdict,
    decide,
)
from shared.wire import (
    EndOfProducer,
    InvalidUsage,
    RejectReason,
    Usage,
    UsageBatch,
    encode_envelope,
    encode_usage,
)

NOW = "2026-11-24T12:00:00.000Z"
P, Q = b"p" * 16, b"q" * 16
END = encode_usage(EndOfProducer())


def usage(tokens: int = 10, **changes: Any) -> bytes:
    """A payload of one response of the account ``a``."""
    fields: dict[str, Any] = {
        "account_id": "a", "session_id": "s", "provider": "openai", "model": "m",
        "kind": "response", "responses": 1, "response_ids": ("r",),
        "usage": Usage(tokens, 0, tokens), "metered_at_ms": 0,
    }  # fmt: skip
    return encode_usage(UsageBatch(**{**fields, **changes}))


@dataclass
class Memory:
    """A database in memory: what was decided is written, and remembered, at once."""

    accounts: dict[str, Balance] = field(default_factory=lambda: {"a": Balance(100, 1_000)})
    stored: dict[bytes, tuple[int, set[int], int | None]] = field(default_factory=dict)
    recent: RecentDigests = field(default_factory=RecentDigests)

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """Windows of their own."""
        return {p: ProducerWindow(*self.stored[p]) for p in producers if p in self.stored}

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """Balances of known accounts."""
        return {a: self.accounts[a] for a in accounts if a in self.accounts}

    def decide(self, *messages: list[bytes], charge_estimates: bool = False) -> Decision:
        """What is decided about a group, written nowhere."""
        return decide(
            messages, state=self, recent=self.recent, now=NOW, charge_estimates=charge_estimates
        )

    def apply(self, *messages: list[bytes], **options: bool) -> Decision:
        """Decide, write, remember."""
        decision = self.decide(*messages, **options)
        self.accounts.update(decision.balances)
        for producer, window in decision.windows.items():
            self.stored[producer] = (window.applied_through, window.ahead, window.ended_at)
        self.recent.remember(decision.digests)
        return decision


def sent(*sequences: int, producer: bytes = P, payload: bytes | None = None) -> list[list[bytes]]:
    """Messages of one producer; each sequence has its own content unless ``payload`` is given."""
    return [encode_envelope(producer, n, payload or usage(n)) for n in sequences]


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


def test_without_memory_a_repetition_is_a_duplicate() -> None:
    """After a restart nothing can be compared, and nothing is charged."""
    memory = Memory()
    memory.apply(*sent(1))
    memory.recent = RecentDigests()
    decision = memory.apply(*sent(1, payload=usage(77)))
    assert (decision.duplicates, decision.conflicts, decision.applied) == (1, 0, 0)


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
    decision = memory.apply(*sent(1, payload=usage(kind="estimate")), charge_estimates=is_charged)
    (charge,) = decision.charges
    assert charge.batch.kind == "estimate"
    assert charge.deduction == Deduction(100 - left, 0)
    assert memory.accounts["a"] == Balance(left, 1_000)


def test_producers_do_not_share_sequences() -> None:
    """Each has a window of its own."""
    decision = Memory().apply(*sent(1, 2), *sent(1, producer=Q), *sent(3, producer=Q))
    assert decision.watermarks == {P: 2, Q: 1}


def test_digests_are_forgotten_oldest_first() -> None:
    """The memory is bounded; what is known already does not count twice."""
    recent = RecentDigests(entries_max=3)
    recent.remember({(P, n): n for n in (1, 2, 3)})
    recent.remember({(P, 3): 3})
    assert len(recent) == 3
    recent.remember({(P, 4): 4})
    assert [recent.get((P, n)) for n in (1, 2, 3, 4)] == [None, 2, 3, 4]


def test_missing_sequences_are_bounded() -> None:
    """A hole of any size costs what is shown of it."""
    window = ProducerWindow(0, {2**62, 2**62 + 3}, 2**63 - 1)
    assert window.missing(at_most=3) == [1, 2, 3]
    assert window.judge(2) is Verdict.APPLY
    assert window.missing(at_most=2) == [1, 3]
