"""A standby that follows a cluster's database; and a remote shell that reaches no other host."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accountd.data import database, standby_role
from accountd.maintenance.following.receiving import finish_swap
from tests.support.harness import BIN, Cluster, Daemon, eventually

# What ``ssh HOST COMMAND`` does, without a host.
RSH = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
_COUNTS = (
    "SELECT (SELECT count(*) FROM usage), (SELECT count(*) FROM credit_grants),"
    " (SELECT coalesce(sum(token_remaining), 0) FROM accounts)"
)


@dataclass
class Standby:
    """``accountd follow`` into a file of a cluster's folder, or of another one."""

    cluster: Cluster
    path: Path
    source: str = ""
    daemon: Daemon | None = None
    _begun: Any = None

    def start(self, *options: str) -> Daemon:
        """Start the follower, and wait until it has a whole copy."""
        self.daemon = Daemon.start(
            "accountd", "follow", self.source or self.cluster.env["DB_PATH"], str(self.path),
            *options, env=self.cluster.env, folder=self.cluster.folder,
        )  # fmt: skip
        return self.daemon

    @property
    def source_path(self) -> Path:
        """The primary's file."""
        return Path(self.source or self.cluster.env["DB_PATH"])

    def begin(self) -> "subprocess.Popen[bytes]":
        """Start a follower that nobody waits for."""
        with (self.cluster.folder / "followers.log").open("ab") as log:
            self._begun = subprocess.Popen(
                [BIN / "accountd", "follow", self.source_path, self.path],
                env=self.cluster.env, cwd=self.cluster.folder, stdout=log, stderr=log,
            )  # fmt: skip
        return self._begun

    def children(self) -> list[int]:
        """The processes that the follower begun last has started."""
        pid = self._begun.pid
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def has_base(self) -> bool:
        """Whether it can be promoted."""
        role = standby_role.read(self.path)
        finish_swap(self.path)
        return role is not None and role.has_base

    @property
    def status(self) -> dict[str, Any]:
        """What the follower wrote last."""
        try:
            found: dict[str, Any] = json.loads(Path(f"{self.path}.standby-status").read_text())
        except FileNotFoundError:
            return {"state": "unknown", "complete_as_of": None}
        return found

    def catch_up(self) -> dict[str, Any]:
        """Wait until all that is committed by now is on the standby's disk; its status."""
        now = time.time()
        return eventually(
            lambda: (self.status["complete_as_of"] or 0) >= now and self.status, seconds=30
        )

    def shipper(self) -> int:
        """The process that reads the primary."""
        assert self.daemon is not None
        pid = self.daemon.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return int(eventually(lambda: children.read_text().split())[0])

    def counts(self) -> tuple[int, int, int]:
        """Usage rows, grants and tokens in the two files as they are, whoever writes them."""
        return counts(self.path, self.cluster)

    def promote(self) -> dict[str, Any]:
        """Promote it; what the command says."""
        done = self.cluster.run("accountd", "promote", str(self.path), "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def end(self) -> None:
        """Kill the follower, if there is one."""
        if self.daemon is not None and self.daemon.process.poll() is None:
            self.daemon.process.kill()
            self.daemon.process.wait()


def counts(path: Path, cluster: Cluster) -> tuple[int, int, int]:
    """Usage rows, grants and tokens of a database that nobody writes to meanwhile."""
    key = (cluster.folder / "db.key").read_text()
    with TemporaryDirectory() as name:
        looked_at = Path(name) / "a.db"
        shutil.copyfile(path, looked_at)
        if os.path.exists(f"{path}-wal"):
            shutil.copyfile(f"{path}-wal", f"{looked_at}-wal")
        opened = database.connect(looked_at, key)
        try:
            assert list(opened.execute_sql("PRAGMA quick_check")) == [("ok",)]
            rows, grants, tokens = opened.execute_sql(_COUNTS).fetchone()
        finally:
            opened.close()
    return rows, grants, tokens
