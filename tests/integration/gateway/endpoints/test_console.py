"""The console's data: what a key's owner sees of the own account, and of no other."""

import csv
import io
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.door.ephemeral import Claims, mint
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.http_client import Answer, ask
from tests.support.private_files import write_private
from tests.support.usage_socket import usage_socket

PRODUCER = b"p" * 16
SECRET = "s" * 64
DAY_MS = 86_400_000
NOON_MS = 1_790_251_200_000  # 2026-09-24T12:00:00Z
# account, session, model, kind, tokens, days after the first; 100 top-up credits pay first
USED: list[tuple[str, str, str, str, int, float]] = [
    ("acct", "one", "gpt-realtime", "response", 60, 0),
    ("acct", "two", "grok-voice", "response", 70, 1),
    ("acct", "one", "gpt-4o-transcribe", "transcription", 7, 1.1),
    ("acct", "=two", "gpt-realtime", "estimate", 99, 1),
    ("other", "theirs", "gpt-realtime", "response", 5, 0),
    *(("busy", f"s{n:03}", "gpt-realtime", "response", 10, n / 1_000) for n in range(450)),
]
READING = ["/api/account", "/api/keys", "/api/usage", "/api/usage/rows", "/api/usage.csv"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three accounts that have used something, and a gateway with the console."""
    with (
        cluster_folder() as running,
        usage_socket(running) as push,
    ):
        write_private(running.folder / "ephemeral.secret", SECRET)
        running.start_accountd()
        running.start_simulator()
        for account in ("acct", "other", "busy"):
            running.env[f"KEY_{account}"] = running.create_account(account, tokens=1000, topup=100)
        for number, (account, session, model, kind, tokens, days) in enumerate(USED, start=1):
            batch = UsageBatch(
                account, session, "openai", model, kind, 1, (f"r{number}",),
                Usage(tokens - 1, 1, tokens), NOON_MS + int(days * DAY_MS),
            )  # fmt: skip
            push.send_multipart(encode_envelope(PRODUCER, number, encode_usage(batch)))
        eventually(lambda: len(running.usage_rows("busy")) == 450)
        running.start_gateway(
            GATEWAY_PAGE="yes",
            GATEWAY_EPHEMERAL_SECRET_FILE=str(running.folder / "ephemeral.secret"),
        )
        yield running


def get(cluster: Cluster, path: str, *, account: str = "acct") -> Answer:
    """Ask with an account's key."""
    return ask(cluster.address, "GET", path, key=cluster.env[f"KEY_{account}"])


def found(cluster: Cluster, path: str, *, account: str = "acct") -> Any:
    """The answer, which no cache may store."""
    answer = get(cluster, path, account=account)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


def test_the_account_is_what_accountctl_shows(cluster: Cluster) -> None:
    """And no more than its owner needs."""
    shown = cluster.accountctl("account", "show", "acct")
    names = ("id", "email", "plan_name", "token_remaining", "topup_remaining", "status")
    assert found(cluster, "/api/account") == {name: shown[name] for name in names}


def test_keys_are_shown_without_key_and_hash(cluster: Cluster) -> None:
    """By their indicator; the one that asks is marked."""
    listed = cluster.accountctl("key", "list", "acct")["keys"]
    more = cluster.accountctl("key", "create", "acct", "--label", "second")
    answer = found(cluster, "/api/keys")
    assert (answer["total"], answer["truncated"]) == (2, False)
    keys = answer["keys"]
    assert [(key["label"], key["is_own"]) for key in keys] == [("second", False), ("test", True)]
    assert keys[1]["key_indicator"] == listed[0]["key_indicator"]
    text = json.dumps(keys)
    assert more["key"] not in text
    assert not any(key["key_hash"] in text for key in (more, *listed))


@pytest.mark.parametrize(
    ("by", "values"),
    [
        ("day", ["2026-09-25", "2026-09-24"]),
        ("model", ["gpt-4o-transcribe", "grok-voice", "gpt-realtime"]),
        ("kind", ["transcription", "response"]),
        ("session", ["one", "two"]),
    ],
)
def test_usage_is_the_statement_newest_first(cluster: Cluster, by: str, values: list[str]) -> None:
    """The same groups and balances as accountctl's."""
    usage = found(cluster, f"/api/usage?by={by}")
    stated = cluster.accountctl("usage", "acct", "--by", by)
    assert [group[by] for group in usage["groups"]] == values
    plain = [{k: v for k, v in g.items() if k != "last_at"} for g in usage["groups"]]
    assert sorted(plain, key=lambda g: g[by]) == stated["groups"]
    for name in ("opening", "grants", "granted", "charged", "closing", "totals", "adds_up"):
        assert usage[name] == stated[name]
    assert not usage["has_more"]
    assert usage["grants_total"] == len(usage["grants"])


def test_a_period_limits_what_is_shown(cluster: Cluster) -> None:
    """Groups, rows and the file."""
    period = "since=2026-09-25&until=2026-09-26"
    assert found(cluster, f"/api/usage?{period}")["charged"] == {
        "topup_deducted": 40, "token_deducted": 37,
    }  # fmt: skip
    assert len(found(cluster, f"/api/usage/rows?{period}")["rows"]) == 3
    assert get(cluster, f"/api/usage.csv?{period}").body.count(b"\r\n") == 4


def test_rows_come_page_by_page_newest_first(cluster: Cluster) -> None:
    """Each row once, and the last page says that it is the last."""
    pages, before = [], ""
    while not pages or before != "&before=None":
        pages.append(found(cluster, f"/api/usage/rows?limit=200{before}", account="busy"))
        before = f"&before={pages[-1]['next_before']}"
    ids = [row["id"] for page in pages for row in page["rows"]]
    assert [len(page["rows"]) for page in pages] == [200, 200, 50]
    assert ids == sorted(set(ids), reverse=True)
    assert pages[0]["rows"][0]["session_id"] == "s449"
    assert (pages[0]["rows"][0]["total_tokens"], pages[0]["rows"][0]["credits"]) == (10, 10)


def test_of_many_groups_the_newest_are_shown(cluster: Cluster) -> None:
    """It says that there are more, and the totals are of all."""
    usage = found(cluster, "/api/usage?by=session", account="busy")
    assert [group["session"] for group in usage["groups"]] == [
        f"s{n:03}" for n in range(449, 49, -1)
    ]
    assert usage["has_more"]
    assert (usage["totals"]["responses"], usage["totals"]["credits"]) == (450, 4_500)


def test_the_file_has_every_row_and_no_formula(cluster: Cluster) -> None:
    """More than a page of them; a session's name is shown as text."""
    answer = get(cluster, "/api/usage.csv", account="busy")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "usage.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["session_id"] for row in rows] == [f"s{n:03}" for n in range(449, -1, -1)]
    assert sum(int(row["credits"]) for row in rows) == 4_500
    mine = get(cluster, "/api/usage.csv").body.decode()
    assert "'=two" in mine
    assert ",=two" not in mine


def test_one_account_sees_nothing_of_another(cluster: Cluster) -> None:
    """Whatever it asks for."""
    for path in READING:
        body = (
            get(cluster, path).body.decode()
            + get(cluster, f"{path}?account_id=other").body.decode()
        )
        assert "theirs" not in body
        assert "other" not in body


@pytest.fixture(scope="module")
def expired(cluster: Cluster) -> str:
    """A key that was valid."""
    return cluster.expired_key("other")


@pytest.mark.parametrize("path", READING)
def test_keys_that_may_not_look(cluster: Cluster, expired: str, path: str) -> None:
    """None, an unknown, a revoked, an expired one, and one that is ephemeral."""
    revoked = cluster.accountctl("key", "create", "other", "--label", "r")
    cluster.accountctl("key", "revoke", revoked["key_hash"])
    short = mint(Claims("acct", "0" * 64, 2**40), SECRET.encode())
    for key, code in (
        ("", "invalid_api_key"),
        ("rslive_v1_" + "0" * 48, "invalid_api_key"),
        ("sk-other", "invalid_api_key"),
        (revoked["key"], "invalid_api_key"),
        (expired, "expired_api_key"),
        (short, "invalid_api_key"),
    ):
        answer = ask(cluster.address, "GET", path, key=key)
        assert (answer.status, answer.error) == (401, code)
        assert answer.headers["Cache-Control"] == "no-store"
    in_url = f"{path}?key={cluster.env['KEY_acct']}"
    assert ask(cluster.address, "GET", in_url).status == 401


def test_an_account_without_credit_or_disabled_may_look(cluster: Cluster) -> None:
    """That is when its owner wants to."""
    cluster.env["KEY_poor"] = cluster.create_account("poor", tokens=0)
    cluster.accountctl("account", "disable", "poor")
    assert found(cluster, "/api/account", account="poor")["status"] == "disabled"


@pytest.mark.parametrize(
    "query",
    ["/rows?limit=0", "/rows?limit=201", "/rows?limit=x", "/rows?before=-1", "?by=email",
     "/rows?before=99999999999999999999", "?since=yesterday", ".csv?since=2027&until=2026"],
)  # fmt: skip
def test_questions_that_make_no_sense(cluster: Cluster, query: str) -> None:
    """400 with what was expected."""
    answer = get(cluster, f"/api/usage{query}")
    assert (answer.status, answer.error) == (400, "bad_request")


def test_only_reading_is_possible(cluster: Cluster) -> None:
    """There is nothing to write to."""
    for path in READING:
        for method in ("POST", "PUT", "DELETE"):
            assert ask(cluster.address, method, path, key=cluster.env["KEY_acct"]).status == 405


def test_without_accountd_it_says_so(cluster: Cluster) -> None:
    """503, to be tried again; and it is back when accountd is."""
    assert cluster.accountd is not None
    cluster.accountd.stop(signal.SIGKILL)
    eventually(lambda: get(cluster, "/api/account").status == 503)
    assert get(cluster, "/api/usage.csv").headers["Retry-After"] == "1"
    cluster.start_accountd()
    eventually(lambda: get(cluster, "/api/account").status == 200)
