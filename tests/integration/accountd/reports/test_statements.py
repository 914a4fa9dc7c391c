"""accountctl usage as a statement: groups, balances and grants that add up, for all readers."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

PRODUCER = b"p" * 16
DAY_MS = 86_400_000
NOON_MS = 1_790_251_200_000  # 2026-09-24T12:00:00Z
# session, model, kind, tokens, days after the first; 100 top-up credits pay first
USED = [
    ("one", "gpt-realtime", "response", 60, 0),
    ("one", "gpt-realtime", "response", 70, 0.5),  # 2026-09-25T00:00:00Z
    ("two", "grok-voice", "response", 5, 1),
    ("two", "gpt-4o-transcribe", "transcription", 7, 1),
    ("two", "gpt-realtime", "estimate", 99, 1),
]


@pytest.fixture(scope="module")
def used() -> Iterator[Cluster]:
    """accountd where ``acct`` has used something on two days."""
    with (
        cluster_folder() as cluster,
        usage_socket(cluster) as push,
    ):
        cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000, topup=100)
        cluster.accountctl("account", "topup", "acct", "20", "--id", "late")
        for number, (session, model, kind, tokens, days) in enumerate(USED, start=1):
            batch = UsageBatch(
                "acct", session, "openai", model, kind, 1, (f"r{number}",),
                Usage(tokens - 1, 1, tokens), NOON_MS + int(days * DAY_MS),
            )  # fmt: skip
            push.send_multipart(encode_envelope(PRODUCER, number, encode_usage(batch)))
        eventually(lambda: len(cluster.usage_rows("acct")) == len(USED))
        yield cluster


def statement(cluster: Cluster, *options: str) -> dict[str, Any]:
    """What ``accountctl usage acct`` answers; opening + grants - charges must be closing."""
    found = cluster.accountctl("usage", "acct", *options)
    assert isinstance(found, dict)
    for balance, delta, deducted in (
        ("topup_remaining", "topup_delta", "topup_deducted"),
        ("token_remaining", "token_delta", "token_deducted"),
    ):
        came = sum(grant[delta] for grant in found["grants"])
        went = sum(row[deducted] for row in found.get("groups", found.get("rows")))
        assert found["opening"][balance] + came - went == found["closing"][balance]
        assert found["totals"][deducted] == found["charged"][deducted] == went
        assert found["granted"][delta] == came
    assert found["adds_up"]
    return found


GROUPS = [
    # by, value: (responses, total tokens, top-up, subscription)
    ("day", {"2026-09-24": (1, 60, 60, 0), "2026-09-25": (2, 82, 60, 22)}),
    ("session", {"one": (2, 130, 120, 10), "two": (1, 12, 0, 12)}),
    (
        "model",
        {
            "gpt-4o-transcribe": (0, 7, 0, 7),
            "gpt-realtime": (2, 130, 120, 10),
            "grok-voice": (1, 5, 0, 5),
        },
    ),
    ("kind", {"response": (3, 135, 120, 15), "transcription": (0, 7, 0, 7)}),
]


@pytest.mark.parametrize(("by", "expected"), GROUPS)
def test_charges_in_groups(
    used: Cluster, by: str, expected: dict[str, tuple[int, int, int, int]]
) -> None:
    """Every group and their sum; an estimate that was not charged is told apart."""
    found = statement(used, "--by", by)
    names = ("responses", "total_tokens", "topup_deducted", "token_deducted")
    assert {g[by]: tuple(g[name] for name in names) for g in found["groups"]} == expected
    assert [g["credits"] for g in found["groups"]] == [a + b for _, _, a, b in expected.values()]
    assert found["totals"]["credits"] == 142
    assert found["totals"] == {
        name: sum(group[name] for group in found["groups"]) for name in found["totals"]
    }
    assert found["estimates"] == {"rows": 1, "total_tokens": 99, "waived": 99}
    assert [grant["id"] for grant in found["grants"]] == ["opening-acct", "late"]
    assert found["closing"] == {"topup_remaining": 0, "token_remaining": 978}


PERIODS = [
    ((), 4),
    (("--until", "2026-09-25"), 1),
    (("--since", "2026-09-25"), 3),
    (("--since", "2026-09-25T00:00:00.001"), 2),
    (("--since", "2026-09-24", "--until", "2026-09-25T12:00:00Z"), 2),
    (("--since", "2026-09-25T02:00:00+02:00", "--until", "2026-09-26"), 3),
    (("--since", "2026-09-25", "--until", "2026-09-25"), 0),
    (("--since", "2030-01-01"), 0),
]


@pytest.mark.parametrize(("period", "charged"), PERIODS)
def test_periods_begin_at_since_and_end_before_until(
    used: Cluster, period: tuple[str, ...], charged: int
) -> None:
    """Rows and groups are of the same charges; times may name a zone."""
    rows = statement(used, *period)
    assert len([row for row in rows["rows"] if row["kind"] != "estimate"]) == charged
    groups = statement(used, "--by", "session", *period)
    assert rows["closing"] == groups["closing"]
    assert groups["totals"].items() <= rows["totals"].items()


def test_a_period_hands_its_balance_on(used: Cluster) -> None:
    """What was used in September before the grants of today is owed until then."""
    first = statement(used, "--by", "day", "--until", "2026-09-25")
    second = statement(used, "--by", "day", "--since", "2026-09-25")
    assert first["opening"] == {"topup_remaining": 0, "token_remaining": 0}
    assert first["closing"] == second["opening"] == {"topup_remaining": -60, "token_remaining": 0}
    assert second["closing"] == {"topup_remaining": 0, "token_remaining": 978}


def test_csv_of_groups_and_rows(used: Cluster) -> None:
    """What a spreadsheet reads: a header, a line each, numbers as they are, no sums."""
    done = used.run("accountctl", "usage", "acct", "--by", "model", "--csv")
    assert done.returncode == 0
    groups = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [line["model"] for line in groups] == ["gpt-4o-transcribe", "gpt-realtime", "grok-voice"]
    assert sum(int(line["credits"]) for line in groups) == 142
    done = used.run("accountctl", "usage", "acct", "--csv", "--since", "2026-09-25T12:00:00Z")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [line["kind"] for line in rows] == ["estimate", "transcription", "response"]
    assert rows[1]["token_deducted"] == "7"


def test_the_statement_for_people(used: Cluster) -> None:
    """Groups, grants, and the four lines that add up."""
    lines = used.run("accountctl", "usage", "acct", "--by", "day").stdout.splitlines()
    assert lines[0].split() == [
        "day", "responses", "input", "tokens", "output", "tokens", "total", "tokens", "topup",
        "deducted", "token", "deducted", "credits",
    ]  # fmt: skip
    shown = {line.split()[0]: line.split()[-2:] for line in lines if line}
    assert shown["opening"] == ["0", "0"]
    assert shown["granted"] == ["120", "1,000"]
    assert shown["charged"] == ["-120", "-22"]
    assert shown["closing"] == ["0", "978"]
    assert any("late" in line for line in lines)


REFUSED = [
    (("nobody", "--by", "day"), 1, "not_found"),
    (("acct", "--by", "hour"), 2, "'hour' is not one of 'day', 'session', 'model', 'kind'"),
    (("acct", "--since", "yesterday"), 1, "since: found 'yesterday', expected a date and time"),
    (("acct", "--until", "2026-02-30"), 1, "until: found '2026-02-30', expected a date and time"),
    (("acct", "--since", ""), 1, "since: found ''"),
    (("acct", "--since", "2026-10-01", "--until", "2026-09-01"), 1, "expected a time before until"),
    (("acct", "--by", "day", "--limit", "5"), 1, "limit: it goes with rows"),
    (("acct", "--json", "--csv"), 2, "--json and --csv exclude each other"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED)
def test_refusals_are_one_line(
    used: Cluster, options: tuple[str, ...], code: int, message: str
) -> None:
    """What was found and what was expected; nothing on stdout."""
    done = used.run("accountctl", "usage", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def open_file(cluster: Cluster) -> Any:
    """The database, while no accountd has it."""
    connection = sqlcipher.connect(str(cluster.folder / "accounts.db"))
    connection.execute(f"PRAGMA key = \"x'{(cluster.folder / 'db.key').read_text()}'\"")
    return connection


def test_a_statement_that_does_not_add_up_says_so() -> None:
    """A balance that somebody changed behind the ledger's back: exit 1."""
    with cluster_folder() as cluster:
        daemon = cluster.start_accountd()
        cluster.create_account("forged", tokens=5)
        daemon.stop()
        connection = open_file(cluster)
        connection.execute("UPDATE accounts SET token_remaining = 99 WHERE id = 'forged'")
        connection.commit()
        connection.close()
        cluster.start_accountd()
        done = cluster.run("accountctl", "usage", "forged", "--by", "day", "--json")
        assert done.returncode == 1
        assert not json.loads(done.stdout)["adds_up"]
        assert "does not add up (run: accountctl audit)" in done.stderr
