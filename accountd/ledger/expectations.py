"""What a ledger has to have before it can be complete: usage and admin changes that were in it.

A restored backup lacks what came after it. The journal and the gateways know up to where each
producer's usage was durable, and how many admin changes there were. What they know and the ledger
has not is kept here until it arrives, or until an operator settles it; till then the audit is not
OK. Written on the daemon's one writing thread, read by the audit on any.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from accountd.data import models
from accountd.request_params import Json

SHOWN_MAX: Final = 100

_EXPECT: Final = """
    INSERT INTO expected_usage (producer, through, source, noted_at) SELECT ?1, ?2, ?3, ?4
    WHERE {condition}
    ON CONFLICT (producer) DO UPDATE SET through = ?2, source = ?3, noted_at = ?4,
        settled_at = NULL, settled_reason = NULL WHERE ?2 > through
"""
_IS_MISSING: Final = "coalesce((SELECT applied_through FROM producers WHERE producer = ?1), 0) < ?2"
_DROP_REACHED: Final = """
    DELETE FROM expected_usage WHERE through <=
        (SELECT applied_through FROM producers p WHERE p.producer = expected_usage.producer)
"""
_NEWEST_CHANGE: Final = (
    "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'admin_changes'"
)
_MISSING: Final = """
    INSERT INTO missing_changes (first, last, source, noted_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (first) DO UPDATE SET last = ?2, source = ?3, noted_at = ?4,
        settled_at = NULL, settled_reason = NULL WHERE ?2 > last
"""
# Whatever was settled in the backup: it was about another restore.
_MISSING_AGAIN: Final = """
    UPDATE missing_changes SET source = ?, noted_at = ?, settled_at = NULL, settled_reason = NULL
    WHERE first = ?
"""
_USAGE: Final = """
    SELECT e.producer, coalesce(p.applied_through, 0) AS applied, e.through, e.source, e.noted_at
    FROM expected_usage e LEFT JOIN producers p ON p.producer = e.producer
    WHERE e.through > coalesce(p.applied_through, 0) AND e.settled_at IS NULL
    ORDER BY e.producer
"""
_USAGE_TOTAL: Final = f"SELECT count(*), coalesce(sum(through - applied), 0) FROM ({_USAGE})"  # noqa: S608
_CHANGES: Final = """
    SELECT first, last, source, noted_at FROM missing_changes
    WHERE settled_at IS NULL AND last >= first ORDER BY first
"""
_UNKNOWN: Final = """
    SELECT min(last) FROM missing_changes WHERE settled_at IS NULL AND last < first
"""
_HAS_SINCE: Final = "SELECT 1 FROM expected_usage WHERE noted_at = ? LIMIT 1"
_SETTLE: Final = "SET settled_at = ?, settled_reason = ? WHERE settled_at IS NULL"


def begin_history(connection: Any) -> None:
    """The ledger has gone back to an older state: what was exported from it before may be in
    another order now. In the caller's transaction.
    """
    connection.execute("UPDATE custody SET history = lower(hex(randomblob(8)))")


def expect_usage(connection: Any, throughs: Mapping[bytes, int], *, source: str, now: str) -> None:
    """Expect what was durable once and is not applied. In the caller's transaction."""
    if _expect(connection, throughs, _IS_MISSING, source=source, now=now):
        begin_history(connection)


def expect_whatever_is_applied(
    connection: Any, throughs: Mapping[bytes, int], *, source: str, now: str
) -> None:
    """The same without a look at what is applied: ``drop_applied`` does that later."""
    _expect(connection, throughs, "TRUE", source=source, now=now)


def expected_usage(connection: Any) -> tuple[int, int]:
    """(producers, batches) of what is expected and not settled."""
    producers, batches = connection.execute(_USAGE_TOTAL).fetchone()
    return producers, batches


def applied(connection: Any) -> dict[bytes, int]:
    """Up to which sequence the usage of each producer is applied."""
    rows = connection.execute("SELECT producer, applied_through FROM producers")
    return {bytes(producer): through for producer, through in rows if through}


def drop_reached(connection: Any) -> int:
    """Forget what has arrived; how many producers. In the caller's transaction."""
    return int(connection.execute(_DROP_REACHED).rowcount)


def drop_applied(connection: Any, *, noted_at: str) -> None:
    """Forget what was there when ``expect_whatever_is_applied`` was told of it, at ``noted_at``.

    In the caller's transaction.
    """
    drop_reached(connection)
    if connection.execute(_HAS_SINCE, (noted_at,)).fetchone() is not None:
        begin_history(connection)


def has_expectations(connection: Any) -> bool:
    """Whether any usage is expected, settled or not."""
    return connection.execute("SELECT 1 FROM expected_usage LIMIT 1").fetchone() is not None


def newest_change(connection: Any) -> int:
    """The highest number of an admin change, also of one that is known to be missing."""
    (found,) = connection.execute(_NEWEST_CHANGE).fetchone()
    return int(found)


def expect_changes(connection: Any, *, after: int, through: int, source: str, now: str) -> None:
    """The changes after ``after`` are missing up to ``through``; later ones get higher numbers.

    In the caller's transaction.
    """
    if through <= after:
        return
    note_missing(connection, [(after + 1, through)], source=source, now=now)
    name = "admin_changes"
    connection.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (through, name)
    )
    if not newest_change(connection):
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, through))


