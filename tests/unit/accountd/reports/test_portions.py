"""Reports in portions: what they say of a ledger that grows between two of them."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from accountd.data import models, snapshots
from accountd.data.snapshots import INTERRUPTED
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.reports import account_usage, audit, console, queries, rate_check
from accountd.request_params import Json, Params
from accountd.rpc import answer
from accountd.rpc_types import GroupBy
from shared.requests import Request, decode_reply
from shared.usage import Kind, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import create_account, empty_database

PRODUCER = b"p" * 16
DAY_MS = 86_400_000
BEGAN_MS = 20_000 * DAY_MS
ACCOUNTS = ("a", "b")
NOW = "2026-11-25T00:00:00.000Z"
PERIOD = {"since": "2024-10-05T12:00:00Z", "until": "2024-10-08T00:00:00Z"}


class Growing:
    """A ledger with segments of three rows that gets usage whenever a snapshot begins."""

    def __init__(self, connection: Any) -> None:
        index = UsageIndex(connection, segment_rows=3, portion_rows=2)
        self.ledger = Ledger(connection, usage=UsageRows(connection, index))
        self.rng, self.sent, self.snapshots = random.Random(7), 0, 0

    def grow(self, rows: int) -> None:
        """Usage of a week, of both accounts and of a key with a cap."""
        for _ in range(rows):
            self.sent += 1
            tokens, rng = self.rng.randrange(1, 99), self.rng
            batch = UsageBatch(
                rng.choice(ACCOUNTS), f"s{rng.randrange(9)}", "openai", f"m{rng.randrange(3)}",
                rng.choice([Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.ESTIMATE]), 1,
                (f"r{self.sent}",), Usage(tokens, 0, tokens, web_searches=tokens % 2),
                BEGAN_MS + rng.randrange(7 * DAY_MS), key_hash=rng.choice(["", "k1", "k2"]),
            )  # fmt: skip
            message = encode_envelope(PRODUCER, self.sent, encode_usage(batch))
            self.ledger.apply([message], now=NOW)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Growing]:
    """Forty rows; a portion is a few of them."""
    monkeypatch.setattr(audit, "_ROWS_TOGETHER", 7)
    monkeypatch.setattr(audit, "_SEGMENTS_TOGETHER", 2)
    monkeypatch.setattr(account_usage, "SEGMENTS_TOGETHER", 2)
    monkeypatch.setattr(rate_check, "ROWS_TOGETHER", 7)
    with empty_database() as opened:
        for account in ACCOUNTS:
            create_account(account, tokens=1_000)
        growing = Growing(opened.connection())
        growing.grow(40)
        yield growing


def growing_meanwhile(ledger: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on usage comes before each snapshot."""
    begin = snapshots._in_snapshot

    def grown(read: Any) -> Any:
        ledger.snapshots += 1
        ledger.grow(2)
        return begin(read)

    monkeypatch.setattr(snapshots, "_in_snapshot", grown)


def test_the_audit_of_a_growing_ledger_is_that_of_one_moment(
    ledger: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row counts once, with the balance and the sums of keys that it belongs to."""
    growing_meanwhile(ledger, monkeypatch)
    found = audit.audit(Params({}))
    assert ledger.snapshots > 5
    assert (found["ok"], found["usage_rows"]) == (True, ledger.sent)
    assert found["drift"] == found["wrong_segments"] == found["wrong_spending"] == []


@pytest.mark.parametrize("by", [None, *GroupBy])
@pytest.mark.parametrize("period", [{}, PERIOD])
def test_a_statement_of_a_growing_ledger_adds_up(
    ledger: Growing, monkeypatch: pytest.MonkeyPatch, by: GroupBy | None, period: Json
) -> None:
    """What was read in portions is what one that reads at once finds afterwards."""
    asked = Params({"account_id": "a", "by": by and str(by), **period})
    with monkeypatch.context() as patched:
        growing_meanwhile(ledger, patched)
        found = queries.usage(asked)
        assert ledger.snapshots > 5
    assert found["adds_up"]
    monkeypatch.setattr(account_usage, "SEGMENTS_TOGETHER", 1_000)
    assert queries.usage(asked) == found
    if not period:
        rows = "SELECT count(*) FROM usage_metrics WHERE account_id = 'a'"
        (count,) = models.database.execute_sql(rows).fetchone()
        assert found.get("rows_total", count) == count


def test_a_rate_check_of_a_growing_ledger_counts_each_row_once(
    ledger: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches that the card has no price for, all of them."""
    with monkeypatch.context() as patched:
        growing_meanwhile(ledger, patched)
        past = rate_check.past_usage(RateCardFile().rates, since=None)
        assert ledger.snapshots > 5
    found = [one for one in past if one["unit"] == "web_search"]
    rows = "SELECT count(*), sum(web_searches) FROM usage"
    (count, searches) = models.database.execute_sql(rows).fetchone()
    assert sum(one["rows"] for one in found) == count
    assert sum(one["amount"] for one in found) == searches


def test_the_console_of_a_growing_ledger_adds_up(
    ledger: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its groups are bounded, its sums are not."""
    monkeypatch.setattr(console, "_owner", lambda _params: queries.find_account("a"))
    growing_meanwhile(ledger, monkeypatch)
    found = console.usage(Params({"key_hash": "k", "by": "session"}))
    assert found["adds_up"]
    assert found["totals"]["topup_deducted"] + found["totals"]["token_deducted"] == sum(
        found["charged"].values()
    )


def test_an_interrupted_report_is_told_to_try_again() -> None:
    """After its last attempt: an answer, neither a failure of the daemon nor a silence."""

    class InterruptedReadError(Exception):
        sqlite_errorname = INTERRUPTED

    def report(_params: Params) -> Json:
        raise InterruptedReadError

    reply = decode_reply(answer(report, Request("audit", {})))
    assert reply.error is not None
    assert reply.error[0] == "busy"
