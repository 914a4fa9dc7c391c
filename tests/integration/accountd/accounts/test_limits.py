"""Limits, as an operator sets and sees them."""

import re
from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """An accountd with defaults, and a gateway that has to confirm."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_KEY_LIMITS"] = "sessions=20,providers=openai+xai"
        cluster.start_accountd()
        cluster.start_gateway()
        cluster.create_account("acct")
        yield cluster


def test_the_limits_of_a_key(cluster: Cluster) -> None:
    """Set, shown with their origin, and confirmed by the gateway."""
    (key,) = cluster.accountctl("key", "list", "acct")["keys"]
    name = key["key_indicator"]
    options = ("--session-length", "2h", "--spending", "5000/day", "--providers", "any")
    found = cluster.accountctl("key", "limit", name, "--account", "acct", *options)
    assert (found["gateways"], found["gateways_confirmed"]) == (1, 1)
    done = cluster.run("accountctl", "key", "limit", name)
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["key", "indicator", name],
        ["account", "id", "acct"],
        ["sessions", "counted", "0"],
        ["spent", "in", "period", "0"],
        [],
        ["limit", "value", "from"],
        ["---------------", "--------", "-------"],
        ["sessions", "20", "default"],
        ["new-sessions", "none", "-"],
        ["session-length", "2h", "here"],
        ["session-tokens", "none", "-"],
        ["session-credits", "none", "-"],
        ["spending", "5000/day", "here"],
        ["providers", "any", "here"],
        ["models", "any", "-"],
    ]
    shown = cluster.run("accountctl", "key", "show", name).stdout
    assert re.search(r"^limit: sessions +20 \(default\)$", shown, re.M)
    assert "limit: models" not in shown
    assert "sessions counted" not in cluster.run("accountctl", "account", "show", "acct").stdout


def test_the_limits_of_an_account(cluster: Cluster) -> None:
    """Its own, beside those of its keys."""
    found = cluster.accountctl("account", "limit", "acct", "--sessions", "7", "--models", "a, b")
    assert found["limits"]["sessions"] == {"value": "7", "from": "here"}
    shown = cluster.run("accountctl", "account", "show", "acct").stdout
    assert re.search(r"^limit: models +a,b \(here\)$", shown, re.M)
    back = cluster.accountctl("account", "limit", "acct", "--sessions", "default")
    assert back["limits"]["sessions"] == {"value": "none", "from": None}


def test_all_mistakes_of_the_defaults_are_reported_together(cluster: Cluster) -> None:
    """In one line, by their settings."""
    done = cluster.run(
        "accountd", "serve",
        ACCOUNTD_KEY_LIMITS="sessions=0,calls=5", ACCOUNTD_ACCOUNT_LIMITS="session-length=5",
    )  # fmt: skip
    assert done.returncode == 78
    (line,) = done.stderr.strip().splitlines()
    for part in (
        "ACCOUNTD_KEY_LIMITS: found 'sessions=0,calls=5', expected NAME=LIMIT",
        "'sessions=0': expected an integer from 1", "'calls=5': expected one of sessions",
        "ACCOUNTD_ACCOUNT_LIMITS: found 'session-length=5'", "a time like 2h, 90m or 45s",
    ):  # fmt: skip
        assert part in line
