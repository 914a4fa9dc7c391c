"""Backups of a real database, with and without a daemon, killed and out of space."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accountd.data import database
from accountd.data.partial_file import partial_file
from accountd.maintenance.backup import PARTIAL, Backup, make_backup
from accountd.maintenance.manifests import differences, read_manifest
from accountd.maintenance.verifying import verify
from shared.errors import ConfigError, DatabaseUnusableError, NotNowError
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.killed import killed_at
from tests.support.usage_socket import charge, usage_socket

OPERATIONS_MAX = 120  # on files, of a backup of a small ledger


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs."""
    with cluster_folder() as cluster:
        yield cluster


def key_of(cluster: Cluster) -> str:
    """The key of the cluster's database."""
    return (cluster.folder / "db.key").read_text()


def made(cluster: Cluster, name: str, *, new_key: str | None = None) -> Backup:
    """A backup, without a process of its own."""
    return make_backup(
        cluster.folder / "accounts.db", key_of(cluster), cluster.folder / name, new_key=new_key,
        tell=lambda _doing, _done, _total: None,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    """All files, hidden ones too, but what belongs to the running database."""
    return sorted(x.name for x in folder.iterdir() if not x.name.startswith("accounts.db"))


def test_a_running_daemon_makes_a_backup(prepared: Cluster) -> None:
    """It holds what was acknowledged and is what its manifest says; a second one has to wait."""
    prepared.start_accountd()
    prepared.create_account("a")
    with usage_socket(prepared) as push:
        charge(prepared, push, "a", rows=300)
    destination = prepared.folder / "one.db"
    asked = {"destination": str(prepared.folder / "first.db"), "new_key_file": None}
    number = prepared.ask("backup.start", **asked)["number"]
    with pytest.raises(NotNowError, match=r"a backup to \S+first\.db is being made"):
        prepared.ask("backup.start", **asked)
    eventually(lambda: prepared.ask("backup.state", number=number)["manifest"])
    done = prepared.run("accountctl", "backup", "one.db")  # relative to where accountctl runs
    assert (done.returncode, done.stderr) == (0, "")
    assert "pages, indexes and the audit are right" in done.stdout
    manifest = json.loads((prepared.folder / "one.db.manifest.json").read_text())
    assert manifest["counts"]["usage"] == 300
    assert manifest["watermarks"] == {(b"p" * 16).hex(): 300}
    assert manifest["sha256"] == hashlib.sha256(destination.read_bytes()).hexdigest()
    assert destination.stat().st_mode & 0o777 == 0o600
    found = prepared.run("accountd", "verify", "one.db")
    assert (found.returncode, found.stderr) == (0, "")
    assert "compared with its manifest" in found.stdout
    refused = prepared.run("accountctl", "backup", "one.db")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "is there already (a backup replaces no file)" in refused.stderr


def test_a_backup_with_another_key(prepared: Cluster) -> None:
    """Only that key opens it, a passphrase too; its manifest says so."""
    (prepared.folder / "new.key").write_text("another passphrase, it's long\n")
    (prepared.folder / "new.key").chmod(0o600)
    done = prepared.run("accountd", "backup", "b.db", "--new-key-file", "new.key", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["has_other_key"]
    with pytest.raises(DatabaseUnusableError, match="does not open"):
        verify(prepared.folder / "b.db", key_of(prepared))
    found = verify(prepared.folder / "b.db", "another passphrase, it's long")
    assert found.problems == ()


REFUSED = [
    ("there.db", "is there already (a backup replaces no file)"),
    ("nowhere/b.db", "no folder "),
    ("folder", "is a folder (name a file in it)"),
    ("accounts.db", "belongs to the database (choose another name)"),
    ("folder/../accounts.db-wal", "belongs to the database (choose another name)"),
]


def test_a_destination_that_cannot_be(prepared: Cluster) -> None:
    """Each is refused, and nothing is there that was not before."""
    (prepared.folder / "there.db").write_bytes(b"somebody's")
    (prepared.folder / "folder").mkdir()
    before = names(prepared.folder)
    for destination, message in REFUSED:
        with pytest.raises(ConfigError, match=re.escape(message)):
            made(prepared, destination)
        assert names(prepared.folder) == before


def test_a_second_one_waits(prepared: Cluster) -> None:
    """Whoever makes the first; what it makes is not taken for a leftover."""
    with (
        partial_file(prepared.folder / "a.db", PARTIAL) as partial,
        pytest.raises(NotNowError, match="is being made by another process"),
    ):
        made(prepared, "a.db")
    assert not partial.exists()
    assert made(prepared, "a.db").ok


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of so many bytes."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(prepared: Cluster) -> None:
    """Of a backup that the daemon makes, which goes on; with room the next one works."""
    prepared.start_accountd()
    prepared.create_account("a")
    with small_disk(prepared.folder, "128k") as disk:
        done = prepared.run("accountctl", "backup", "disk/b.db")
        assert done.returncode == 75
        assert "No space left on device (free some space; no backup was made)" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert names(disk) == []
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert prepared.run("accountctl", "backup", "disk/b.db").returncode == 0
    assert prepared.audit()["ok"]


def test_what_is_wrong_in_the_ledger_is_backed_up_and_said(prepared: Cluster) -> None:
    """A drift is no damage: exit 1, the finding in the manifest; a damaged page makes none."""
    path, key = prepared.folder / "accounts.db", key_of(prepared)
    with database.open_for_serving(path, key) as opened:
        opened.database.execute_sql(
            "INSERT INTO accounts (id, email, token_remaining, topup_remaining, status, created_at,"
            " updated_at) VALUES ('a', 'a@example.org', 5, 0, 1, '2026', '2026')"
        )
    done = prepared.run("accountd", "backup", "b.db")
    assert done.returncode == 1
    assert "audit NOT OK: 1 accounts whose balance drifts" in done.stdout
    manifest = json.loads((prepared.folder / "b.db.manifest.json").read_text())
    assert manifest["audit"]["ok"] is False
    damaged = bytearray(path.read_bytes())
    damaged[20_000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatabaseUnusableError, match=r"no backup was made: HMAC .* for page 5"):
        made(prepared, "c.db")
    assert not (prepared.folder / "c.db").exists()


def test_a_backup_that_is_not_what_its_manifest_says(prepared: Cluster) -> None:
    """Each difference is named: exit 1."""
    made(prepared, "b.db")
    manifest = prepared.folder / "b.db.manifest.json"
    values = json.loads(manifest.read_text())
    values["counts"]["usage"], values["epoch"] = 7, 3
    manifest.write_text(json.dumps(values))
    done = prepared.run("accountd", "verify", "b.db")
    assert done.returncode == 1
    assert "epoch: the manifest says 3, the file has 0" in done.stdout
    assert "counts: the manifest says" in done.stdout


def test_an_empty_file_is_no_good_ledger(prepared: Cluster) -> None:
    """Nothing in it is wrong, and all of it is missing."""
    (prepared.folder / "empty.db").touch()
    done = prepared.run("accountd", "verify", str(prepared.folder / "empty.db"))
    assert done.returncode == 1
    assert done.stdout.startswith("NOT OK")
    assert "it is empty" in done.stdout


def test_killed_anywhere_there_is_none_or_a_whole_one(prepared: Cluster) -> None:
    """Before every third operation on files; the next try works and removes what is left."""
    key, path = key_of(prepared), prepared.folder / "b.db"
    for at in range(0, OPERATIONS_MAX, 3):
        code = killed_at(at, lambda: made(prepared, "b.db"))
        manifest = read_manifest(path)
        if path.exists():
            assert manifest is not None
            assert differences(manifest, verify(path, key)) == []
            path.unlink()
        if code == 0:
            break
    assert 9 < at < OPERATIONS_MAX - 3
    assert made(prepared, "b.db").ok
    assert [x for x in names(prepared.folder) if "partial" in x] == []


def test_the_daemon_makes_backups_by_itself_and_keeps_the_newest(prepared: Cluster) -> None:
    """The oldest beyond ``--keep`` go once a new one is proven; other files stay."""
    folder = prepared.folder / "backups"
    folder.mkdir()
    old = [folder / f"accounts-2020010{day}T000000Z.db" for day in (1, 2, 3)]
    made(prepared, f"backups/{old[0].name}")
    for path in old[1:]:
        shutil.copy(old[0], path)
        shutil.copy(f"{old[0]}.manifest.json", f"{path}.manifest.json")
    foreign = [folder / "accounts-old.db", folder / "accounts-20200101T000000Z.db.txt"]
    for path in foreign:
        path.write_bytes(b"somebody's")
    left = folder / ".accounts-20200104T000000Z.db.backup-partial"
    left.write_bytes(b"half")
    accountd = prepared.start_accountd(
        "--backup-dir", "backups", "--keep", "2", "--accountd-ops-listen", "127.0.0.1:0"
    )
    eventually(lambda: accountd.metrics()["rts_accountd_backup_last_success_seconds"] > 0)
    eventually(lambda: len(list(folder.iterdir())) == 6)
    kept = sorted(folder.glob("accounts-*Z.db"))
    assert kept[0] == old[2]
    assert len(kept) == 2
    assert abs(kept[1].stat().st_mtime - time.time()) < 600
    assert all(path.exists() for path in foreign)
    assert not left.exists()
    assert accountd.metrics()["rts_accountd_backup_failures_total"] == 0


def test_a_backup_that_fails_is_an_error_of_the_log_and_a_number(prepared: Cluster) -> None:
    """The daemon serves on."""
    (prepared.folder / "backups").write_bytes(b"no folder")
    accountd = prepared.start_accountd(
        "--backup-dir", "backups", "--accountd-ops-listen", "127.0.0.1:0"
    )
    eventually(lambda: accountd.metrics()["rts_accountd_backup_failures_total"] == 1)
    (failed,) = [line for line in accountd.complaints() if "backup failed" in line]
    assert "backups is a file" in failed
    assert prepared.audit()["ok"]


def test_a_stop_does_not_wait_for_a_backup(prepared: Cluster) -> None:
    """The child is killed, and its leftover is removed by the next one."""
    accountd = prepared.start_accountd()
    prepared.ask("backup.start", destination=str(prepared.folder / "b.db"), new_key_file=None)
    assert accountd.stop(signal.SIGTERM) == 0
    assert not (prepared.folder / "b.db").exists()
    assert made(prepared, "c.db").ok
    assert [x for x in names(prepared.folder) if "partial" in x] == []


def test_a_link_leads_to_the_one_database(prepared: Cluster) -> None:
    """Its log and its lock are beside the file, by whatever name it is reached."""
    (prepared.folder / "link.db").symlink_to("accounts.db")
    prepared.start_accountd()
    prepared.create_account("acct")
    done = prepared.run("accountd", "verify", DB_PATH="link.db")
    assert done.returncode == 0, done.stdout
    assert "accounts 1" in done.stdout
    assert prepared.run("accountd", "verify", "link.db").returncode == 0
    second = prepared.run("accountd", "serve", DB_PATH="link.db")
    assert second.returncode == 73, second.stderr


@pytest.mark.parametrize(("file", "code", "told"), [
    (".", 78, "no database at ."),
    ("accounts.db.journal", 1, "it is no ledger: it has no accounts"),
    ("other.db", 78, "--key-file names the key that it was made with"),
])  # fmt: skip
def test_what_is_no_ledger_is_never_right(
    prepared: Cluster, file: str, code: int, told: str
) -> None:
    """And each says why."""
    prepared.start_accountd().stop()
    (prepared.folder / "other.db").write_bytes(os.urandom(8192))
    done = prepared.run("accountd", "verify", file)
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("file", "told"), [
    ("accounts.db", "is of the database itself"),
    ("accounts.db.lock", "is of the database itself"),
    (".", "is a folder"),
    ("db.key", "is the file of the database's key"),
])  # fmt: skip
def test_the_journal_is_never_what_is_needed(prepared: Cluster, file: str, told: str) -> None:
    """A journal that cannot be read is set aside, and a file with another content is none."""
    journal = str(prepared.folder / file)
    done = prepared.run("accountd", "restore", "b.db", ACCOUNTD_JOURNAL=journal)
    assert done.returncode == 78
    assert f"{told} (name another file)" in done.stderr
