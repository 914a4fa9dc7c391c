"""Deletes expired rows, a portion at a time. Runs on the daemon's one writing thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from accountd.data.database import passing_trouble, transaction
from accountd.times import iso

# Rows of a table that one turn of the loop deletes: it takes a few milliseconds, for which usage
# has to wait. While more rows have expired this happens every MORE_S, faster than rows are added.
PORTION: Final = 1_000
MORE_S: Final = 0.5
IDLE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A table whose rows expire ``age`` after the time in ``column``, which is indexed. A row
    without a time never does.

    ``key`` are the columns of its primary key. ``portion`` is how many rows one turn deletes.
    """

    table: str
    key: Sequence[str]
    column: str
    age: timedelta
    portion: int = PORTION

    @property
    def statement(self) -> str:
        """The SQL that deletes the oldest rows.

        Its parameters: rows before this time (a stored time or its beginning, such as a day), and
        the largest number of rows.
        """
        key = ", ".join(self.key)
        return (
            f"DELETE FROM {self.table} WHERE ({key}) IN"  # noqa: S608 - names of ours
            f" (SELECT {key} FROM {self.table} WHERE {self.column} < ?"
            f" ORDER BY {self.column} LIMIT ?)"
        )


class RowRetention:
    """Deletes the expired rows of one table. ``connection`` is the daemon's writing connection."""

    def __init__(self, connection: Any, rule: RetentionRule) -> None:
        self._connection = connection
        self._statement, self._age, self._portion = rule.statement, rule.age, rule.portion
        self._wait_until = 0.0
        self.forgotten = 0

    def expired_before(self) -> str:
        """The stored form of the time before which a row has expired by now."""
        return iso(datetime.now(UTC) - self._age)

    def tick(self, *, now: float) -> None:
        """Delete a portion when one is due; ``now`` is any clock in seconds."""
        if now < self._wait_until:
            return
        try:
            with transaction(self._connection):
                values = (self.expired_before(), self._portion)
                count = self._connection.execute(self._statement, values).rowcount
        except Exception as exc:
            if passing_trouble(exc) is None:
                raise
            count = 0
        self.forgotten += count
        self._wait_until = now + (MORE_S if count == self._portion else IDLE_S)
