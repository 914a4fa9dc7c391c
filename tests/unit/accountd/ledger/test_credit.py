"""The rules of credit as tables: renewals, crossings, plans, and the form of a webhook."""

from pathlib import Path

import pytest

from accountd.accounts.grants import Grants, renewed_tokens
from accountd.accounts.plans import DEFAULT_PLANS, parse_plans
from accountd.data import database
from accountd.ledger.charging import Balance, Crossing, crossing
from accountd.notifications.webhook import (
    RETRY_S_MAX,
    RETRY_S_MIN,
    backoff_s,
    parse_secret,
    parse_url,
    sign,
)
from accountd.requests import AMOUNT_MAX, Params, RequestError
from accountd.rpc_types import DebtPolicy

RENEWALS = [
    # before, debt, after
    (0, DebtPolicy.KEEP, 1_000),
    (400, DebtPolicy.KEEP, 1_000),
    (9_000, DebtPolicy.KEEP, 1_000),
    (-300, DebtPolicy.KEEP, 700),
    (-5_000, DebtPolicy.KEEP, -4_000),
    (400, DebtPolicy.FORGIVE, 1_000),
    (-300, DebtPolicy.FORGIVE, 1_000),
]


@pytest.mark.parametrize(("before", "debt", "after"), RENEWALS)
def test_a_renewal_sets_the_plans_tokens(before: int, debt: DebtPolicy, after: int) -> None:
    """What was not spent is gone; what is owed stays owed unless it is forgiven."""
    assert renewed_tokens(plan_tokens=1_000, before=before, debt=debt) == after


CROSSINGS = [
    # before, top-up left, tokens left, mark, crossed
    (101, 0, 100, 100, True),
    (101, 50, 50, 100, True),
    (500, 0, -20, 100, True),
    (101, 0, 101, 100, False),
    (100, 0, 90, 100, False),
    (90, 0, 80, 100, False),
    (90, 0, 100, 100, False),
    (90, 0, 200, 100, False),
    (1, 0, 0, 0, True),
    (0, 0, -1, 0, False),
    (500, 0, 0, None, False),
]


@pytest.mark.parametrize(("before", "topup", "tokens", "mark", "is_crossed"), CROSSINGS)
def test_falling_to_the_mark_is_noticed_once(
    before: int, topup: int, tokens: int, mark: int | None, is_crossed: bool
) -> None:
    """From above to it or below; rising, and staying below, is none."""
    left = Balance(topup, tokens, mark)
    expected = Crossing("a", left) if is_crossed else None
    assert crossing("a", before=before, left=left) == expected


def test_the_default_plans() -> None:
    """Free, Pro and Enterprise."""
    assert parse_plans(DEFAULT_PLANS) == {"Free": 1_000, "Pro": 50_000, "Enterprise": 500_000}
    assert parse_plans(" Basic = 0 , Big Plan=7 ") == {"Basic": 0, "Big Plan": 7}


BAD_PLANS = [
    ("Free", ["'Free': the tokens must be an integer"]),
    ("Free=x,Pro=-1", ["'Free=x'", "'Pro=-1'"]),
    ("=5", ["'=5': the name needs 1 to 256"]),
    ("Free=1,Free=2", ["Free is there twice"]),
    (f"Free={AMOUNT_MAX + 1}", [f"from 0 to {AMOUNT_MAX}"]),
    ("Free=1,", ["'': the name needs"]),
    ("Free=1,Pro=5=6", ["'Pro=5=6'"]),
    ("Free=\N{ARABIC-INDIC DIGIT ONE}", ["the tokens must be"]),
]


@pytest.mark.parametrize(("text", "mistakes"), BAD_PLANS)
def test_all_mistakes_in_plans_are_reported(text: str, mistakes: list[str]) -> None:
    """Each names the entry that it is in."""
    with pytest.raises(ValueError, match="expected NAME=TOKENS") as caught:
        parse_plans(text)
    assert all(mistake in str(caught.value) for mistake in mistakes)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its reference libraries."""
    signature = sign(
        parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["whsec_", "whsec_c2hvcnQ=", "not base64!", "whsec_" + "A" * 92])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    """Too short, too long, not base64; the secret itself is not in the message."""
    with pytest.raises(ValueError, match="expected whsec_ and 24 to 64 bytes in base64"):
        parse_secret(text)


@pytest.mark.parametrize("text", ["https://example.org/hook?x=1", "http://127.0.0.1:8000"])
def test_urls_that_can_be_sent_to(text: str) -> None:
    """http and https."""
    assert parse_url(text).geturl() == text


BAD_URLS = [
    "ftp://example.org", "example.org/hook", "https://", "https://user:pw@example.org",
    "https://example.org/#x", "https://example.org/a b", "http://example.org:99999",
    "https://exämple.org/", "http://example.org/\r\nX: y",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_URLS)
def test_urls_that_cannot_be_sent_to(text: str) -> None:
    """Another scheme, no host, a password that would be logged, what breaks a request line."""
    with pytest.raises(ValueError, match="expected"):
        parse_url(text)


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    """Between half and all of the interval."""
    longest = [backoff_s(failures, jitter=1.0) for failures in range(1, 40)]
    assert longest[:4] == [RETRY_S_MIN, 2 * RETRY_S_MIN, 4 * RETRY_S_MIN, 8 * RETRY_S_MIN]
    assert longest[-1] == RETRY_S_MAX
    assert backoff_s(40, jitter=0.0) == RETRY_S_MAX / 2
    assert backoff_s(10**9, jitter=0.5) == RETRY_S_MAX * 0.75


def test_topups_from_before_are_compared_too(tmp_path: Path) -> None:
    """The migration says of every earlier top-up what was asked."""
    with database.open_for_migrating(tmp_path / "a.db", "ab" * 32) as opened:
        opened.runner.up("0005_digests")
        opened.database.execute_sql("INSERT INTO accounts (id, email) VALUES ('a', 'a')")
        opened.database.execute_sql(
            "INSERT INTO credit_grants (id, account_id, kind, topup_delta, token_delta, created_at)"
            " VALUES ('order', 'a', 'topup', 500, 0, '2026-01-01T00:00:00.000Z')"
        )
        opened.runner.up()
        again = {"account_id": "a", "grant_id": "order", "amount": 500}
        assert Grants().topup(Params(again))["applied"] is False
        with pytest.raises(RequestError, match="grant 'order' exists"):
            Grants().topup(Params({**again, "amount": 501}))
