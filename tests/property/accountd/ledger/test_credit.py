"""Credit under any history: usage, grants of every kind, repetitions and retries, in any order.

Each step runs against a real encrypted database and against the rules written out here.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accountd.accounts.accounts import Accounts
from accountd.accounts.grants import Grants
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.rejected import Quarantine
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.reports import queries
from accountd.reports.audit import audit
from accountd.request_params import Params, RequestError
from accountd.rpc_types import GroupBy
from shared.usage import Kind, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import empty_database

PRODUCER = b"p" * 16
PLANS = {"Free": 50, "Pro": 200}
MARKS = {"a": 60, "b": 0, "c": None}
OPENING = 40  # tokens, and as many top-up credits
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000

names = st.sampled_from(sorted(MARKS))
ids = st.sampled_from(["one", "two", "three", "four", "five", "six"])
offsets = st.integers(-3 * DAY_MS, 3 * DAY_MS) | st.integers(-HOUR_MS, HOUR_MS)
moments = offsets.map(lambda offset: NOW_MS + offset)
kinds = st.sampled_from([Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.ESTIMATE, Kind.DOUBTFUL])
steps = st.one_of(
    st.tuples(st.just("use"), names, kinds, st.integers(0, 120), moments),
    st.tuples(st.just("topup"), names, ids, st.integers(1, 60)),
    st.tuples(
        st.just("renew"), names, ids, st.sampled_from([None, *PLANS]),
        st.sampled_from(["keep", "forgive"]),
    ),
    st.tuples(st.just("adjust"), names, ids, st.integers(-80, 80), st.integers(-80, 80)),
    st.tuples(st.just("retry")),
)  # fmt: skip


@dataclass
class Purse:
    """An account by the rules."""

    mark: int | None
    topup: int = OPENING
    tokens: int = OPENING
    plan: str = "Free"
    crossings: list[tuple[int, int]] = field(default_factory=list)
    let_off: list[int] = field(default_factory=list)  # when estimates were not charged
    pays_estimates: bool = False

    def change(self, topup: int, tokens: int) -> None:
        """Move both buckets and notice the mark."""
        before = self.topup + self.tokens
        self.topup += topup
        self.tokens += tokens
        after = self.topup + self.tokens
        if self.mark is not None and before > self.mark and after <= self.mark:
            self.crossings.append((self.topup, self.tokens))

    def charge(self, used: int) -> None:
        """The top-up pays first, down to zero, and the subscription what is left."""
        from_topup = used if used <= self.topup else self.topup
        self.change(-from_topup, from_topup - used)

    def estimate(self, used: int, at_ms: int) -> None:
        """Three in an hour are free, and none any more once there was a fourth."""
        recent = [at for at in self.let_off if 0 <= at_ms - at < HOUR_MS]
        self.pays_estimates |= used > 0 and len(recent) == 3
        if self.pays_estimates:
            self.charge(used)
        elif used:
            self.let_off.append(at_ms)


class World:
    """The real thing and the rules, side by side."""

    def __init__(self, connection: Any) -> None:
        changes = ChangedAccounts()
        self.accounts = Accounts(changes, plans=PLANS)
        self.grants = Grants(changes, plans=PLANS)
        # Segments of three rows, two at a time: in production the first has thousands.
        index = UsageIndex(connection, segment_rows=3, portion_rows=2)
        self.ledger = Ledger(connection, usage=UsageRows(connection, index))
        self.quarantine = Quarantine(connection, self.ledger.usage, RateCardFile(), changes)
        self.connection = connection
        self.purses = {name: Purse(mark) for name, mark in MARKS.items()}
        self.known: dict[str, tuple[Any, ...]] = {}
        self.doubtful: list[tuple[str, int]] = []
        self.retried = 0
        self.sent = 0
        for name, mark in MARKS.items():
            params = {
                "email": f"{name}@example.org",
                "id": name,
                "tokens": OPENING,
                "topup": OPENING,
            }
            self.accounts.create(Params(params))
            self.accounts.set_mark(Params({"account_id": name, "mark": mark}))
        self.accounts.take_changed()

    def use(self, name: str, kind: Kind, tokens: int, at_ms: int) -> None:
        """Usage that arrives; few estimates take nothing, what is doubtful waits for a retry."""
        self.sent += 1
        batch = UsageBatch(
            name, f"s{tokens % 3}", "openai", f"m{tokens % 2}", kind, 1, (f"r{self.sent}",),
            Usage(tokens, 0, tokens), at_ms,
        )  # fmt: skip
        message = encode_envelope(PRODUCER, self.sent, encode_usage(batch))
        self.ledger.apply([message, message], now="2026-11-25T00:00:00.000Z")
        if kind is Kind.DOUBTFUL:
            self.doubtful.append((name, tokens))
        elif kind is Kind.ESTIMATE:
            self.purses[name].estimate(tokens, at_ms)
        else:
            self.purses[name].charge(tokens)

    def topup(self, name: str, grant_id: str, amount: int) -> None:
        """Top-up credits."""
        params = {"account_id": name, "grant_id": grant_id, "amount": amount}
        if self.grant(self.grants.topup, ("topup", name, amount), params):
            self.purses[name].change(amount, 0)

    def renew(self, name: str, grant_id: str, plan: str | None, debt: str) -> None:
        """A new period."""
        params = {"account_id": name, "grant_id": grant_id, "plan_name": plan, "debt": debt}
        if self.grant(self.grants.renew, ("renewal", name, plan, debt), params):
            purse = self.purses[name]
            purse.plan = plan or purse.plan
            owed = purse.tokens if debt == "keep" and purse.tokens < 0 else 0
            purse.change(0, PLANS[purse.plan] + owed - purse.tokens)

    def adjust(self, name: str, grant_id: str, topup: int, tokens: int) -> None:
        """A correction, refused when it takes more top-up credits than there are."""
        params = {
            "account_id": name, "grant_id": grant_id, "topup": topup, "tokens": tokens,
            "reason": "because",
        }  # fmt: skip
        purse = self.purses[name]
        is_known = grant_id in self.known
        is_refused = (topup, tokens) == (0, 0) or (not is_known and purse.topup + topup < 0)
        asked = ("adjustment", name, topup, tokens)
        if self.grant(self.grants.adjust, asked, params, is_refused=is_refused):
            purse.change(topup, tokens)

    def grant(
        self, request: Any, asked: tuple[Any, ...], params: dict[str, Any], *,
        is_refused: bool = False,
    ) -> bool:  # fmt: skip
        """Whether the request was applied, as it must be; and who is announced."""
        grant_id = params["grant_id"]
        first = self.known.get(grant_id, asked)
        try:
            applied = request(Params(params))["applied"]
        except RequestError as exc:
            assert exc.code == ("bad_request" if is_refused else "conflict")
            assert is_refused or first != asked
            assert self.accounts.take_changed() == []
            return False
        assert not is_refused
        assert first == asked
        assert applied is (grant_id not in self.known)
        assert self.accounts.take_changed() == ([params["account_id"]] if applied else [])
        self.known[grant_id] = asked
        return bool(applied)

    def retry(self) -> None:
        """Everything in quarantine, those that were charged before again."""
        if not self.doubtful:
            return
        self.quarantine.retry(Params({"ids": list(range(1, len(self.doubtful) + 1))}))
        waiting = self.doubtful[self.retried :]
        for name, tokens in waiting:
            self.purses[name].charge(tokens)
        self.retried = len(self.doubtful)
        assert set(self.accounts.take_changed()) == {name for name, _ in waiting}

    def check(self) -> None:
        """The audit's equation, the balances, the plans, and what is to be told."""
        assert audit(Params({}))["drift"] == []
        rows = self.connection.execute(
            "SELECT id, topup_remaining, token_remaining, plan_name FROM accounts"
        )
        for name, topup, tokens, plan in rows:
            purse = self.purses[name]
            assert (topup, tokens, plan) == (purse.topup, purse.tokens, purse.plan)
            assert topup >= 0
        for name, purse in self.purses.items():
            told = self.connection.execute(
                "SELECT topup_remaining, token_remaining FROM low_credit_warnings"
                " WHERE account_id = ? ORDER BY id",
                (name,),
            ).fetchall()
            assert told == purse.crossings