def note_missing(
    connection: Any, ranges: Iterable[tuple[int, int]], *, source: str, now: str
) -> None:
    """Changes with these numbers, first to last, are missing. In the caller's transaction."""
    connection.executemany(_MISSING, [(first, last, source, now) for first, last in ranges])


def note_unknown(connection: Any, *, source: str, now: str) -> None:
    """Changes after the newest one may be missing, and nothing remembers how many. In the caller's
    transaction; a gateway that remembers makes a range of it.
    """
    after = newest_change(connection)
    note_missing(connection, [(after + 1, after)], source=source, now=now)
    connection.execute(_MISSING_AGAIN, (source, now, after + 1))


def settle(connection: Any, *, reason: str, now: str) -> tuple[int, int]:
    """Expect no longer what is missing now; (producers, ranges of changes). The reason is kept."""
    tables = ("expected_usage", "missing_changes")
    producers, ranges = (
        connection.execute(f"UPDATE {table} {_SETTLE}", (now, reason)).rowcount for table in tables
    )
    return producers, ranges


def expected() -> Json:
    """What is missing, and from whom it is expected, for the audit."""
    usage = models.database.execute_sql(_USAGE).fetchall()
    changes = models.database.execute_sql(_CHANGES).fetchall()
    ((unknown_after,),) = models.database.execute_sql(_UNKNOWN).fetchall()
    return {
        "usage": [
            {
                "producer": bytes(producer).hex(), "applied_through": applied, "through": through,
                "missing_total": through - applied, "known_from": source, "since": since,
            }
            for producer, applied, through, source, since in usage[:SHOWN_MAX]
        ],
        "usage_total": len(usage),
        "batches_total": sum(row[2] - row[1] for row in usage),
        "changes": [
            {"first": first, "last": last, "known_from": source, "since": since}
            for first, last, source, since in changes[:SHOWN_MAX]
        ],
        "changes_total": sum(row[1] - row[0] + 1 for row in changes),
        "changes_unknown_after": unknown_after,
    }  # fmt: skip


def _expect(
    connection: Any, throughs: Mapping[bytes, int], condition: str, *, source: str, now: str
) -> bool:
    """Whether any of it is news."""
    statement = _EXPECT.format(condition=condition)
    rows = [(p, n, source, now) for p, n in throughs.items() if n > 0]
    return bool(connection.executemany(statement, rows).rowcount > 0)
