"""A response that several sockets report is charged once: the decisions, with a state in memory."""

import itertools
from typing import Any

import pytest

from accountd.ledger.cascade import Deduction
from accountd.ledger.charging import Balance
from accountd.ledger.decision import AlreadyCharged, decide_retry
from accountd.ledger.decision_types import Rejection, Retried
from accountd.ledger.shared_responses import name_of
from accountd.ledger.windows import Verdict
from shared.fields import RejectReason
from shared.usage import Kind, UsageBatch
from shared.wire import decode_usage, encode_envelope
from tests.support.memory_ledger import Memory, P, Q, sent, usage


def shared(tokens: int = 10, **changes: Any) -> bytes:
    """A payload of one response of the account ``a`` that another socket may report, too."""
    return usage(tokens, is_shared=True, **changes)


def heard(producer: bytes, sequence: int, payload: bytes) -> list[bytes]:
    """A message."""
    return encode_envelope(producer, sequence, payload)


TWICE: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    # what, the first, the second, charged in all
    ("the same response", {}, {}, 10),
    ("in another session", {"session_id": "s1"}, {"session_id": "s2"}, 10),
    ("by another count", {"tokens": 10}, {"tokens": 12}, 10),
    ("another response", {}, {"response_ids": ("q",)}, 20),
    ("another provider's", {}, {"provider": "azure"}, 20),
    ("its seconds", {}, {"kind": "duration"}, 20),
    ("its transcription", {}, {"kind": "transcription"}, 20),
    ("its seconds, twice", {"kind": "duration"}, {"kind": "duration"}, 10),
    ("then an estimate of it", {}, {"kind": "estimate"}, 10),
    ("after an estimate that was let off", {"kind": "estimate"}, {}, 10),
    ("not shared", {"is_shared": False}, {"is_shared": False}, 20),
    ("not shared at first", {"is_shared": False}, {}, 20),
    ("not shared later", {}, {"is_shared": False}, 20),
]


@pytest.mark.parametrize(("what", "first", "second", "charged"), TWICE, ids=[t[0] for t in TWICE])
@pytest.mark.parametrize("is_grouped", [True, False])
def test_one_response_is_charged_once(
    what: str, first: dict[str, Any], second: dict[str, Any], charged: int, is_grouped: bool
) -> None:
    """In one group or in two, by two producers; what it is not is charged as ever."""
    memory = Memory()
    messages = [
        heard(P, 1, usage(**{"is_shared": True, **first})),
        heard(Q, 1, usage(**{"is_shared": True, **second})),
    ]
    for group in [messages] if is_grouped else [[message] for message in messages]:
        memory.apply(*group)
    assert 1_100 - memory.accounts["a"].total == charged, what
    assert memory.stored == {P: (1, set(), None), Q: (1, set(), None)}


def test_each_account_pays_for_itself() -> None:
    """An id is one account's; another's may be called the same."""
    memory = Memory(accounts={"a": Balance(0, 100), "b": Balance(0, 100)})
    memory.apply(heard(P, 1, shared()), heard(Q, 1, shared(account_id="b")))
    assert [balance.total for balance in memory.accounts.values()] == [90, 90]


def test_a_resend_of_a_repetition_is_a_duplicate() -> None:
    """After a restart as well; anything else under its number is a conflict."""
    memory = Memory()
    memory.apply(heard(P, 1, shared()), heard(Q, 1, shared()))
    memory.restart()
    decision = memory.apply(heard(Q, 1, shared()), heard(P, 1, shared()))
    assert (decision.duplicates, decision.conflicts, decision.applied) == (2, 0, 0)
    decision = memory.apply(heard(Q, 1, shared(11)))
    assert (decision.duplicates, decision.conflicts) == (0, 1)


def test_a_repetition_is_written_down_and_its_account_announced() -> None:
    """It leaves no charge, and its producer goes on."""
    memory = Memory()
    memory.apply(heard(P, 1, shared()))
    decision = memory.decide(heard(Q, 1, shared()))
    (repetition,) = decision.repeated
    assert (repetition.producer, repetition.sequence) == (Q, 1)
    assert decision.charges == [] == decision.rejections
    assert decision.balances == {"a": Balance(100 - 10, 1_000)}
    assert decision.windows[Q].judge(1) is Verdict.DUPLICATE


def test_the_state_is_asked_once_and_only_about_what_is_shared() -> None:
    """Most groups ask nothing."""
    memory = Memory()
    memory.apply(*sent(1, 2, 3))
    assert memory.shared_asked == []
    memory.apply(*(heard(P, n, shared(response_ids=(f"r{n % 2}",))) for n in range(4, 8)))
    names = {name_of(batch(shared(response_ids=(f"r{n}",)))) for n in range(2)}
    assert memory.shared_asked == [names]


def batch(payload: bytes) -> UsageBatch:
    """What a payload says."""
    found = decode_usage(payload)
    assert isinstance(found, UsageBatch)
    return found


def test_what_could_not_be_charged_is_no_charge() -> None:
    """A response of an account that is not there waits in quarantine; so does its repetition."""
    memory = Memory()
    decision = memory.apply(
        heard(P, 1, shared(account_id="x")), heard(Q, 1, shared(account_id="x"))
    )
    assert [r.reason for r in decision.rejections] == [RejectReason.UNKNOWN_ACCOUNT] * 2
    assert decision.repeated == []


def retried(memory: Memory, payload: bytes, reason: RejectReason) -> Any:
    """The decision about a message in quarantine."""
    return decide_retry(Rejection(Q, 9, reason, "", payload, "then"), state=memory)


DOUBTFUL = {"kind": Kind.DOUBTFUL, "doubtful_kind": Kind.RESPONSE}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [(RejectReason.UNKNOWN_ACCOUNT, {}), (RejectReason.DOUBTFUL, DOUBTFUL)],
)
def test_a_retry_does_not_charge_what_another_socket_did(
    reason: RejectReason, changes: dict[str, Any]
) -> None:
    """In another session of the account: only the response's own id says so."""
    memory = Memory()
    payload = shared(**changes)
    assert isinstance(retried(memory, payload, reason), Retried)
    memory.apply(heard(P, 1, shared(session_id="observer")))
    assert retried(memory, payload, reason) == AlreadyCharged(("r",), 1)


def test_names_are_of_every_part() -> None:
    """No two lists of parts run together into one name."""
    parts = ["", "a", "ab", "b", "1:a"]
    names = {
        name_of(batch(shared(provider=provider, account_id=account, response_ids=(name,))))
        for provider, account, name in itertools.product(parts, parts, parts[1:])
    }
    assert {len(name) for name in names} == {16}
    assert len(names) == len(parts) * len(parts) * (len(parts) - 1)


def test_an_estimate_that_was_charged_counts() -> None:
    """Usage that another socket reports later is a repetition then: one response, one charge."""
    memory = Memory()
    for number in range(3):
        memory.apply(heard(P, number + 1, usage(kind="estimate", response_ids=(f"e{number}",))))
    (charge,) = memory.apply(heard(P, 4, shared(kind="estimate"))).charges
    assert charge.deduction == Deduction(10, 0)
    assert len(memory.apply(heard(Q, 1, shared())).repeated) == 1


def test_a_repetition_of_an_account_that_is_gone_announces_nothing() -> None:
    """It is written down all the same: the message counts as applied."""
    memory = Memory()
    memory.apply(heard(P, 1, shared()))
    del memory.accounts["a"]
    decision = memory.apply(heard(Q, 1, shared()))
    assert [(one.producer, one.sequence) for one in decision.repeated] == [(Q, 1)]
    assert decision.balances == {}
