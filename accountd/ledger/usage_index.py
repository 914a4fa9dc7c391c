"""The index of usage by account: segments that are written in order, a portion in each transaction.

An index over accounts that is kept row by row dirties a page of 4 kB for every row: 10,000 batches
a second at ten million rows, and falling. Here the entries of ``SEGMENT_ROWS`` rows are collected
in memory, sorted, and appended as a segment, so that its cost does not depend on what is there. A
segment counts once its row in ``usage_segments`` is there, which comes with its last entries;
until then readers read these rows themselves.
"""

from typing import Any, Final

from accountd.data.database import transaction

SEGMENT_ROWS: Final = 16_384
# So many are written by a transaction that appends few rows: two milliseconds.
PORTION_ROWS: Final = 1_024
# (account, id, metered_at, session, label, responses, topup_deducted, token_deducted,
#  input_tokens, output_tokens, total_tokens)
Entry = tuple[int, int, int, int, int, int, int, int, int, int, int]
_ID, _METERED_AT = 1, 2

_COLUMNS: Final = (
    "account, id, metered_at, session, label, responses, topup_deducted, token_deducted,"
    " input_tokens, output_tokens, total_tokens"
)
_LAST_SEGMENT: Final = (
    "SELECT coalesce(max(number), 0), coalesce(max(last_row), 0) FROM usage_segments"
)
_TAIL: Final = f"SELECT {_COLUMNS} FROM usage WHERE id > ? ORDER BY id"  # noqa: S608 - constants only
_FORGET: Final = "DELETE FROM usage_entries WHERE segment > ?"
_INSERT: Final = (
    f"INSERT INTO usage_entries (segment, {_COLUMNS})"  # noqa: S608 - constants only
    " VALUES ({}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COMPLETE: Final = "INSERT INTO usage_segments VALUES (?, ?, ?, ?, ?)"


class UsageIndex:
    """The writer of the index. ``connection`` is the daemon's writing connection.

    Of a transaction that was rolled back it has seen nothing: call ``committed`` after each COMMIT.
    """

    def __init__(
        self,
        connection: Any,
        *,
        segment_rows: int = SEGMENT_ROWS,
        portion_rows: int = PORTION_ROWS,
    ) -> None:
        self._connection = connection
        self._segment_rows, self._portion_rows = segment_rows, portion_rows
        with transaction(connection):
            self._last_segment, last_row = connection.execute(_LAST_SEGMENT).fetchone()
            # Entries of a segment that was not completed before the last end.
            connection.execute(_FORGET, (self._last_segment,))
            # Rows without an index, in the order of their ids, and the segment that is written.
            self._tail: list[Entry] = connection.execute(_TAIL, (last_row,)).fetchall()
        self._segment: list[Entry] = []
        self._written = self._portion = 0

    def write_portion(self, *, appended: int) -> None:
        """Write the next entries, inside a transaction that appends so many rows.

        More than it appends, so that a segment is complete before the next one is due.
        """
        self._portion = 0
        if not self._segment:
            return
        some = self._segment[self._written : self._written + max(self._portion_rows, 2 * appended)]
        self._portion = len(some)
        number = self._last_segment + 1
        self._connection.executemany(_INSERT.format(number), some)
        if self._written + self._portion == len(self._segment):
            ids = [entry[_ID] for entry in self._segment]
            times = [entry[_METERED_AT] for entry in self._segment]
            bounds = min(ids), max(ids), min(times), max(times)
            self._connection.execute(_COMPLETE, (number, *bounds))

    def committed(self, appended: list[Entry]) -> None:
        """The transaction is committed, and ``appended`` are the entries of its rows."""
        self._tail += appended
        self._written += self._portion
        if self._segment and self._written == len(self._segment):
            self._segment, self._written = [], 0
            self._last_segment += 1
        if not self._segment and len(self._tail) >= self._segment_rows:
            self._segment = sorted(self._tail[: self._segment_rows])
            del self._tail[: self._segment_rows]
