"""accountctl as an operator uses it: tables for people, JSON and exit codes for scripts."""

import hashlib
import json
import os
import re

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.ctl.client import call
from accountd.reports.audit import SHOWN_MAX
from shared.errors import RefusedError
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

KEY = re.compile(r"rslive_v1_[0-9a-f]{48}")


def test_accounts(cluster: Cluster) -> None:
    """Create, show, list, disable and enable an account."""
    made = cluster.accountctl(
        "account", "create", "--email", "a@example.org", "--id", "a", "--plan", "Pro",
        "--topup", "7",
    )  # fmt: skip
    assert (made["id"], made["email"], made["plan_name"]) == ("a", "a@example.org", "Pro")
    assert (made["token_remaining"], made["topup_remaining"]) == (50_000, 7)
    assert made["status"] == "active"
    shown = cluster.accountctl("account", "show", "a")
    assert shown == {**made, "sessions_counted": 0, "limits": shown["limits"]}
    assert cluster.accountctl("account", "disable", "a")["status"] == "disabled"
    assert cluster.accountctl("account", "enable", "a")["status"] == "active"
    assert [x["id"] for x in cluster.accountctl("account", "list")["accounts"]] == ["a"]
    nameless = cluster.accountctl("account", "create", "--email", "b@example.org")
    assert nameless["token_remaining"] == 1_000
    assert nameless["id"]


