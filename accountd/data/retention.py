"""Forgets what is too old, a portion at a time. Runs on the daemon's one writing thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from accountd.data.database import passing_trouble, transaction
from accountd.times import iso

# What one turn of the loop may remove of a table: a few milliseconds, so that usage can wait.
# And how often that is done while there is more, which is faster than rows come.
PORTION: Final = 1_000
MORE_S: Final = 0.5
IDLE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A table of which rows are forgotten ``days`` after the time in ``column``, which is indexed;
    ``key`` is its primary key.
    """

    table: str
    key: Sequence[str]
    column: str
    days: int

    @property
    def statement(self) -> str:
        """Deletes the oldest; its parameters are a time, in the stored form or its beginning, and
        how many rows at most.
        """
        key = ", ".join(self.key)
        return (
            f"DELETE FROM {self.table} WHERE ({key}) IN"  # noqa: S608 - names of ours
            f" (SELECT {key} FROM {self.table} WHERE {self.column} < ?"
            f" ORDER BY {self.column} LIMIT ?)"
        )


class RowRetention:
    """Looks after one table. ``connection`` is the daemon's writing connection."""

    def __init__(self, connection: Any, rule: RetentionRule) -> None:
        self._connection = connection
        self._statement, self._days = rule.statement, rule.days
        self._wait_until = 0.0
        self.forgotten = 0

    def tick(self, *, now: float) -> None:
        """Forget a portion, when it is time for that; ``now`` by any clock in seconds."""
        if now < self._wait_until:
            return
        before = iso(datetime.now(UTC) - timedelta(days=self._days))
        try:
            with transaction(self._connection):
                count = self._connection.execute(self._statement, (before, PORTION)).rowcount
        except Exception as exc:
            if passing_trouble(exc) is None:
                raise
            count = 0
        self.forgotten += count
        self._wait_until = now + (MORE_S if count == PORTION else IDLE_S)
