"""Renewals, adjustments, plans and marks as an operator uses them."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder


@pytest.fixture(scope="module")
def daemon() -> Iterator[Cluster]:
    """accountd, and plans of its own."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_PLANS"] = "Free=1000,Team=70000"
        cluster.start_accountd()
        yield cluster


def test_a_renewal_sets_the_tokens_of_the_plan(daemon: Cluster) -> None:
    """Unspent tokens are gone, top-up credits stay, and a repetition changes nothing."""
    daemon.create_account("renewed", tokens=400, topup=30)
    first = daemon.accountctl("account", "renew", "renewed", "--id", "november")
    assert (first["token_remaining"], first["topup_remaining"]) == (1_000, 30)
    assert (first["applied"], first["token_delta"], first["grant_id"]) == (True, 600, "november")
    daemon.accountctl("account", "adjust", "renewed", "--tokens", "-250", "--reason", "used")
    again = daemon.accountctl("account", "renew", "renewed", "--id", "november")
    assert (again["applied"], again["token_remaining"]) == (False, 750)
    moved = daemon.accountctl("account", "renew", "renewed", "--plan", "Team", "--id", "december")
    assert (moved["plan_name"], moved["token_remaining"]) == ("Team", 70_000)
    assert daemon.audit()["ok"]


DEBTS = [
    ((), -200, 800),
    (("--debt", "keep"), -5_000, -4_000),
    (("--debt", "forgive"), -200, 1_000),
]


@pytest.mark.parametrize(("policy", "before", "after"), DEBTS)
def test_a_debt_is_kept_unless_it_is_forgiven(
    daemon: Cluster, policy: tuple[str, ...], before: int, after: int
) -> None:
    """Kept by default: it is carried into the new period."""
    name = f"owing{after}"
    daemon.create_account(name, tokens=before)
    found = daemon.accountctl("account", "renew", name, *policy)
    assert found["token_remaining"] == after
    (opening, renewal) = daemon.accountctl("usage", name)["grants"]
    assert (opening["kind"], renewal["kind"]) == ("opening", "renewal")
    assert renewal["token_delta"] == after - before
    assert renewal["reason"] == f"plan Free, debt {policy[1] if policy else 'keep'}"


def test_adjustments_of_either_bucket(daemon: Cluster) -> None:
    """Up and down, with a reason that stays; the subscription may become negative."""
    daemon.create_account("adjusted", tokens=10, topup=10)
    adjust = ("account", "adjust", "adjusted", "--reason")
    found = daemon.accountctl(*adjust, "refund", "--topup", "5", "--tokens", "-40", "--id", "r1")
    assert (found["topup_remaining"], found["token_remaining"]) == (15, -30)
    again = daemon.accountctl(*adjust, "refund", "--topup", "5", "--tokens", "-40", "--id", "r1")
    assert (again["applied"], again["topup_remaining"]) == (False, 15)
    assert daemon.accountctl(*adjust, "chargeback", "--topup", "-15")["topup_remaining"] == 0
    # It was applied once: that it would be refused now is no reason to refuse its repetition.
    taken = (*adjust, "error", "--tokens", "30", "--topup", "8", "--id", "r2")
    assert daemon.accountctl(*taken)["applied"]
    assert not daemon.accountctl(*taken)["applied"]
    reasons = [grant["reason"] for grant in daemon.accountctl("usage", "adjusted")["grants"]]
    assert reasons == ["", "refund", "chargeback", "error"]
    assert daemon.audit()["ok"]


def test_an_old_withdrawal_repeated_later_is_still_applied_once(daemon: Cluster) -> None:
    """What is asked is compared before the balance is looked at."""
    daemon.create_account("emptied", topup=10)
    command = ("account", "adjust", "emptied", "--topup", "-10", "--reason", "x", "--id", "w1")
    assert daemon.accountctl(*command)["applied"]
    assert not daemon.accountctl(*command)["applied"]


def test_the_mark_is_shown_and_removed(daemon: Cluster) -> None:
    """None, a number, none again."""
    daemon.create_account("marked")
    assert daemon.accountctl("account", "show", "marked")["low_credit_mark"] is None
    assert daemon.accountctl("account", "mark", "marked", "500")["low_credit_mark"] == 500
    assert daemon.accountctl("account", "mark", "marked", "none")["low_credit_mark"] is None


def test_plans_are_those_of_the_configuration(daemon: Cluster) -> None:
    """A new account gets the tokens of its plan."""
    made = daemon.accountctl(
        "account", "create", "--email", "team@example.org", "--id", "team", "--plan", "Team"
    )
    assert made["token_remaining"] == 70_000


