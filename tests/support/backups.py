"""A backup of a cluster's database, whoever has it open."""

from pathlib import Path

from accountd.data import snapshot
from tests.support.harness import Cluster


def key_of(cluster: Cluster) -> str:
    """The key of the cluster's database."""
    return (cluster.folder / "db.key").read_text().strip()


def back_up(cluster: Cluster) -> Path:
    """A backup of the database as it is now, in the place of the one before."""
    made = cluster.folder / "backup.db"
    made.unlink(missing_ok=True)
    key = key_of(cluster)
    database = cluster.folder / "accounts.db"
    snapshot.copy_database(database, key, made, on_progress=lambda _done, _total: None)
    snapshot.settle(made, key)
    return made