@contextmanager
def world() -> Iterator[World]:
    """A real encrypted file at the newest schema."""
    with empty_database() as opened:
        yield World(opened.connection())


@settings(max_examples=60)
@given(st.lists(steps, max_size=25))
def test_any_history_of_usage_and_grants_is_the_rules(history: list[tuple[Any, ...]]) -> None:
    """After every step: the equation, the order of the buckets, no negative top-up, one warning."""
    with world() as both:
        for step, *arguments in history:
            getattr(both, step)(*arguments)
            both.check()


def statement(name: str, since: str | None, until: str | None, by: str | None) -> Any:
    """What ``accountctl usage`` is told."""
    params = {"account_id": name, "since": since, "until": until, "by": by}
    return queries.usage(Params(params))


@settings(max_examples=30)
@given(st.lists(steps, max_size=25), st.lists(moments, max_size=3), st.data())
def test_statements_of_any_periods_add_up(
    history: list[tuple[Any, ...]], cuts: list[int], data: st.DataObject
) -> None:
    """Periods that meet hand their balance on; sums of groups are what was charged."""
    with world() as both:
        for step, *arguments in history:
            getattr(both, step)(*arguments)
        times = both.connection.execute(
            "SELECT created_at FROM credit_grants UNION SELECT created_at FROM usage_metrics"
        )
        edges = st.sampled_from(sorted(moment for (moment,) in times))
        exact = data.draw(st.lists(edges, min_size=1, max_size=3))
        random = [datetime.fromtimestamp(cut / 1000, UTC).isoformat() for cut in cuts]
        bounds = sorted(exact + random, key=datetime.fromisoformat)
        for name, purse in both.purses.items():
            handed_on = (0, 0)
            charged = granted = 0
            for since, until in itertools.pairwise([None, *bounds, None]):
                found = [statement(name, since, until, by) for by in (None, *GroupBy)]
                assert all(one["adds_up"] for one in found)
                opening, closing = found[0]["opening"], found[0]["closing"]
                assert tuple(opening.values()) == handed_on
                handed_on = tuple(closing.values())
                charged += sum(found[0]["charged"].values())
                granted += sum(sum_of(grant) for grant in found[0]["grants"])
                totals = found[0]["totals"].items()
                for one in found:
                    assert one["totals"].items() <= totals
                    assert one["totals"]["credits"] == sum(one["charged"].values())
                    check_sums(one)
            assert handed_on == (purse.topup, purse.tokens)
            assert granted - charged == purse.topup + purse.tokens


def check_sums(found: dict[str, Any]) -> None:
    """Movement by movement: opening + grants - charges = closing, in both buckets."""
    rows = found.get("groups", found.get("rows"))
    assert rows is not None
    for balance, delta, deducted in (
        ("topup_remaining", "topup_delta", "topup_deducted"),
        ("token_remaining", "token_delta", "token_deducted"),
    ):
        came = sum(grant[delta] for grant in found["grants"])
        went = sum(row[deducted] for row in rows)
        assert found["opening"][balance] + came - went == found["closing"][balance]


def sum_of(grant: dict[str, Any]) -> int:
    """What a grant brought to both buckets."""
    return int(grant["topup_delta"] + grant["token_delta"])