RENEW, ADJUST = ("account", "renew", "taken"), ("account", "adjust", "taken", "--reason", "x")
REFUSED = [
    (("account", "renew", "nobody"), 1, "not_found"),
    ((*RENEW, "--plan", "Pro"), 1, "found 'Pro', expected Free, Team, or add it to ACCOUNTD_PLANS"),
    ((*RENEW, "--debt", "double"), 2, "'double' is not one of 'keep', 'forgive'"),
    ((*RENEW, "--id", ""), 1, "grant_id: found ''"),
    ((*RENEW, "--id", "order"), 1, "conflict: grant 'order' exists: topup"),
    ((*RENEW, "--id", "month", "--debt", "forgive"), 1, "conflict: grant 'month' exists: renewal"),
    ((*RENEW, "--id", "month", "--plan", "Free"), 1, "conflict"),
    (("account", "renew", "other", "--id", "month"), 1, "for account 'taken'; use another --id"),
    ((*ADJUST,), 1, "expected topup or tokens other than 0"),
    ((*ADJUST, "--topup", "0"), 1, "expected topup or tokens other than 0"),
    ((*ADJUST, "--topup", "-13"), 1, "cannot become negative"),
    ((*ADJUST, "--topup", "-13", "--tokens", "500"), 1, "expected at least -12"),
    ((*ADJUST, "--topup", str(2**63)), 1, "topup: found 9223372036854775808, expected an integer"),
    ((*ADJUST, "--tokens", "9" * 20), 2, "expected an integer of 64 bits"),
    ((*ADJUST, "--tokens", "many"), 2, "found 'many', expected an integer"),
    ((*ADJUST, "--tokens", "6", "--id", "correction"), 1, "conflict"),
    ((*ADJUST, "--topup", "5", "--id", "correction"), 1, "conflict"),
    ((*ADJUST, "--topup", "5", "--id", "opening-taken"), 1, "conflict"),
    (("account", "adjust", "other", "--reason", "x", "--tokens", "5", "--id", "correction"), 1,
     "conflict"),
    (("account", "adjust", "taken", "--tokens", "5"), 2, "--reason"),
    (("account", "adjust", "taken", "--tokens", "5", "--reason", ""), 1, "reason: found ''"),
    (("account", "topup", "taken", "0"), 1, "expected an integer from 1"),
    (("account", "topup", "taken", str(2**63)), 1, "expected an integer from 1"),
    (("account", "topup", "taken", "8", "--id", "order"), 1, "conflict"),
    (("account", "mark", "taken", "-1"), 1, "mark: found -1, expected an integer from 0"),
    (("account", "mark", "taken", "few"), 2, "found 'few', expected none or an integer"),
    (("account", "mark", "taken", str(2**62)), 1, "mark: found"),
    (("account", "mark", "nobody", "5"), 1, "not_found"),
]  # fmt: skip


@pytest.fixture(scope="module")
def taken(daemon: Cluster) -> Cluster:
    """Two accounts, and a grant of each kind."""
    daemon.create_account("taken", tokens=100, topup=5)
    daemon.create_account("other", tokens=100)
    daemon.accountctl("account", "topup", "taken", "7", "--id", "order")
    daemon.accountctl("account", "renew", "taken", "--id", "month")
    daemon.accountctl(*ADJUST, "--tokens", "5", "--id", "correction")
    return daemon


@pytest.mark.parametrize(("command", "code", "message"), REFUSED)
def test_refusals_are_one_line(
    taken: Cluster, command: tuple[str, ...], code: int, message: str
) -> None:
    """What was found, what was expected, and nothing changed."""
    before = [taken.accountctl("usage", name) for name in ("taken", "other")]
    done = taken.run("accountctl", *command)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [taken.accountctl("usage", name) for name in ("taken", "other")] == before


def test_all_mistakes_of_the_credit_settings_are_reported_together(daemon: Cluster) -> None:
    """One line names plans, URL and secret; the secret is not shown."""
    done = daemon.run(
        "accountd", "serve",
        ACCOUNTD_PLANS="Free=x,Pro=1,Pro=2", ACCOUNTD_WEBHOOK_URL="example.org",
        ACCOUNTD_EVENTS_ENDPOINT="udp://x",
    )  # fmt: skip
    assert done.returncode == 78
    assert "'Free=x': the tokens must be an integer" in done.stderr
    assert "Pro is there twice" in done.stderr
    assert "ACCOUNTD_WEBHOOK_URL: found 'example.org', expected http:// or https://" in done.stderr
    assert "ACCOUNTD_EVENTS_ENDPOINT" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


SECRETS = [({}, "found nothing"), ({"ACCOUNTD_WEBHOOK_SECRET": "whsec_c2VjcmV0"}, "24 to 64 bytes")]


@pytest.mark.parametrize(("secret", "message"), SECRETS)
def test_a_webhook_needs_a_secret(daemon: Cluster, secret: dict[str, str], message: str) -> None:
    """Nothing is ever sent unsigned; what was found is not shown."""
    url = "https://example.org/hook"
    done = daemon.run("accountd", "serve", ACCOUNTD_WEBHOOK_URL=url, **secret)
    assert done.returncode == 78
    assert "ACCOUNTD_WEBHOOK_SECRET" in done.stderr
    assert message in done.stderr
    assert "c2VjcmV0" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
