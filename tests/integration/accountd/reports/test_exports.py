"""accountctl export: every row once, in every format, and files that are whole or not there."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.csv_cells import MARK
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_rows import batch, send
from tests.support.usage_socket import usage_socket

PRODUCER, OTHER = b"p" * 16, b"q" * 16
HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "'quoted",
    'say "hi"',
    "a,b;c",
    "two\r\nlines",
    "🎈\N{FULLWIDTH EQUALS SIGN}",
    "",
]
MANY = 2_500  # more than two pages
ROWS = len(HOSTILE) + MANY


@pytest.fixture(scope="module")
def used() -> Iterator[Cluster]:
    """accountd where ``acct`` has sessions with hostile names, and ``busy`` many rows."""
    with cluster_folder() as cluster, usage_socket(cluster) as push:
        cluster.start_accountd()
        cluster.create_account("acct", tokens=10_000, topup=15)
        cluster.create_account("busy")
        send(push, [batch(7, session_id=name) for name in HOSTILE], producer=PRODUCER)
        many = [batch(n, account_id="busy") for n in range(1, MANY + 1)]
        send(push, many, producer=OTHER)
        eventually(lambda: last_row(cluster) == ROWS)
        yield cluster


def last_row(cluster: Cluster) -> int:
    """The last row that an export would have."""
    last = cluster.ask("export.begin", after=0)["through"]
    assert isinstance(last, int)
    return last


def export(cluster: Cluster, *options: str, code: int = 0) -> str:
    """What ``accountctl export`` prints, with this exit code."""
    done = cluster.run("accountctl", "export", *options)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file, each text without its mark."""
    found = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: cell.removeprefix(MARK) for name, cell in row.items()} for row in found]


def json_rows(text: str) -> list[dict[str, Any]]:
    """The values of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_both_formats_have_every_row_once_in_order(used: Cluster) -> None:
    """All accounts; each row says what ``usage`` says of it."""
    path = used.folder / "all.csv"
    export(used, "--format", "csv", "-o", str(path))
    table = csv_rows(path.read_bytes().decode())
    lines = json_rows(export(used, "--format", "jsonl"))
    assert [row["id"] for row in lines] == list(range(1, ROWS + 1))
    for name in ("id", "event_id", "session_id", "total_tokens", "credits"):
        assert [row[name] for row in table] == [str(row[name]) for row in lines]
    mine = [row for row in lines if row["account_id"] == "acct"]
    assert [row["session_id"] for row in mine] == HOSTILE
    assert mine[0]["event_id"] == f"{PRODUCER.hex()}-1"
    shown = {row["id"]: row for row in used.usage_rows("acct")}
    assert all(shown[row["id"]].items() <= row.items() for row in mine)


def test_some_accounts_a_period_and_what_came_later(used: Cluster) -> None:
    """``--after`` leaves out what an export before it had."""
    only = json_rows(export(used, "--format", "jsonl", "--account", "acct"))
    assert len(only) == len(HOSTILE)
    assert not export(used, "--format", "jsonl", "--until", "2026-09-24")
    whole_day = ("--since", "2026-09-24", "--until", "2026-09-25")
    assert len(json_rows(export(used, "--format", "jsonl", *whole_day))) == ROWS
    later = json_rows(export(used, "--format", "jsonl", "--after", str(ROWS - 2)))
    assert [row["id"] for row in later] == [ROWS - 1, ROWS]


def test_no_cell_is_a_formula(used: Cluster) -> None:
    """Also in the CSV of ``usage`` and of a statement."""
    for command in (
        ("export", "--format", "csv", "--account", "acct"),
        ("usage", "acct", "--csv"),
        ("usage", "acct", "--csv", "--by", "session"),
    ):
        text = used.run("accountctl", *command).stdout
        for name in HOSTILE[:4]:
            assert f"'{name}" in text
            assert f",{name}" not in text.replace("\n", ",")


def test_an_empty_ledger_is_a_file_with_a_header() -> None:
    """Or without a line."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        assert export(cluster, "--format", "csv").startswith("id,event_id,")
        assert csv_rows(export(cluster, "--format", "csv")) == []
        assert export(cluster, "--format", "jsonl") == ""
