"""accountctl export: every row once, in every format, and files that are whole or not there."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from accountd.ctl.exporting.pages import Selection, begin, pages
from shared.csv_cells import MARK
from shared.errors import ExitCode
from tests.support.backups import back_up
from tests.support.harness import BIN, Cluster, cluster_folder, eventually
from tests.support.paths import ROOT
from tests.support.usage_rows import batch, send
from tests.support.usage_socket import usage_socket

ACCOUNTCTL = BIN / "accountctl"
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
MANY = 1_500
# Many pages: some end with their ids, some because of what is in them, none with a thousand rows.
SMALL_PAGES = {
    "accountd.reports.exports._IDS_TOGETHER": 300,
    "accountd.reports.exports._PAGE_CHARS_MAX": 2_000,
}
ROWS = len(HOSTILE) + MANY

TERMS = ("--issuer", "Example", "--currency", "USD", "--credit-price", "0.00002")
# The names of columns are InvoiceIssuerName, ProviderName, PublisherName and ResourceId; a whole
# number is a decimal; and there is no ChargeType, which a rule of 1.0 reads.
NOT_OF_THE_SPECIFICATION = {
    "InvoiceIssuer_Required", "Provider_Required", "Publisher_Required", "ResourceID_Required",
    "ConsumedQuantity_IsDecimal", "PricingQuantity_IsDecimal", "SkuPriceId_Nullable",
}  # fmt: skip


@pytest.fixture(scope="module")
def used() -> Iterator[Cluster]:
    """accountd where ``acct`` has sessions with hostile names, and ``busy`` many rows."""
    with cluster_folder() as cluster, usage_socket(cluster) as push:
        cluster.start_accountd(tuned=SMALL_PAGES)
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


def test_rows_that_come_meanwhile_are_not_in_it(used: Cluster) -> None:
    """Between two pages; the next export begins with them."""
    endpoint = used.env["ACCOUNTD_RPC_ENDPOINT"]
    used.create_account("late")
    cut = begin(endpoint, Selection(), after=0)
    found = pages(endpoint, Selection(), cut)
    first = next(found)
    with usage_socket(used) as push:
        send(push, [batch(3, account_id="late")] * 5, producer=b"l" * 16)
        eventually(lambda: last_row(used) == cut.through + 5)
    ids = [row["id"] for page in (first, *found) for row in page]
    assert ids == list(range(1, cut.through + 1))
    later = json_rows(export(used, "--format", "jsonl", "--after", str(cut.through)))
    assert [row["account_id"] for row in later] == ["late"] * 5


def test_a_full_disk_leaves_the_file_as_it_was(used: Cluster) -> None:
    """The bound of a file's size stands for it."""
    path = used.folder / "kept.csv"
    path.write_text("before")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 16; exec "$0" export --format csv -o "$1"', ACCOUNTCTL, path],
        env=used.env, cwd=used.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.IO_ERROR
    assert f"{path}: File too large (nothing was exported" in done.stderr
    assert path.read_text() == "before"
    assert not path.with_name("kept.csv.part").exists()


def test_a_terminal_shows_the_progress(used: Cluster) -> None:
    """On its last line, which is erased."""
    shown, terminal = os.openpty()
    command = [ACCOUNTCTL, "export", "--format", "csv"]
    done = subprocess.run(
        command, env=used.env, stdout=subprocess.DEVNULL, stderr=terminal, check=False
    )
    os.close(terminal)
    text = os.read(shown, 10_000).decode()
    os.close(shown)
    assert done.returncode == 0
    assert f" of {last_row(used):,} rows\r" in text
    assert "\x1b[K" in text


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


