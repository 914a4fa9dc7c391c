"""What a key may still spend: by what the ledger has counted, period by period."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.limits import LimitDefaults, LimitReader
from accountd.accounts.spending import UNCAPPED, Spending
from accountd.data.models import ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.charging import Balance
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.rejected import Quarantine
from accountd.reports.audit import audit
from accountd.reports.queries import key_spending
from accountd.request_params import Params, RequestError
from shared.announcements import purse_of_key
from shared.limits import Limits, Period
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Setting:
    """A ledger with one key, and a clock that the test sets."""

    def __init__(self, connection: Any) -> None:
        create_account("acct", tokens=10**6)
        accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
        made = accounts.create_key(Params({"account_id": "acct", "label": "k"}))
        self.key: str = made["key_hash"]
        self.now = NOON
        self.spending = Spending(LimitReader(), lambda: self.now)
        self._ledger = Ledger(connection)
        self.quarantine = Quarantine(connection, self._ledger.usage, RateCardFile())
        self._sequence = 0

    def spend(
        self, tokens: int, *, at: datetime, key: str | None = None, kind: str = "response"
    ) -> None:
        """Usage of the key that was metered then."""
        self._sequence += 1
        batch = UsageBatch(
            "acct", "s", "openai", "m", kind, 1, ("r",), Usage(tokens, 0, tokens),
            int(at.timestamp() * 1000), key_hash=self.key if key is None else key,
        )  # fmt: skip
        message = encode_envelope(b"p" * 16, self._sequence, encode_usage(batch))
        self._ledger.apply([message], now="2026-11-30T12:00:00.000Z")

    def left(self, cap: int, period: Period) -> int | None:
        """What ``authorize`` says."""
        limits = Limits(spending_credits=cap, spending_period=period)
        return self.spending.left(self.key, limits)

    def announced(self) -> Balance:
        """What gateways hear."""
        purse = purse_of_key(self.key)
        return self.spending.balances([purse, "acct", purse_of_key("no such key")])[purse]


@pytest.fixture
def setting() -> Iterator[Setting]:
    """An empty ledger with one key."""
    with empty_database() as opened:
        yield Setting(opened.connection())


def test_each_period_counts_its_own_days(setting: Setting) -> None:
    """Of the key alone, and of what names it."""
    setting.spend(1, at=NOON)
    setting.spend(2, at=NOON - timedelta(days=1))
    setting.spend(4, at=NOON - timedelta(days=29))  # the first of the month
    setting.spend(8, at=NOON - timedelta(days=30))
    setting.spend(1_000, at=NOON, key="another")
    setting.spend(1_000, at=NOON, key="")
    left = [setting.left(100, period) for period in (Period.DAY, Period.MONTH, Period.TOTAL)]
    assert left == [99, 93, 85]
    capped = [Limits(spending_credits=1, spending_period=period) for period in Period]
    shown = [setting.spending.shown(setting.key, limits) for limits in capped]
    assert [found["spent_in_period"] for found in shown] == [1, 7, 15]


def test_a_key_without_a_cap_is_not_asked_for(setting: Setting) -> None:
    """It may spend as much as it likes."""
    setting.spend(1, at=NOON)
    assert setting.spending.left(setting.key, Limits()) is None
    assert setting.spending.shown(setting.key, Limits()) == {}


RETRY = [(Period.DAY, 12 * 3_600 + 1), (Period.MONTH, 12 * 3_600 + 1), (Period.TOTAL, None)]


@pytest.mark.parametrize(("period", "retry_after_s"), RETRY)
def test_a_cap_that_is_reached_refuses_until_the_period_ends(
    setting: Setting, period: Period, retry_after_s: int | None
) -> None:
    """To the credit; midnight gives it all back, but not to what counts for ever."""
    setting.spend(9, at=NOON)
    assert setting.left(10, period) == 1
    setting.spend(1, at=NOON)
    with pytest.raises(RequestError, match="spent 10 of 10 credits") as refused:
        setting.left(10, period)
    assert (refused.value.code, refused.value.retry_after_s) == (
        "spending_limit_reached", retry_after_s,
    )  # fmt: skip
    setting.now += timedelta(hours=12)
    if retry_after_s is not None:
        assert setting.left(10, period) == 10


def test_gateways_hear_what_is_left_and_of_the_next_day(setting: Setting) -> None:
    """Also that more was spent than allowed; and as good as no end where the cap is gone."""
    store(setting.key, '{"spending_credits": 10, "spending_period": "day"}')
    setting.spend(25, at=NOON)
    assert setting.announced() == Balance(0, -15)
    setting.now += timedelta(hours=12)
    assert setting.announced() == Balance(0, 10)
    store(setting.key, "{}")
    assert setting.announced() == Balance(0, UNCAPPED)


def test_what_an_operator_charges_later_counts_then(setting: Setting) -> None:
    """Once, for the day in which it was metered; until then it is not spent."""
    setting.spend(7, at=NOON - timedelta(days=1), kind="doubtful")
    assert setting.left(10, Period.MONTH) == 10
    for _ in range(2):
        setting.quarantine.retry(Params({"ids": [1]}))
    assert (setting.left(10, Period.MONTH), setting.left(10, Period.DAY)) == (3, 10)
    assert audit(Params({}))["wrong_spending"] == []


def test_a_waived_estimate_is_not_spent(setting: Setting) -> None:
    """Only what is charged counts; it has a row all the same."""
    setting.spend(7, at=NOON, kind="estimate")
    assert setting.left(10, Period.DAY) == 10
    assert audit(Params({}))["estimates"] == 1


def test_days_are_listed_the_newest_first(setting: Setting) -> None:
    """With their sums; as many as are asked for."""
    for days, tokens in ((2, 4), (0, 1), (0, 2)):
        setting.spend(tokens, at=NOON - timedelta(days=days))
    found = key_spending(Params({"key": setting.key}))
    assert found["days"] == [
        {"day": "2026-11-30", "credits": 3}, {"day": "2026-11-28", "credits": 4},
    ]  # fmt: skip
    one = key_spending(Params({"key": setting.key, "limit": 1}))
    assert (len(one["days"]), one["total"]) == (1, 2)


def test_a_default_holds_for_every_key(setting: Setting) -> None:
    """Where the key has none of its own."""
    capped = LimitDefaults(key=Limits(spending_credits=50, spending_period=Period.TOTAL))
    setting.spending = Spending(LimitReader(capped), lambda: setting.now)
    setting.spend(20, at=NOON - timedelta(days=900))
    assert setting.announced() == Balance(0, 30)
    store(setting.key, '{"spending_credits": null}')
    assert setting.announced() == Balance(0, UNCAPPED)


def store(key: str, limits: str) -> None:
    """What an operator has set."""
    ApiKey.update(limits=limits).where(ApiKey.key_hash == key).execute()