def test_pages_and_search(cluster: Cluster) -> None:
    """A page has as many as --limit says; what is searched for is in the id or the email."""
    for name in ("paged-1", "paged_2", "paged%3"):
        cluster.create_account(name)
    cluster.accountctl("account", "email", "paged-1", "Somebody.Else@Example.org")

    def ids(*options: str) -> list[str]:
        return [x["id"] for x in cluster.accountctl("account", "list", *options)["accounts"]]

    assert ids("--search", "PAGED") == ["paged-1", "paged_2", "paged%3"]
    assert (ids("--search", "d_2"), ids("--search", "%")) == (["paged_2"], ["paged%3"])
    assert ids("--search", "somebody.else@") == ["paged-1"]
    assert ids("--search", "nothing like it") == []
    asked = ("--search", "paged", "--limit", "2")
    assert ids(*asked, "--page", "1") + ids(*asked, "--page", "2") == ids("--search", "paged")
    found = cluster.accountctl("account", "list", *asked, "--page", "2")
    assert (found["total"], found["page"], found["pages"], found["truncated"]) == (3, 2, 2, True)
    done = cluster.run("accountctl", "account", "list", *asked, "--page", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "page: found 3, expected 1 to 2: there are 3 accounts" in done.stderr
    shown = cluster.run("accountctl", "account", "list", *asked)
    assert "2 of 3" in shown.stdout
    assert "1 more accounts are not shown; see --search, --limit and --page" in shown.stderr


def test_an_email_changes(cluster: Cluster) -> None:
    """To one that no other account has; in other letters it is still one's own."""
    cluster.create_account("moved")
    changed = cluster.accountctl("account", "email", "moved", "moved@example.com")
    assert changed["email"] == "moved@example.com"
    own = cluster.accountctl("account", "email", "moved", "Moved@example.com")
    assert own["email"] == "Moved@example.com"
    shown = cluster.accountctl("account", "show", "moved")
    assert shown == {**own, "sessions_counted": 0, "limits": shown["limits"]}
    cluster.create_account("settled")
    done = cluster.run("accountctl", "account", "email", "settled", "moved@EXAMPLE.com")
    assert done.returncode == 1
    assert "already_exists: the account 'moved' has the email" in done.stderr


def test_a_deleted_account_keeps_its_books(cluster: Cluster) -> None:
    """Usage that was on its way is charged, the audit agrees, and nobody gets the id again."""
    secret = cluster.create_account("gone", tokens=100, topup=5)
    live = cluster.ask("sessions.open", sessions=[
        {"account_id": "gone", "session_id": f"s{n}", "holder": bytes(16), "again": False}
        for n in range(3)
    ])  # fmt: skip
    assert len(live["sessions"]) == 3
    deleted = cluster.accountctl("account", "delete", "gone")
    assert (deleted["status"], deleted["email"]) == ("deleted", "gone@example.org")
    assert deleted["deleted_at"]
    assert cluster.accountctl("account", "delete", "gone") == deleted
    batch = UsageBatch("gone", "s", "openai", "m", "response", 1, ("r",), Usage(30, 0, 30), 0)
    with usage_socket(cluster) as push:
        push.send_multipart(encode_envelope(os.urandom(16), 1, encode_usage(batch)))
    eventually(lambda: cluster.usage_rows("gone"))
    shown = cluster.accountctl("account", "show", "gone")
    assert (shown["topup_remaining"], shown["token_remaining"]) == (0, 75)
    assert cluster.audit()["ok"]
    (key,) = cluster.accountctl("key", "list", "gone")["keys"]
    assert key["revoked_at"] == deleted["deleted_at"]
    with pytest.raises(RefusedError, match="unknown or was revoked"):
        cluster.ask("authorize", key_hash=hashlib.sha256(secret.encode()).hexdigest())
    last = {"account_id": "gone", "session_id": "s0", "holder": bytes(16), "is_last": True}
    words = {"configuration": "{}", "items": "[]"}
    assert cluster.ask("sessions.store", sessions=[{**last, **words}])["refused"] == [0]
    assert cluster.accountctl("sessions", "list", "--account", "gone")["sessions"] == []
    assert "gone" not in [x["id"] for x in cluster.accountctl("account", "list")["accounts"]]
    (listed,) = cluster.accountctl("account", "list", "--all", "--search", "gone@")["accounts"]
    assert listed["id"] == "gone"
    again = cluster.run(
        "accountctl", "account", "create", "--email", "n@example.org", "--id", "gone"
    )
    assert again.returncode == 1
    assert "was deleted at" in again.stderr
    successor = cluster.accountctl("account", "create", "--email", "gone@example.org")
    assert successor["id"] != "gone"


def test_topups_are_idempotent_by_id(cluster: Cluster) -> None:
    """The same id counts once; with another amount or account it is refused."""
    cluster.create_account("rich", tokens=0)
    cluster.create_account("other", tokens=0)
    first = cluster.accountctl("account", "topup", "rich", "500", "--id", "order-1")
    again = cluster.accountctl("account", "topup", "rich", "500", "--id", "order-1")
    assert (first["applied"], again["applied"]) == (True, False)
    assert again["topup_remaining"] == 500
    for wrong in (("rich", "501"), ("other", "500")):
        done = cluster.run("accountctl", "account", "topup", *wrong, "--id", "order-1")
        assert done.returncode == 1
        assert "conflict" in done.stderr
    assert cluster.accountctl("account", "show", "rich")["topup_remaining"] == 500
    assert cluster.accountctl("account", "topup", "rich", "1")["topup_remaining"] == 501
    assert cluster.audit()["ok"]


def test_keys(cluster: Cluster) -> None:
    """A key is shown once; afterwards only its indicator and hash are known."""
    cluster.create_account("keyed")
    made = cluster.accountctl(
        "key", "create", "keyed", "--label", "web", "--expires", "2031-05-06T07:08:09"
    )
    assert KEY.fullmatch(made["key"])
    assert made["key_indicator"] == f"rsliv…{made['key'][-5:]}"
    assert made["expires_at"] == "2031-05-06T07:08:09.000Z"
    listed = cluster.accountctl("key", "list", "keyed")["keys"]
    assert {k["label"] for k in listed} == {"web", "test"}
    assert not KEY.search(json.dumps(listed))
    shown = cluster.accountctl("key", "show", made["key_indicator"])
    named = {name: value for name, value in made.items() if name != "key"}
    assert shown == {**named, "sessions_counted": 0, "limits": shown["limits"]}
    assert cluster.accountctl("key", "show", shown["key_hash"], "--account", "keyed") == shown
    revoked = cluster.accountctl("key", "revoke", made["key_indicator"])
    assert revoked["revoked_at"]
    by_hash = next(k["key_hash"] for k in listed if k["label"] == "test")
    assert cluster.accountctl("key", "revoke", by_hash)["label"] == "test"


REFUSED = [
    (("account", "show", "nobody"), 1, "not_found"),
    (("account", "topup", "nobody", "5"), 1, "not_found"),
    (("account", "topup", "taken", "0"), 1, "expected an integer from 1"),
    (("account", "topup", "taken", "-5"), 1, "expected an integer from 1"),
    (("account", "topup", "taken", str(2**63)), 1, "expected an integer from 1"),
    (("account", "topup", "taken", "9" * 20), 2, f"amount: found {'9' * 20}, expected an integer"),
    (("account", "topup", "taken", "-" + "9" * 20), 2, "expected an integer of 64 bits"),
    (
        ("account", "create", "--email", "new@example.org", "--tokens", "9" * 20),
        2,
        "tokens: found 999",
    ),
    (("account", "list", "--limit", "9" * 20), 2, "limit: found 999"),
    (("account", "show", "caf\udce9"), 2, r"account_id: found 'caf\udce9', expected UTF-8 text"),
    (("key", "create", "taken", "--label", "\udce9"), 2, "label: found"),
    (("providers", "drain", "opnai"), 1, "no gateway has a provider 'opnai'; known are: "),
    (("providers", "resume", "openai"), 1, "'openai' is not drained; drained are: none"),
    (("key", "create", "taken", "--label", "x" * 70_000), 2, "expected at most 65,536 bytes"),
    (("--accountd-rpc-endpoint", "ipc://\udce9", "audit"), 2, "expected UTF-8 text"),
    (("account", "topup", "taken", "many"), 2, "found 'many', expected an integer"),
    (("account", "create", "--email", "new@example.org", "--id", "taken"), 1, "already_exists"),
    (
        ("account", "create", "--email", "new@example.org", "--plan", "Gold"),
        1,
        "expected Free, Pro",
    ),
    (("account", "create"), 2, "--email"),
    (("account", "create", "--email", "new@example.org", "--id", "-x"), 1, "expected no leading -"),
    (("key", "create", "nobody", "--label", "x"), 1, "not_found"),
    (("key", "create", "taken", "--label", "x", "--expires", "soon"), 1, "expected a date"),
    (("key", "revoke", "rsliv…00000"), 1, "not_found"),
    (("usage", "nobody"), 1, "not_found"),
    (("rejected", "list", "--limit", "0"), 1, "expected an integer from 1"),
    (("rejected", "show", "1"), 1, "not_found"),
    (("rejected", "show", "-1"), 2, "No such option"),
    (("rejected", "retry", "1"), 1, "no such rejected usage"),
    (("rejected", "retry", "0"), 1, "expected integers from 1"),
    (("rejected", "retry"), 2, "Missing argument"),
    (("rejected", "dismiss", "1", "--reason", "x"), 1, "no such rejected usage"),
    (("rejected", "dismiss", "1"), 2, "--reason"),
    (("rejected", "dismiss", "1", "--reason", ""), 1, "reason: found"),
    (("fly",), 2, "No such command"),
]


@pytest.fixture(scope="module")
def taken(cluster: Cluster) -> Cluster:
    """A cluster where the account ``taken`` exists."""
    cluster.create_account("taken")
    return cluster


@pytest.mark.parametrize(("command", "code", "message"), REFUSED)
def test_refusals_are_one_line(
    taken: Cluster, command: tuple[str, ...], code: int, message: str
) -> None:
    """What was found, what was expected, and nothing changed."""
    before = taken.accountctl("account", "show", "taken")
    done = taken.run("accountctl", *command)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert taken.accountctl("account", "show", "taken") == before


def test_tables_for_people(cluster: Cluster) -> None:
    """Without --json the answers are aligned tables with thousands separators."""
    cluster.create_account("wide", tokens=1_234_567)
    listed = cluster.run("accountctl", "account", "list").stdout
    line = next(x for x in listed.splitlines() if x.startswith("wide"))
    assert "1,234,567" in line
    for command in (("usage", "wide"), ("key", "list", "wide"), ("account", "show", "wide")):
        done = cluster.run("accountctl", *command)
        assert done.returncode == 0
        assert done.stdout.strip()
    assert "OK: every balance" in cluster.run("accountctl", "audit").stdout


def tamper(cluster: Cluster, statement: str) -> None:
    """Change the database behind the ledger's back, with the key."""
    assert cluster.accountd is not None
    cluster.accountd.stop()
    connection = sqlcipher.connect(str(cluster.folder / "accounts.db"))
    connection.execute(f"PRAGMA key = \"x'{(cluster.folder / 'db.key').read_text()}'\"")
    connection.execute(statement)
    connection.commit()
    connection.close()
    cluster.start_accountd()


def test_the_audit_notices_a_balance_that_drifted() -> None:
    """Somebody who changes a balance behind the ledger's back is found out: exit 1."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.create_account("honest", tokens=5)
        cluster.create_account("forged", tokens=5)
        tamper(cluster, "UPDATE accounts SET token_remaining = 99 WHERE id = 'forged'")
        found = cluster.audit()
        assert not found["ok"]
        (drift,) = found["drift"]
        assert drift["account_id"] == "forged"
        assert (drift["token_found"], drift["token_expected"]) == (99, 5)
        assert "NOT OK" in cluster.run("accountctl", "audit").stdout


def test_of_many_balances_that_drifted_it_says_how_many() -> None:
    """Some are shown, in the table and to programs, and the number of all."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        for number in range(SHOWN_MAX + 2):
            wanted = {"email": f"{number}@example.org", "tokens": 5}
            call(cluster.env["ACCOUNTD_RPC_ENDPOINT"], "account.create", wanted)
        listed = cluster.accountctl("account", "list", "--limit", "3")
        assert (len(listed["accounts"]), listed["truncated"]) == (3, True)
        assert not cluster.accountctl("account", "list")["truncated"]
        tamper(cluster, "UPDATE accounts SET token_remaining = 99")
        found = cluster.audit()
        assert (len(found["drift"]), found["drift_total"]) == (SHOWN_MAX, SHOWN_MAX + 2)
        text = cluster.run("accountctl", "audit").stdout
        assert f"{SHOWN_MAX} of {SHOWN_MAX + 2} accounts that drift" in text


def test_without_a_daemon() -> None:
    """accountctl says that nobody answers and what to do: exit 75."""
    with cluster_folder() as cluster:
        done = cluster.run("accountctl", "audit")
    assert done.returncode == 75
    assert "start it: accountd serve" in done.stderr
