"""Usage rows and their index: through restarts, rollbacks and any size of group."""

import random
from contextlib import closing
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.models import Account, UsageMetric
from accountd.ledger.cascade import Deduction
from accountd.ledger.decision_types import Charge
from accountd.ledger.response_ids import unpack
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.reports import account_usage
from accountd.reports.account_usage import newest_rows
from accountd.reports.audit import audit
from accountd.reports.period import Period
from accountd.request_params import Params
from shared.usage import USAGE_FIELDS, Usage, UsageBatch
from tests.support.database import KEY, empty_database

BY_ACCOUNT = """
    SELECT u.id, u.metered_at, u.total_tokens, u.token_deducted FROM usage_by_account u
    WHERE u.account = (SELECT number FROM usage_accounts WHERE account_id = ?) ORDER BY u.id
"""


def rows_of(connection: Any) -> UsageRows:
    """A writer whose segments are small."""
    return UsageRows(connection, UsageIndex(connection, segment_rows=10, portion_rows=4))


def charge(number: int) -> Charge:
    """A charge that differs from all others in each of its fields."""
    rng = random.Random(number)
    counts = [rng.randrange(1, 2**31) for _ in USAGE_FIELDS]
    kind = rng.choice(["response", "transcription", "estimate", "duration"])
    batch = UsageBatch(
        f"account {rng.randrange(4)}", f"session {rng.randrange(9)}", "openai",
        f"model {rng.randrange(3)}", kind, 5, tuple(f"r{number}.{n}" for n in range(5)),
        Usage(*counts), rng.randrange(2**41), tuple('{"x":1}' for _ in range(rng.randrange(2))),
    )  # fmt: skip
    unpriced = ("web_search", "other")[: rng.randrange(3)]
    deduction = Deduction(rng.randrange(9), rng.randrange(2**40))
    producer = rng.choice([None, b"p" * 16, b"q" * 16])
    return Charge(
        producer, number + 1 if producer else None, batch, deduction,
        rng.choice(["", "2026-11"]), unpriced, rng.randrange(3),
    )  # fmt: skip


def as_stored(number: int) -> dict[str, Any]:
    """The row of a charge, as readers see it."""
    made = charge(number)
    batch = made.batch
    return {
        "account_id": batch.account_id, "session_id": batch.session_id, "model": batch.model,
        "provider": batch.provider, "kind": batch.kind, "responses": batch.responses,
        "rate_card": made.rate_card, "unpriced": ",".join(made.unpriced), "waived": made.waived,
        "metered_at": batch.metered_at_ms, "producer": made.producer, "sequence": made.sequence,
        "topup_deducted": made.deduction.topup, "token_deducted": made.deduction.tokens,
        "credits": made.deduction.topup + made.deduction.tokens,
        **{name: getattr(batch.usage, name) for name in USAGE_FIELDS},
    }  # fmt: skip


def test_a_row_says_what_its_charge_said() -> None:
    """Every field, through the names and numbers and back."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        with usage.transaction():
            first = usage.append([charge(n) for n in range(50)])
        for number, row in enumerate(UsageMetric.select().order_by(UsageMetric.id)):
            expected = as_stored(number)
            assert row.id == first + number
            assert {name: getattr(row, name) for name in expected} == expected
            assert unpack(row.response_ids) == [f"r{number}.{n}" for n in range(5)]
        assert UsageMetric.select().count() == 50


@pytest.mark.parametrize("seed", range(6))
def test_the_index_has_every_row_once(seed: int) -> None:
    """Groups of any size, rollbacks in between, and restarts in the middle of a segment."""
    rng, written = random.Random(seed), 0
    with empty_database() as opened:
        connection = opened.connection()
        usage = rows_of(connection)
        for _ in range(60):
            size = rng.choice([0, 1, 1, 2, 3, 8])
            try:
                with usage.transaction():
                    usage.append([charge(written + n) for n in range(size)])
                    if rng.random() < 0.2:
                        raise InterruptedError  # as a full disk does
            except InterruptedError:
                continue
            finally:
                if rng.random() < 0.1:
                    usage = rows_of(connection)
            written += size
        stored = [as_stored(number) for number in range(written)]
        for account in {row["account_id"] for row in stored}:
            mine = [
                (number, row["metered_at"], row["total_tokens"], row["token_deducted"])
                for number, row in enumerate(stored, start=1)
                if row["account_id"] == account
            ]
            assert connection.execute(BY_ACCOUNT, (account,)).fetchall() == mine
        (segments,) = connection.execute("SELECT count(*) FROM usage_segments").fetchone()
        assert segments >= written // 10 - 4
        assert audit(Params({}))["wrong_segments"] == []


def test_the_audit_finds_a_segment_that_differs() -> None:
    """An entry with another deduction than its row: statements would not add up."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        for number in range(30):
            with usage.transaction():
                usage.append([charge(number)])
        wrong = "UPDATE usage_entries SET token_deducted = 5 WHERE segment = 2 AND id = 12"
        opened.execute_sql(wrong)
        found = audit(Params({}))
        assert (found["ok"], found["wrong_segments"]) == (False, [2])


