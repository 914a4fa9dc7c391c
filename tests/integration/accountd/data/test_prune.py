"""``accountd prune`` and ``accountd archive``, beside a real daemon that applies usage."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from accountd.ctl.exporting.formats import Format
from accountd.ctl.exporting.jobs import Wanted, to_file
from accountd.ctl.exporting.pages import Selection
from accountd.data import database
from accountd.data.pruning_lock import pruning_excluded
from accountd.maintenance import pruning
from bench.big_ledger import build
from bench.running_accountd import account_of
from shared.errors import NotNowError
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

ACCOUNTS = 3
BEFORE = "2025-12-02"
BEFORE_MS = int(datetime.fromisoformat(f"{BEFORE}T00:00:00Z").timestamp() * 1000)
SENT = 100
TODAY = datetime.now(UTC).date().isoformat()
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """With a ledger of a segment and more, from the end of 2025 on."""
    with cluster_folder() as cluster:
        path = cluster.folder / "accounts.db"
        for file in cluster.folder.glob("accounts.db*"):
            file.unlink()
        key = (cluster.folder / "db.key").read_text().strip()
        build(path, key, megabytes=8, accounts=ACCOUNTS, schema=None)
        yield cluster


def test_rows_move_beside_a_daemon_that_applies_usage(cluster: Cluster) -> None:
    """Nothing is held up, and audit, statements and exports say what they said, and what moved."""
    cluster.start_accountd()
    account = account_of(0)
    before = cluster.accountctl("usage", account, "--by", "model", "--until", BEFORE)
    with usage_socket(cluster) as push:
        for sequence in range(1, SENT + 1):
            usage = UsageBatch(
                account, "s", "openai", "m", "response", 1, (f"new{sequence}",), Usage(1, 1, 2),
                NOW_MS,
            )  # fmt: skip
            push.send_multipart(encode_envelope(b"z" * 16, sequence, encode_usage(usage)))
        pruned = cluster.run("accountd", "prune", "--before", BEFORE)
    assert pruned.returncode == 0, pruned.stderr
    archive = cluster.folder / f"accounts-before-{BEFORE}.archive"
    moved = int(pruned.stdout.split()[1].replace(",", ""))
    assert moved > 10_000
    assert f"archive: {archive}, {moved:,} rows in all" in pruned.stdout
    assert (archive.stat().st_mode & 0o777) == 0o600
    eventually(lambda: len(cluster.accountctl("usage", account, "--since", TODAY)["rows"]) == SENT)
    audit = cluster.audit()
    assert audit["archived_rows"] == moved
    after = cluster.accountctl("usage", account, "--by", "model", "--until", BEFORE)
    assert 0 < after.pop("archived_rows") <= moved
    assert after == {name: value for name, value in before.items() if name != "archived_rows"}
    shown = cluster.run("accountctl", "usage", account, "--by", "day", "--csv")
    assert "rows are in an archive (accountd prune): the sums have them" in shown.stderr
    exported = cluster.run("accountctl", "export", "--format", "csv", "-o", "out.csv")
    assert f"{moved:,} rows are in an archive" in exported.stderr

    proof = cluster.run("accountd", "archive", str(archive))
    assert (proof.returncode, proof.stdout) == (
        0, f"OK: {moved:,} rows add up to the sums in the database\n",
    )  # fmt: skip
    again = cluster.run("accountd", "prune", "--before", BEFORE)
    assert again.stdout.startswith("moved 0 rows")


def test_an_export_from_which_rows_are_pruned_fails(cluster: Cluster) -> None:
    """Some of them are in the archive, and were in no page: there is no file."""
    cluster.start_accountd()
    pruned: list[str] = []

    def pruning(_rows: object) -> str:
        if not pruned:
            pruned.append(cluster.run("accountd", "prune", "--before", BEFORE).stdout)
        return "page\n"

    path = cluster.folder / "out"
    wanted = Wanted(
        cluster.env["ACCOUNTD_RPC_ENDPOINT"], Selection(), lambda _ledger: Format("", pruning)
    )
    with pytest.raises(NotNowError, match="have moved to an archive meanwhile"):
        to_file(wanted, path, after=0)
    assert "rows metered before" in pruned[0]
    assert not list(cluster.folder.glob("out*"))


def test_an_archive_has_a_key_of_its_own_where_one_is_named(cluster: Cluster) -> None:
    """For who reads it years later; without a daemon it is the same."""
    key, archive = cluster.folder / "archive.key", cluster.folder / "old.archive"
    key.write_text("cd" * 32)
    key.chmod(0o644)
    named = ("--archive", str(archive), "--new-key-file", str(key))
    refused = cluster.run("accountd", "prune", "--before", BEFORE, *named)
    assert f"run: chmod o-rwx {key}" in refused.stderr
    key.chmod(0o600)
    pruned = cluster.run("accountd", "prune", "--before", BEFORE, *named)
    assert pruned.returncode == 0, pruned.stderr
    proof = cluster.run("accountd", "archive", str(archive), "--new-key-file", str(key))
    assert (proof.returncode, proof.stdout[:3]) == (0, "OK:")
    refused = cluster.run("accountd", "archive", str(archive))
    assert refused.returncode == 78
    assert "the key does not open" in refused.stderr
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    damaged = cluster.run("accountd", "archive", str(archive), "--new-key-file", str(key))
    assert damaged.returncode in (1, 78)
    assert "OK:" not in damaged.stdout.splitlines()


def test_a_database_from_before_a_run_ended_begins_another_archive(cluster: Cluster) -> None:
    """The archive has more than it counts: that is said, and stays as it is."""
    path, copy = cluster.folder / "accounts.db", cluster.folder / "copy"
    first, second, third = (cluster.folder / f"{n}.archive" for n in range(3))
    key = (cluster.folder / "db.key").read_text().strip()

    def interrupted(*_: int) -> None:
        raise InterruptedError

    with (
        pytest.raises(InterruptedError),
        database.open_for_pruning(path, key) as opened,
    ):
        order = pruning.Order(BEFORE_MS, first, key)
        pruning.prune(opened.database.connection(), path, order, now=TODAY, progress=interrupted)
    shutil.copy(path, copy)
    prune = ("accountd", "prune", "--before", BEFORE, "--archive")
    assert cluster.run(*prune, str(first)).returncode == 0
    copy.replace(path)
    refused = cluster.run(*prune, str(first))
    assert "portions, and the ledger knows of 1" in refused.stderr
    assert "name a new file: --archive NEWFILE --begin-anew" in refused.stderr
    assert "an interrupted run has begun" in cluster.run(*prune, str(second)).stderr
    assert cluster.run(*prune, str(second), "--begin-anew").returncode == 0
    assert cluster.run(*prune, str(third)).stdout.startswith("no rows to move")
    proofs = [cluster.run("accountd", "archive", str(each)).stdout for each in (first, second)]
    assert proofs[0].startswith("OK: 4,096 rows add up")
    assert "rows more are not counted there" in proofs[0]
    assert len(proofs[1].splitlines()) == 1


@pytest.mark.parametrize("role", ["standby", "superseded"])
def test_what_nobody_may_serve_is_not_pruned(role: str) -> None:
    """A standby is written by its follower alone; nor does it get another key."""
    with cluster_folder() as cluster:
        says = '{"state": "following", "source": "a.db", "folded": null, "by": "b.db"}'
        new_key = cluster.folder / "new.key"
        new_key.touch(0o600)
        new_key.write_text("cd" * 32)
        (cluster.folder / f"accounts.db.{role}").write_text(says)
        for words in (("prune", "--before", BEFORE), ("rekey", "--new-key-file", str(new_key))):
            refused = cluster.run("accountd", *words)
            assert refused.returncode == 78
            assert role in refused.stderr


def test_days_that_are_not_over_or_too_recent_are_refused() -> None:
    """The running month keeps its rows, unless somebody insists."""
    with cluster_folder() as cluster:
        for before, refusal in (
            ("yesterday", "expected a day as YYYY-MM-DD"),
            ("2999-01-01", "is not over yet"),
            (TODAY, "is less than 35 days ago"),
        ):
            refused = cluster.run("accountd", "prune", "--before", before)
            assert refused.returncode == 78
            assert refusal in refused.stderr
        sure = cluster.run("accountd", "prune", "--before", TODAY, "--yes")
        assert (sure.returncode, sure.stdout[:15]) == (0, "no rows to move")


def test_migrating_and_pruning_exclude_each_other() -> None:
    """The file must not be replaced under one that writes it."""
    with cluster_folder() as cluster, pruning_excluded(cluster.folder / "accounts.db"):
        for words in (("migrate",), ("prune", "--before", "2026-01-01")):
            refused = cluster.run("accountd", *words)
            assert refused.returncode == 73
            assert "accountd prune" in refused.stderr
        cluster.start_accountd()  # a daemon needs not wait


def test_an_archive_is_never_the_database(prepared: Cluster) -> None:
    """Nor its log, by whatever name."""
    (prepared.folder / "link.archive").symlink_to("accounts.db-wal")
    for name in ("accounts.db", "link.archive"):
        done = prepared.run("accountd", "prune", "--before", "2026-05-01", "--archive", name)
        assert done.returncode == 78
        assert "belongs to the database" in done.stderr