def test_what_is_new_goes_into_one_file_whoever_is_killed(used: Cluster) -> None:
    """SIGKILL before every call that opens, syncs, renames or removes a file."""
    folder = used.folder / "killed"
    folder.mkdir()
    script = ROOT / "tests" / "support" / "killed_exports.py"
    done = subprocess.run(
        [sys.executable, script, used.env["ACCOUNTD_RPC_ENDPOINT"], folder],
        capture_output=True, text=True, check=False, timeout=60,
        env={**used.env, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout)
    assert kills > 15
    for number in range(kills + 1):
        files = sorted((folder / str(number)).glob("*.jsonl"))
        ids = [row["id"] for path in files for row in json_rows(path.read_text())]
        assert ids == list(range(1, len(HOSTILE) + 1)), f"process {number}"


def test_a_cursor_ends_where_the_ledger_goes_back() -> None:
    """Also where the row at which it ended is the same one again, by chance: the next file would
    have one row twice, and another one would be in none.
    """
    with cluster_folder() as cluster, usage_socket(cluster) as push:
        cluster.start_accountd()
        cluster.create_account("acct", tokens=100)
        back_up(cluster)
        one, two, three = (bytes([n]) * 16 for n in (1, 2, 3))

        def charge(*producers: bytes) -> None:
            before = last_row(cluster)
            for number, producer in enumerate(producers, before + 1):
                send(push, [batch(5)], producer=producer)
                eventually(lambda number=number: last_row(cluster) == number)

        def export_new(name: str, *, code: int = 0) -> str:
            cursor = str(cluster.folder / "cursor.json")
            asked = ("--format", "jsonl", "--cursor", cursor, "-o", str(cluster.folder / name))
            return export(cluster, *asked, code=code)

        charge(one, two)
        export_new("first")
        charge(three)
        assert cluster.accountd is not None
        cluster.accountd.stop()
        assert cluster.run("accountd", "restore", "backup.db").returncode == 0
        cluster.start_accountd()
        charge(three, two, one)
        assert "restored since" in export_new("second", code=1)
        assert not (cluster.folder / "second").exists()


def test_a_cursor_is_one_exports_and_its_files_are_not_written_again(used: Cluster) -> None:
    """A line says what is wrong, and the next export with the right options goes on."""
    cursor, path = str(used.folder / "cursor.json"), used.folder / "new-1.jsonl"
    new = ("--cursor", cursor, "-o")
    export(used, "--format", "jsonl", *new, str(path))
    assert "is there already" in export(used, "--format", "jsonl", *new, str(path), code=1)
    other = used.folder / "new-2.csv"
    assert "a cursor of its own" in export(used, "--format", "csv", *new, str(other), code=1)
    assert not other.exists()
    stored = json.loads(Path(cursor).read_text())
    taken = {"file": str(used.folder / "taken"), "digest": "", "mark": stored["mark"]}
    Path(cursor).write_text(json.dumps({**stored, "pending": taken}))
    done = used.run("accountctl", "export", "--format", "jsonl", *new, str(used.folder / "new-3"))
    assert "taken, which was complete, is no longer there" in done.stderr
    stored["mark"]["event_id"] = "another ledger's"
    Path(cursor).write_text(json.dumps(stored))
    assert "was restored" in export(used, "--format", "jsonl", *new, str(other), code=1)
    stored["mark"]["ledger"] = "f" * 32
    Path(cursor).write_text(json.dumps(stored))
    assert "cursor of ledger f" in export(used, "--format", "jsonl", *new, str(other), code=1)
    Path(cursor).write_text("{")
    assert "found no cursor" in export(used, "--format", "jsonl", *new, str(other), code=1)


def test_events_are_those_of_the_sdk(used: Cluster) -> None:
    """Read by the official SDK; a batch is an array of them, and ids never repeat."""
    lines = export(used, "--format", "cloudevents").splitlines()
    events = [JSONFormat().read(CloudEvent, line.encode()) for line in lines]
    rows = json_rows(export(used, "--format", "jsonl"))
    assert [event.get_id() for event in events] == [row["event_id"] for row in rows]
    assert len({event.get_id() for event in events}) == len(rows)
    ledger = used.ask("export.begin", after=0)["ledger"]
    assert {event.get_source() for event in events} == {f"/realtime-switch/ledgers/{ledger}"}
    for event, row in zip(events, rows, strict=True):
        data = event.get_data()
        assert event.get_subject() == row["account_id"]
        assert f"{event.get_time():%Y-%m-%dT%H:%M:%S}" == row["created_at"][:19]
        assert isinstance(data, dict)
        assert (data["credits"], data["model"]) == (row["credits"], row["model"])
    batches = json_rows(
        export(used, "--format", "cloudevents-batch", "--source", "billing", "--account", "busy")
    )
    assert max(map(len, batches)) == 100
    assert [event for batch in batches for event in batch] == [
        {**one, "source": "billing"} for one in map(json.loads, lines) if one["subject"] == "busy"
    ]


VALIDATE = """
import os, sys, focus_validator
from focus_validator.validator import Validator
os.chdir(os.path.dirname(focus_validator.__path__[0]))  # its list of currencies is found from here
for path in sys.argv[1:]:
    print("file")
    Validator(path, None, "console", rules_version="1.0").validate()
"""


def focus_failures(*paths: Path) -> list[set[str]]:
    """The rules of FOCUS 1.0 that the validator finds broken in each file."""
    python = ROOT / ".venv-focus" / "bin" / "python"
    if not python.exists():
        pytest.skip("found no .venv-focus: make test installs it, where there are wheels")
    done = subprocess.run(
        [python, "-c", VALIDATE, *paths], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.count("Validation failed!") == len(paths), done.stderr
    _, *parts = done.stdout.split("file\n")
    return [
        {line.split()[0] for line in part.splitlines() if line.endswith(" failed:")}
        for part in parts
    ]


def test_focus_is_what_its_validator_expects(used: Cluster) -> None:
    """But for rules that contradict the specification (findings/focus-validator-own-rules.sh)."""
    path, worse = used.folder / "focus.csv", used.folder / "worse.csv"
    export(used, "--format", "focus", *TERMS, "--account", "acct", "-o", str(path))
    worse.write_text(path.read_text().replace("BilledCost", "BilledCosts").replace("USD", "US$"))
    found, broken = focus_failures(path, worse)
    assert found == NOT_OF_THE_SPECIFICATION
    assert broken - found == {"BilledCost_Required", "BillingCurrency_IsCurrencyCode"}


def test_focus_says_what_credits_cost(used: Cluster) -> None:
    """Exactly; a price times a quantity is its cost in every row."""
    rows = csv_rows(export(used, "--format", "focus", *TERMS))
    prepaid = csv_rows(export(used, "--format", "focus", *TERMS, "--prepaid"))
    assert {row["BilledCost"] for row in prepaid} == {"0"}
    for row in rows:
        cost = Decimal(row["PricingCurrencyEffectiveCost"]) * Decimal("0.00002")
        assert Decimal(row["BilledCost"]) == Decimal(row["EffectiveCost"]) == cost
        quantity = Decimal(row["PricingQuantity"])
        assert Decimal(row["ListCost"]) == quantity * Decimal(row["ListUnitPrice"])
    assert rows[0]["ChargePeriodStart"] == "2026-09-24T12:00:00Z"
    assert rows[0]["ChargePeriodEnd"] == "2026-09-24T13:00:00Z"
    assert rows[0]["BillingPeriodEnd"] == "2026-10-01T00:00:00Z"


def test_every_export_adds_up_to_what_was_deducted(used: Cluster) -> None:
    """Grants, a dismissed message and a waived estimate are in none of the sums; what a retry has
    charged under no number is.
    """
    used.create_account("mixed", tokens=1_000, topup=50)
    used.accountctl("account", "topup", "mixed", "20")
    used.accountctl("account", "adjust", "mixed", "--tokens", "-7", "--reason", "correction")
    used.accountctl("account", "renew", "mixed", "--plan", "Pro")
    producer, before = b"m" * 16, last_row(used)
    with usage_socket(used) as push:
        for first, one in (
            (1, batch(60, account_id="mixed")),
            (1, batch(30, account_id="mixed", response_ids=("resp_2",))),  # a conflict
            (2, batch(90, account_id="mixed", kind="estimate", response_ids=("resp_3",))),
            (3, batch(10, account_id="nobody")),
            (4, batch(5, account_id="mixed", response_ids=("resp_4",))),
        ):
            send(push, [one], producer=producer, first=first)
        eventually(lambda: last_row(used) == before + 3)
    waiting = used.accountctl("rejected", "list")["rejected"]
    by_reason = {one["reason"]: str(one["id"]) for one in waiting}
    used.accountctl("rejected", "retry", by_reason["conflict"])
    used.accountctl("rejected", "dismiss", by_reason["unknown_account"], "--reason", "a test")
    assert used.audit()["ok"]

    statement = used.accountctl("usage", "mixed", "--by", "day")
    deducted = sum(statement["charged"].values())
    assert deducted == 60 + 30 + 5
    rows = json_rows(export(used, "--format", "jsonl", "--account", "mixed"))
    table = csv_rows(export(used, "--format", "csv", "--account", "mixed"))
    focus = csv_rows(export(used, "--format", "focus", *TERMS, "--account", "mixed"))
    events = json_rows(export(used, "--format", "cloudevents", "--account", "mixed"))
    assert sum(row["credits"] for row in rows) == deducted
    assert sum(int(row["credits"]) for row in table) == deducted
    assert sum(int(row["PricingCurrencyEffectiveCost"]) for row in focus) == deducted
    assert sum(event["data"]["credits"] for event in events) == deducted
    assert [row["waived"] for row in rows] == [0, 90, 0, 0]
    assert sum(int(row["x_WaivedCredits"]) for row in focus) == 90
    retried = rows[-1]
    assert retried["event_id"] == f"row-{retried['id']}-{retried['created_at']}"
