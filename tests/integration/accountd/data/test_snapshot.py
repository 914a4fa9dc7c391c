"""Copies of a database that is written meanwhile."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

from accountd.data import database, snapshot
from accountd.data.snapshot import Hold
from accountd.maintenance.verifying import verify
from tests.support.harness import Cluster, cluster_folder
from tests.support.usage_socket import charge, usage_socket

COPY = """
import sys
from pathlib import Path
from accountd.data import snapshot
source, key, copy = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
snapshot.copy_database(source, key, copy, on_progress=lambda _done, _total: None)
snapshot.settle(copy, key)
"""


def key_of(cluster: Cluster) -> str:
    """The key of the cluster's database."""
    return (cluster.folder / "db.key").read_text()


def copied(cluster: Cluster, name: str) -> Path:
    """A copy, made by a process of its own."""
    copy = cluster.folder / name
    source = cluster.folder / "accounts.db"
    subprocess.run(
        [sys.executable, "-c", COPY, source, key_of(cluster), copy], check=True, timeout=60
    )
    return copy


def test_copies_under_load_hold_what_was_acknowledged_before_they_began() -> None:
    """Each of them opens, has every row from before, and its books are right."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.create_account("a")
        with usage_socket(cluster) as push:
            load = threading.Thread(target=charge, args=(cluster, push, "a"), kwargs={"rows": 3000})
            load.start()
            number = 0
            while load.is_alive() or number == 0:
                before = cluster.ask("account.show", account_id="a")["token_remaining"]
                found = verify(copied(cluster, f"{number}.db"), key_of(cluster))
                assert found.problems == ()
                assert found.audit is not None
                assert found.counts["usage"] >= (10**9 - before) / 10
                number += 1
            load.join()
        last = verify(copied(cluster, "last.db"), key_of(cluster))
        assert last.counts["usage"] == 3000


def test_a_hold_that_outlives_its_daemon_leaves_a_file_that_is_served() -> None:
    """Whoever closes the file last removes the log, and then nothing is missing."""
    with cluster_folder() as cluster:
        path = cluster.folder / "accounts.db"
        daemon = cluster.start_accountd()
        with Hold(path, key_of(cluster)):
            cluster.create_account("acct")
            daemon.stop(9)
        with database.open_for_serving(path, key_of(cluster)) as opened:
            assert opened.database.execute_sql("SELECT id FROM accounts").fetchall() == [("acct",)]


def test_a_hold_is_moved_on_while_the_log_is_never_free() -> None:
    """``refresh`` sees what was committed since, and lets the log be emptied up to there."""
    with cluster_folder() as cluster:
        path, key = cluster.folder / "accounts.db", key_of(cluster)
        with database.open_for_serving(path, key) as opened, Hold(path, key) as hold:
            opened.database.execute_sql("UPDATE custody SET is_replaying = 1")
            checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
            opened.database.execute_sql("PRAGMA busy_timeout = 0")
            assert opened.database.execute_sql(checkpoint).fetchone()[0] == 1
            hold.refresh()
            assert opened.database.execute_sql("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0
        assert not snapshot.has_log(path)


def test_a_proof_changes_nothing_and_finds_a_damaged_page() -> None:
    """Neither the bytes nor the folder; a flipped bit is named."""
    with cluster_folder() as cluster:
        path, key = cluster.folder / "accounts.db", key_of(cluster)
        before = contents(cluster.folder)
        assert verify(path, key).problems == ()
        assert contents(cluster.folder) == before
        damaged = bytearray(path.read_bytes())
        damaged[10_000] ^= 1
        path.write_bytes(damaged)
        assert any("page 3" in line for line in verify(path, key).damage)


def test_a_proof_of_a_running_database_includes_its_log() -> None:
    """It proves a copy, and leaves the files and the folder as they were."""
    with cluster_folder() as cluster:
        accountd = cluster.start_accountd()
        cluster.create_account("a")
        path, key = cluster.folder / "accounts.db", key_of(cluster)
        accountd.stop(9)
        before = contents(cluster.folder)
        found = verify(path, key)
        assert found.problems == ()
        assert found.counts["accounts"] == 1
        assert contents(cluster.folder) == before


def test_a_file_that_was_copied_without_its_log_is_damaged() -> None:
    """It says that a daemon has it open, and nothing is beside it."""
    with cluster_folder() as cluster:
        path, key = cluster.folder / "accounts.db", key_of(cluster)
        with database.open_for_serving(path, key) as opened:
            opened.database.execute_sql("UPDATE custody SET is_open = 1")
            opened.database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            alone = cluster.folder / "alone.db"
            shutil.copy(path, alone)
        assert any("without its write-ahead log" in x for x in verify(alone, key).damage)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
