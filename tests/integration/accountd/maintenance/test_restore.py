"""``accountd restore``: a backup in the place of the database, and what it lacks is put back."""

import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accountd.data import database, private_copy
from accountd.maintenance import restoring
from accountd.maintenance.restoring import Asked, Restored
from shared.errors import OperatorError
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.integration.accountd.maintenance.test_rekey import digests, opens
from tests.support.backups import back_up, forget_manifest, key_of
from tests.support.database import create_account
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.killed import killed_at
from tests.support.usage_socket import usage_socket

OTHER_KEY = "cd" * 32
PRODUCER = b"p" * 16


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs, and a backup of it."""
    with cluster_folder() as cluster:
        back_up(cluster)
        yield cluster


def path_of(cluster: Cluster) -> Path:
    """The database."""
    return cluster.folder / "accounts.db"


def restore(cluster: Cluster, *, is_other_ledger: bool = False) -> Restored:
    """The act without a process of its own."""
    path, key = path_of(cluster), key_of(cluster)
    asked = Asked(
        path, key, cluster.folder / "backup.db", key, Path(f"{path}.journal"),
        is_other_ledger=is_other_ledger,
    )  # fmt: skip
    return restoring.restore(asked, lambda _what, _share: None)


def add_account(cluster: Cluster, name: str) -> None:
    """An account that was made while no daemon runs."""
    with database.open_for_serving(path_of(cluster), key_of(cluster)):
        create_account(name, tokens=5)


def accounts(cluster: Cluster) -> set[str]:
    """The accounts in the database, which has the newest schema."""
    with database.open_for_serving(path_of(cluster), key_of(cluster)) as opened:
        return {name for (name,) in opened.database.execute_sql("SELECT id FROM accounts")}


def send(cluster: Cluster, first: int, last: int) -> None:
    """What a gateway sends: a range of batches of one token each; waits until all are durable."""
    batch = UsageBatch("acct", "s", "openai", "m", "response", 1, ("r",), Usage(1, 0, 1), 0)
    with usage_socket(cluster) as push:
        for sequence in range(first, last + 1):
            push.send_multipart(encode_envelope(PRODUCER, sequence, encode_usage(batch)))
        eventually(lambda: cluster.ask("sync", producers=[PRODUCER])["applied_through"][0] >= last)


def test_what_came_after_the_backup_is_put_back_or_expected(prepared: Cluster) -> None:
    """A killed daemon's database is replaced: grants since the backup are there, usage is expected
    and charged once when it is sent again, and the old log is not applied to the new file.
    """
    daemon = prepared.start_accountd()
    prepared.create_account("acct", tokens=100)
    send(prepared, 1, 3)
    back_up(prepared)
    prepared.accountctl("account", "topup", "acct", "40", "--id", "grant-1")
    prepared.create_account("later", tokens=7)
    send(prepared, 4, 9)
    daemon.stop(9)
    done = prepared.run("accountd", "restore", "backup.db", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    granted = {
        (x["name"], x["account_id"], x["topup_delta"], x["token_delta"])
        for x in found["changes"]
        if x["subject"] == "grant"
    }
    assert ("grant-1", "acct", 40, 0) in granted
    assert {x[1:] for x in granted} == {("acct", 40, 0), ("later", 0, 7)}
    assert (found["expected_producers"], found["expected_batches"]) == (1, 6)
    assert found["lost_changes"] == []
    prepared.start_accountd()
    send(prepared, 1, 9)
    shown = prepared.accountctl("account", "show", "acct")
    assert (shown["topup_remaining"], shown["token_remaining"]) == (40 - 6, 100 - 3)
    assert prepared.accountctl("account", "show", "later")["token_remaining"] == 7
    assert prepared.audit()["ok"]
    for kept in prepared.folder.glob("*.replaced-*"):
        assert kept.stat().st_mode & 0o077 == 0


def test_on_a_lost_disk(prepared: Cluster) -> None:
    """There is no database any more, and nothing but the backup knows anything."""
    path_of(prepared).unlink()
    done = prepared.run("accountd", "restore", "backup.db")
    assert done.returncode == 0, done.stderr
    assert "nothing remembers what operators changed since the backup" in done.stdout
    assert opens(path_of(prepared), key_of(prepared))


def test_a_backup_under_another_key(prepared: Cluster) -> None:
    """The database keeps its own key."""
    back_up(prepared, new_key=OTHER_KEY)
    key_file = prepared.folder / "backup.key"
    key_file.write_text(OTHER_KEY)
    key_file.chmod(0o600)
    assert "does not open" in prepared.run("accountd", "restore", "backup.db").stderr
    done = prepared.run("accountd", "restore", "backup.db", "--key-file", str(key_file))
    assert done.returncode == 0, done.stderr
    assert opens(path_of(prepared), key_of(prepared))


def test_an_older_backup_is_migrated(prepared: Cluster) -> None:
    """A backup of the schema before ledgers had ids counts as one of this ledger."""
    backup, path = prepared.folder / "backup.db", path_of(prepared)
    newest = back_up(prepared).read_bytes()
    forget_manifest(backup)
    path.unlink()
    with database.open_for_migrating(path, key_of(prepared)) as opened:
        for step in [s.name for s in opened.runner.status() if s.name < "0021"]:
            opened.runner.up(step)
    path.rename(backup)
    path.write_bytes(newest)
    done = restore(prepared)
    assert "0021_custody" in done.migrated
    assert any("counts as of this one" in note for note in done.notes)
    assert opens(path, key_of(prepared))


def test_a_damaged_database_is_replaced(prepared: Cluster) -> None:
    """What cannot be read of it is said."""
    with path_of(prepared).open("r+b") as file:
        file.write(os.urandom(4_096))
    done = restore(prepared)
    assert any("the replaced database was not read" in note for note in done.notes)
    assert opens(path_of(prepared), key_of(prepared))


def test_another_ledger_only_when_asked(prepared: Cluster) -> None:
    """Its id differs; when it is asked for, nothing of this ledger is put into it."""
    with cluster_folder() as other:
        (other.folder / "db.key").write_text(key_of(prepared))
        path_of(other).unlink()
        with database.open_for_migrating(path_of(other), key_of(other)) as opened:
            opened.runner.up()
        add_account(other, "theirs")
        shutil.copy(back_up(other), prepared.folder / "backup.db")
        forget_manifest(prepared.folder / "backup.db")
    add_account(prepared, "ours")
    with pytest.raises(OperatorError, match="another ledger"):
        restore(prepared)
    assert accounts(prepared) == {"ours"}
    restore(prepared, is_other_ledger=True)
    assert accounts(prepared) == {"theirs"}


def no_backup(cluster: Cluster) -> None:
    """The name is wrong."""
    (cluster.folder / "backup.db").unlink()


def the_database(cluster: Cluster) -> None:
    """A link to what is to be replaced."""
    (cluster.folder / "backup.db").unlink()
    (cluster.folder / "backup.db").symlink_to(path_of(cluster))


def plain(cluster: Cluster) -> None:
    """A SQLite file that is not encrypted."""
    (cluster.folder / "backup.db").unlink()
    connection = sqlite3.connect(cluster.folder / "backup.db")
    connection.execute("CREATE TABLE accounts (id TEXT)")
    connection.commit()
    connection.close()


def truncated(cluster: Cluster) -> None:
    """The copy to the other machine was interrupted."""
    backup = cluster.folder / "backup.db"
    os.truncate(backup, backup.stat().st_size // 2)


def flipped(cluster: Cluster) -> None:
    """One bit of the last page but one."""
    with (cluster.folder / "backup.db").open("r+b") as file:
        file.seek(-6_000, os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def newer(cluster: Cluster) -> None:
    """A migration that this release does not have."""
    forget_manifest(cluster.folder / "backup.db")
    with private_copy.opened(cluster.folder / "backup.db", key_of(cluster)) as connection:
        connection.execute("INSERT INTO schema_migration (name, applied) VALUES ('0099_x', '2030')")


def other_manifest(cluster: Cluster) -> None:
    """The manifest of another backup."""
    path = cluster.folder / "backup.db.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "ab" * 32}))


def empty_manifest(cluster: Cluster) -> None:
    """One that says nothing proves nothing."""
    (cluster.folder / "backup.db.manifest.json").write_text('{"format": 1}')


def superseded(cluster: Cluster) -> None:
    """The standby of the database was promoted."""
    (cluster.folder / "accounts.db.superseded").write_text('{"by": "standby.db"}')


def journal_elsewhere(cluster: Cluster) -> None:
    """Its setting names a database."""
    cluster.env["ACCOUNTD_JOURNAL"] = str(cluster.folder / "backup.db")


def lost_key(cluster: Cluster) -> None:
    """The key file is gone."""
    (cluster.folder / "db.key").unlink()


REFUSED = [
    (no_backup, "no backup at"),
    (the_database, "is the database itself"),
    (plain, "is a plain SQLite file"),
    (truncated, "is damaged (SQLITE_CORRUPT) (restore another backup; nothing was changed)"),
    (flipped, "cannot be restored"),
    (newer, "newer schema; unknown here: 0099_x"),
    (other_manifest, "cannot be restored: sha256"),
    (empty_manifest, "backup.db.manifest.json cannot be read as a manifest"),
    (superseded, "was superseded by standby.db"),
    (journal_elsewhere, "it is another database, and no journal"),
    (lost_key, "DB_ENCRYPTION_KEY_FILE: cannot read"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED)
def test_refused_and_nothing_changed(
    prepared: Cluster, spoil: Callable[[Cluster], None], message: str
) -> None:
    """One line says why, with 78; every file is as it was, and none is new."""
    spoil(prepared)
    before = digests(prepared.folder)
    done = prepared.run("accountd", "restore", "backup.db")
    assert done.returncode == 78, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert digests(prepared.folder) == before


def test_refused_under_a_running_daemon(prepared: Cluster) -> None:
    """73, and what the daemon has open is as it was."""
    prepared.start_accountd()
    done = prepared.run("accountd", "restore", "backup.db")
    assert done.returncode == 73
    prepared.create_account("acct")
    assert prepared.audit()["ok"]


def test_a_full_disk_is_said_before_anything_is_written(
    prepared: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bytes that are needed and those that there are."""
    before = digests(prepared.folder)
    usage = shutil.disk_usage(prepared.folder)._replace(free=4_096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(OperatorError, match=r"has 4,096 bytes free, and [\d,]+ are needed") as said:
        restore(prepared)
    assert said.value.exit_code == 75
    assert digests(prepared.folder) == before


def test_killed_anywhere_it_is_the_old_or_the_restored_one(prepared: Cluster) -> None:
    """At every third operation on files; the next try works, and puts back what was made since."""
    add_account(prepared, "before")
    back_up(prepared)
    code, at = -9, 0
    while code:
        add_account(prepared, f"since-{at}")
        wanted = accounts(prepared)
        code = killed_at(at, lambda: restore(prepared))
        assert accounts(prepared) == wanted, at
        at += 3
    assert at > 30
    assert wanted == {
        "before",
        *(f"since-{n}" for n in itertools.takewhile(lambda n: n < at, itertools.count(0, 3))),
    }
    restore(prepared)
    assert not list(prepared.folder.glob("*.staged*"))
