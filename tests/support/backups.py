"""A backup of a cluster's database, whoever has it open."""

from pathlib import Path

from accountd.maintenance.backup import make_backup
from accountd.maintenance.manifests import manifest_path
from tests.support.harness import Cluster


def key_of(cluster: Cluster) -> str:
    """The key of the cluster's database."""
    return (cluster.folder / "db.key").read_text().strip()


def back_up(cluster: Cluster, *, new_key: str | None = None) -> Path:
    """A backup of the database as it is now, in the place of the one before.

    This process must not have the database open (``data.snapshot``).
    """
    made = cluster.folder / "backup.db"
    made.unlink(missing_ok=True)
    forget_manifest(made)
    database = cluster.folder / "accounts.db"
    make_backup(database, key_of(cluster), made, new_key=new_key, tell=lambda *_step: None)
    return made


def forget_manifest(backup: Path) -> None:
    """For a test that changes the file: with its manifest it would be refused for that."""
    manifest_path(backup).unlink(missing_ok=True)
