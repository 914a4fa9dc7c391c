"""Grants that operators make while processes die, and what a restore says of them.

Each has its number as its amount and its id, so that one that is lost or made twice shows in the
balance as well as in the list.
"""

import itertools
import json
import random
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from accountd.ctl.client import call
from accountd.data import database
from accountd.data.journal import StoredChanges
from shared.errors import NotNowError, UnreachableError
from tests.support.backups import back_up, key_of
from tests.support.harness import Cluster, eventually

PAUSE_S: Final = 0.1
SHOWN_MAX: Final = 5

Grant = tuple[str, str, int]
"""Its id, its account, its amount."""


class Witness(Enum):
    """What is left that knows what came after a backup; the value is its name in reports."""

    JOURNAL = "journal"
    REPLACED = "replaced database"
    GATEWAYS = "gateways"


@dataclass
class Granting:
    """A thread that grants without end. ``answered``: accountd said yes; ``asked``: perhaps."""

    cluster: Cluster
    accounts: Sequence[str]
    chance: random.Random
    answered: set[Grant] = field(default_factory=set)
    asked: set[Grant] = field(default_factory=set)
    backed_up: tuple[set[Grant], set[Grant]] = field(default_factory=lambda: (set(), set()))
    problems: list[str] = field(default_factory=list)
    put_back: int = 0
    made_again: int = 0

    def __post_init__(self) -> None:
        """Nothing is granted before ``start``."""
        self._before: set[Grant] = set()
        self._newest = self._backed_up_change = 0
        self._is_over = threading.Event()
        self._may_grant = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop, after the grant that is on its way."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def back_up(self) -> None:
        """Make the backup: it has what was answered before, and not what is asked for after it."""
        before = set(self.answered)
        made = back_up(self.cluster)
        self.backed_up = before, set(self.asked)
        self._backed_up_change = newest_change(made, key_of(self.cluster))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is granted meanwhile."""
        with self._may_grant:
            yield

    def prepare(self, witness: Witness) -> None:
        """accountd is dead: leave this witness alone, of what came after the backup."""
        path = Path(self.cluster.env["DB_PATH"])
        self._newest = newest_change(path, key_of(self.cluster))
        if witness is not Witness.JOURNAL:
            Path(f"{path}.journal").unlink()
        if witness is Witness.GATEWAYS:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)

    def check_restored(self, found: dict[str, Any], witness: Witness) -> None:
        """What ``accountd restore --json`` said it put back: what came after the backup, all of it
        and nothing else, and from where.
        """
        told = {
            (c["name"], c["account_id"], c["topup_delta"]): c["from"]
            for c in found["changes"]
            if c["subject"] == "grant"
        }
        surely_in, perhaps_in = self.backed_up
        since = set() if witness is Witness.GATEWAYS else self.answered - perhaps_in
        self._expect_none("answered since the backup, and not put back", since - set(told))
        self._expect_none("put back, and not made since", set(told) - (self.asked - surely_in))
        elsewhere = {grant for grant in since & set(told) if told[grant] != witness.value}
        self._expect_none(f"not from the {witness.value}", elsewhere)
        self._expect_none("lost", found["lost_changes"])
        self.put_back += len(told)

    def make_again(self) -> None:
        """Everything is gone, and gateways alone know how much that is: exactly. It is made again,
        under the same ids, and settled.
        """
        expected = [(self._backed_up_change + 1, self._newest)]

        def told() -> list[tuple[int, int]]:
            found = self._call("audit", {})["expected"]["changes"]
            return [(each["first"], each["last"]) for each in found]

        has_missing = expected[0][0] <= expected[0][1]
        if has_missing and not eventually(lambda: told() == expected or self._is_over.is_set()):
            return
        for grant_id, account, amount in sorted(self.answered - self.backed_up[0]):
            self._grant(grant_id, account, amount)
        self._call("audit.settle", {"reason": "made again"})
        self.made_again += expected[0][1] - expected[0][0] + 1

    def check_ledger(self) -> None:
        """Each grant that was answered is in the ledger, once, and none that was not asked for."""
        path = Path(self.cluster.env["DB_PATH"])
        with reading(path, key_of(self.cluster)) as connection:
            rows = connection.execute(
                "SELECT id, account_id, topup_delta FROM credit_grants WHERE id LIKE 'chaos-%'"
            ).fetchall()
        self._expect_none("answered, and not in the ledger", self.answered - set(rows))
        self._expect_none("in the ledger, and never asked for", set(rows) - self.asked)

    # --- helpers ----------------------------------------------------------------------------------

    def _run(self) -> None:
        for number in itertools.count(1):
            if self._is_over.wait(self.chance.uniform(0, 2 * PAUSE_S)):
                return
            grant = (f"chaos-{number}", self.chance.choice(self.accounts), number)
            with self._may_grant:
                self.asked.add(grant)
                try:
                    self._grant(*grant)
                except (UnreachableError, NotNowError):  # it may have been made, or not
                    continue
                self.answered.add(grant)

    def _grant(self, grant_id: str, account: str, amount: int) -> None:
        asked = {"account_id": account, "amount": amount, "grant_id": grant_id}
        self._call("account.topup", asked)

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        return call(self.cluster.env["ACCOUNTD_RPC_ENDPOINT"], method, params)

    def _expect_none(self, what: str, found: Collection[Any]) -> None:
        if found:
            self.problems.append(f"{what}: {list(found)[:SHOWN_MAX]}")


@contextmanager
def reading(path: Path, key: str) -> Iterator[Any]:
    """A connection that writes nothing."""
    opened = database.connect(path, key, {"query_only": 1})
    try:
        yield opened.connection()
    finally:
        opened.close()


def newest_change(path: Path, key: str) -> int:
    """The number of the last admin change in a database."""
    with reading(path, key) as connection:
        return StoredChanges(connection).newest()


def restored(cluster: Cluster) -> dict[str, Any]:
    """What ``accountd restore`` says that it did."""
    done = cluster.run("accountd", "restore", "backup.db", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