@pytest.mark.parametrize(
    ("kept", "then"),
    [
        ({1: 7, 2: 8}, {2: 9}),
        ({1: 7, 2: 8}, {1: 7}),
        ({5: 1}, {4: 1, 5: 1}),
        ({4: 1}, {3: 1, 4: 1, 5: 1}),
    ],
)
def test_the_database_refuses_a_number_that_it_has(
    kept: dict[int, int], then: dict[int, int]
) -> None:
    """Whatever the code decides: no message is applied twice."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        with usage.transaction():
            usage.keep_digests({b"p" * 16: kept, b"q" * 16: dict.fromkeys(range(1, 9), 1)})
        with pytest.raises(sqlcipher.IntegrityError, match="applied twice"), usage.transaction():
            usage.keep_digests({b"p" * 16: then})


def test_numbers_with_holes_are_kept_in_runs() -> None:
    """Eight bytes each, and one row for those that follow each other."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        numbers = [1, 2, 3, 7, 9, 10]
        with usage.transaction():
            usage.keep_digests({b"p" * 16: {n: -n for n in reversed(numbers)}})
        found = opened.execute_sql("SELECT first, length(digests) FROM usage_digests").fetchall()
        assert found == [(1, 24), (7, 8), (9, 16)]
        with usage.transaction():
            usage.keep_digests({b"p" * 16: {4: 1, 5: 1, 6: 1, 8: 1}})
        total = opened.execute_sql("SELECT sum(length(digests)) / 8 FROM usage_digests")
        assert total.fetchone() == (10,)


def test_a_page_is_of_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that is completed while a page is read neither doubles nor hides a row."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        for number in range(0, 24, 4):
            with usage.transaction():
                usage.append([charge(number + n) for n in range(4)])
        with closing(sqlcipher.connect(opened.database, isolation_level=None)) as other:
            other.execute(f"PRAGMA key = \"x'{KEY}'\"")
            writer = rows_of(other)
            asked = account_usage.read

            def read(statement: str, parameters: dict[str, Any]) -> list[Any]:
                found = asked(statement, parameters)
                for number in range(100, 130, 5):
                    with writer.transaction():
                        writer.append([charge(number + n) for n in range(5)])
                return found

            monkeypatch.setattr(account_usage, "read", read)
            account = Account(id="account 1")
            expected = [n + 1 for n in range(24) if charge(n).batch.account_id == "account 1"]
            found = newest_rows(account, Period(None, None), before=25, limit=len(expected))
        assert [row.id for row in found] == expected[::-1]


SPEND = [
    ("UPDATE key_spending SET credits = credits + 1 WHERE key = 2", "key-b"),
    ("DELETE FROM usage_of_keys WHERE id = 1", "key-a"),
]


@pytest.mark.parametrize(("damage", "key"), SPEND, ids=["the sum", "a row"])
def test_the_audit_finds_a_sum_of_a_key_that_differs(damage: str, key: str) -> None:
    """From its rows, in either direction; what another key spent is right."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        with usage.transaction():
            usage.append([spent(7, "key-a"), spent(0, ""), spent(5, "key-b"), spent(2, "key-a")])
        assert audit(Params({}))["wrong_spending"] == []
        opened.connection().execute(damage)
        found = audit(Params({}))
        assert (found["ok"], [wrong["key_hash"] for wrong in found["wrong_spending"]]) == (
            False, [key],
        )  # fmt: skip


def test_what_a_key_spent_is_rolled_back_with_its_rows() -> None:
    """All of it or nothing, the number of the key as well."""
    with empty_database() as opened:
        usage = rows_of(opened.connection())
        for fails in (True, False):
            try:
                with usage.transaction():
                    usage.append([spent(7, "key-a")])
                    if fails:
                        raise InterruptedError  # as a full disk does
            except InterruptedError:
                continue
        assert opened.execute_sql("SELECT key, day, credits FROM key_spending").fetchall() == [
            (1, 3, 7)
        ]
        assert audit(Params({}))["wrong_spending"] == []


def spent(credits_: int, key_hash: str) -> Charge:
    """A charge of so many credits on the fourth day of 1970."""
    batch = UsageBatch(
        "a", "s", "openai", "m", "response", 1, ("r",), Usage(total_tokens=credits_),
        3 * 24 * 3_600_000 + 5, key_hash=key_hash,
    )  # fmt: skip
    return Charge(None, None, batch, Deduction(0, credits_), "card")
