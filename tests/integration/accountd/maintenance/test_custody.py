"""A real accountd whose database is not what it was: a torn copy, an older one, a lost journal."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accountd.maintenance import rekeying, restoring
from accountd.maintenance.restoring import Asked
from shared.errors import DatabaseUnusableError
from tests.integration.accountd.maintenance.test_restore import path_of, send
from tests.support.backups import back_up, key_of
from tests.support.conversation import conversation
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.tuned import SOON_REOPENED

DISK_BYTES = 200_000


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs."""
    with cluster_folder() as cluster:
        yield cluster


def put_in_place(cluster: Cluster, copy: Path) -> None:
    """What an operator does by hand: the files of the database make way for a copy."""
    for file in cluster.folder.glob("accounts.db*"):
        if file.suffix not in (".journal", ".lock"):
            file.unlink()
    shutil.copy(copy, path_of(cluster))


def restored_from(cluster: Cluster, source: Path) -> Asked:
    """What ``accountd restore`` would be asked for."""
    path, key = path_of(cluster), key_of(cluster)
    return Asked(path, key, source, key, Path(f"{path}.journal"))


def tell_nobody(_what: str, _share: float | None) -> None:
    """Nobody looks."""


def test_a_copy_without_its_log_is_refused_everywhere(prepared: Cluster) -> None:
    """It was copied from under a running daemon. Used nevertheless, it gets what the journal has,
    and the audit fails until the usage is there again.
    """
    daemon = prepared.start_accountd()
    prepared.create_account("acct", tokens=100)
    torn = prepared.folder / "torn.db"
    shutil.copy(path_of(prepared), torn)
    send(prepared, 1, 3)
    daemon.stop()
    put_in_place(prepared, torn)
    for command, code in ((("serve",), 78), (("verify", str(torn)), 1)):
        done = prepared.run("accountd", *command)
        assert done.returncode == code, done.stderr
        assert "was copied without its write-ahead log" in done.stdout + done.stderr
    asked = restored_from(prepared, torn)
    for refused in (
        lambda: restoring.restore(asked, tell_nobody),
        lambda: rekeying.rekey(
            asked.path, asked.key, "ef" * 32, journal=asked.journal, key_file=None, tell=tell_nobody
        ),
    ):
        with pytest.raises(DatabaseUnusableError, match="without its write-ahead log"):
            refused()
    Path(f"{path_of(prepared)}-wal").touch()
    prepared.start_accountd()
    found = prepared.audit()
    assert not found["ok"]
    assert found["expected"]["batches_total"] == 3
    text = prepared.run("accountctl", "audit").stdout
    assert "missing usage: 3 batches of 1 producers that were durable once" in text
    send(prepared, 1, 3)
    assert prepared.audit()["ok"]
    assert prepared.accountctl("account", "show", "acct")["token_remaining"] == 97


def test_an_older_copy_under_a_journal_on_another_disk(prepared: Cluster) -> None:
    """Put in place by hand: grants come from the journal, usage from the gateways."""
    prepared.env["ACCOUNTD_JOURNAL"] = str(prepared.folder / "elsewhere" / "a.journal")
    (prepared.folder / "elsewhere").mkdir()
    daemon = prepared.start_accountd()
    prepared.create_account("acct", tokens=100)
    send(prepared, 1, 2)
    copy = back_up(prepared)
    prepared.accountctl("account", "topup", "acct", "40", "--id", "grant-1")
    send(prepared, 3, 9)
    daemon.stop()
    put_in_place(prepared, copy)
    prepared.start_accountd()
    assert prepared.accountctl("account", "show", "acct")["topup_remaining"] == 40
    assert prepared.audit()["expected"]["batches_total"] == 7
    send(prepared, 3, 9)
    assert prepared.audit()["ok"]


def test_restore_and_rekey_use_the_journal_of_the_setting(prepared: Cluster) -> None:
    """What came after the backup is in it, and it gets the new key together with the database."""
    journal = prepared.folder / "elsewhere" / "a.journal"
    journal.parent.mkdir()
    prepared.env["ACCOUNTD_JOURNAL"] = str(journal)
    daemon = prepared.start_accountd()
    prepared.create_account("acct", tokens=100)
    back_up(prepared)
    prepared.accountctl("account", "topup", "acct", "40", "--id", "grant-1")
    daemon.stop(9)
    path_of(prepared).unlink()  # the disk is lost: the journal alone knows
    Path(f"{path_of(prepared)}-wal").unlink()
    done = prepared.run("accountd", "restore", "backup.db")
    assert done.returncode == 0, done.stderr
    assert "grant grant-1 of acct: topup +40, tokens +0, from the journal" in done.stdout
    new_key = prepared.folder / "new.key"
    new_key.write_text("ef" * 32)
    new_key.chmod(0o600)
    before = journal.read_bytes()
    done = prepared.run("accountd", "rekey", "--new-key-file", str(new_key), "--replace-key-file")
    assert done.returncode == 0, done.stderr
    (kept,) = journal.parent.glob("a.journal.replaced-*")
    assert kept.read_bytes() == before
    daemon = prepared.start_accountd()
    prepared.accountctl("account", "topup", "acct", "2")
    assert prepared.accountctl("account", "show", "acct")["topup_remaining"] == 42
    assert prepared.audit()["ok"]
    assert daemon.complaints() == []


@pytest.fixture
def disk(prepared: Cluster) -> Iterator[Path]:
    """A small disk of its own for the journal."""
    disk = prepared.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    prepared.env["ACCOUNTD_JOURNAL"] = str(disk / "a.journal")
    try:
        yield disk
    finally:
        prepared.kill()
        subprocess.run(["umount", str(disk)], check=True)


def assert_only_told(cluster: Cluster, daemon: Daemon, sequence: int) -> None:
    """The answer of a command has a warning, and usage goes on."""
    topped = cluster.run("accountctl", "account", "topup", "acct", "40")
    assert topped.returncode == 0
    assert topped.stderr.startswith("warning: this is done, but the journal cannot be written")
    send(cluster, sequence, sequence)
    assert daemon.metrics()["rts_accountd_journal_failing"] == 1
    assert daemon.metrics()["rts_accountd_journal_behind"] == 1


def assert_caught_up(daemon: Daemon) -> None:
    """Later nothing is behind."""
    eventually(lambda: daemon.metrics()["rts_accountd_journal_failing"] == 0)
    assert daemon.metrics()["rts_accountd_journal_behind"] == 0


def test_a_disk_under_the_journal_that_takes_nothing_stops_nothing(
    prepared: Cluster, disk: Path
) -> None:
    """It is full, and after a start it can only be read."""
    listen = ("--accountd-ops-listen", "127.0.0.1:0")
    daemon = prepared.start_accountd(*listen)
    prepared.create_account("acct", tokens=100)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(4096))
    assert_only_told(prepared, daemon, 1)
    assert "database or disk is full" in daemon.log.read_text()
    ballast.unlink()
    assert_caught_up(daemon)
    daemon.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    daemon = prepared.start_accountd(*listen, tuned=SOON_REOPENED)
    eventually(lambda: "attempt to write a readonly database" in daemon.log.read_text())
    assert_only_told(prepared, daemon, 2)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert_caught_up(daemon)


async def talk(cluster: Cluster, key: str, responses: int) -> None:
    """A session through the gateway."""
    async with conversation(cluster.url, key) as client:
        await client.respond_times(responses)


def test_gateways_tell_what_a_restored_ledger_lost(prepared: Cluster) -> None:
    """Database and journal are gone, and a backup was put in place by hand: usage comes from the
    spool, and the audit says how many changes nobody has, until an operator settles that.
    """
    daemon = prepared.start_accountd()
    prepared.start_simulator()
    prepared.start_gateway()
    key, other = prepared.create_account("acct"), prepared.create_account("other")
    copy = back_up(prepared)
    for amount in ("1", "2", "3"):
        prepared.accountctl("account", "topup", "acct", amount)
    asyncio.run(talk(prepared, key, 2))
    eventually(lambda: len(prepared.usage_rows("acct")) == 1)
    prepared.accountctl("key", "revoke", f"{other[:5]}…{other[-5:]}")
    # Each of these commands ends when the gateway has asked for recalls once more. So this one,
    # which changes nothing, when the gateway has the answer from before, which tells of the change.
    prepared.accountctl("sessions", "end", "--account", "other")
    daemon.stop(signal.SIGKILL)
    Path(f"{path_of(prepared)}.journal").unlink()
    put_in_place(prepared, copy)
    prepared.start_accountd()
    eventually(lambda: prepared.audit()["expected"]["changes_total"] == 4)
    eventually(lambda: len(prepared.usage_rows("acct")) == 1)
    found = prepared.audit()
    assert (found["ok"], found["expected"]["usage"]) == (False, [])
    told = prepared.run("accountctl", "audit").stdout
    assert "missing changes: 4 changes of accounts, keys and grants" in told
    settled = prepared.run("accountctl", "audit", "--settle", "made again by hand")
    assert settled.returncode == 0, settled.stdout
    prepared.accountd.stop()
    prepared.start_accountd()
    assert prepared.audit()["ok"]
