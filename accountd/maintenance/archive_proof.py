"""Proves an archive: its rows add up, to the last token, to the sums that stay in the ledger."""

from typing import Any, Final

from accountd.data.archive_file import Archive
from accountd.maintenance.pruning import KNOWN, SUMMED, UNKNOWN
from accountd.reports.period import DAY_MS

_NAMES: Final = "a.account_id, l.provider, l.model, l.kind, l.rate_card, l.unpriced"
_NAMED: Final = (
    "JOIN usage_accounts a ON a.number = u.account JOIN usage_labels l ON l.number = u.label"
)
# By names: so those in the archive are proven, too.
_OF_ROWS: Final = f"""
    SELECT {_NAMES}, u.metered_at / {DAY_MS},
           NOT (u.is_estimate AND u.topup_deducted = 0 AND u.token_deducted = 0),
           count(*), max(u.metered_at), {", ".join(f"sum(u.{name})" for name in SUMMED)}
    FROM usage u {_NAMED} WHERE u.portion <= ? GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608 - constants only
_STORED: Final = f"""
    SELECT {_NAMES}, u.day, u.is_charged, u.rows, u.metered_at,
           {", ".join(f"u.{name}" for name in SUMMED)}
    FROM usage_summaries u {_NAMED} WHERE u.archive = ?
"""  # noqa: S608 - constants only
_SPENT_OF_ROWS: Final = f"""
    SELECT k.key_hash, u.metered_at / {DAY_MS}, sum(u.topup_deducted + u.token_deducted)
    FROM usage u JOIN usage_keys k ON k.number = u.key WHERE u.portion <= ? GROUP BY 1, 2
"""  # noqa: S608 - constants only
_SPENT_STORED: Final = """
    SELECT k.key_hash, s.day, s.credits
    FROM archived_spending s JOIN usage_keys k ON k.number = s.key WHERE s.archive = ?
"""
_COMPARED: Final = (
    ("sums by account, day and label", _OF_ROWS, _STORED),
    ("sums by key and day", _SPENT_OF_ROWS, _SPENT_STORED),
)
_UNNAMED: Final = """
    SELECT count(*) FROM usage WHERE session NOT IN (SELECT number FROM usage_sessions)
       OR account NOT IN (SELECT number FROM usage_accounts)
       OR label NOT IN (SELECT number FROM usage_labels)
       OR (producer <> 0 AND producer NOT IN (SELECT number FROM usage_producers))
"""
_COUNTED: Final = "SELECT count(*) FROM usage WHERE portion <= ?"
UNCOUNTED: Final = "a run was interrupted, or the database was restored from before"
SHOWN_MAX: Final = 5  # of the findings of SQLite about damaged pages


def problems_of(archive: Archive, ledger: Any) -> list[str]:
    """What is wrong with the archive; nothing when all of its rows are proven."""
    row = ledger.execute(KNOWN, (archive.archive_id,)).fetchone()
    if row is None:
        return [UNKNOWN]
    number, portions = row
    problems = _damages(archive)
    if archive.portions < portions:
        problems.append(
            f"it has {archive.portions} portions of rows, expected {portions}: it is an older copy"
        )
    for name, of_rows, stored in _COMPARED:
        found, expected = (
            _rows(archive.connection, of_rows, portions),
            _rows(ledger, stored, number),
        )
        wrong = found ^ expected
        if wrong:
            problems.append(f"{name}: {len(wrong)} differ from those that the ledger keeps")
    ((unnamed,),) = archive.connection.execute(_UNNAMED).fetchall()
    return [*problems, *([f"{unnamed} rows without a name"] if unnamed else [])]


def rows_of(archive: Archive, ledger: Any) -> tuple[int, int]:
    """How many rows the ledger counts as archived there, and how many there are beside them."""
    row = ledger.execute(KNOWN, (archive.archive_id,)).fetchone()
    (counted,) = archive.connection.execute(_COUNTED, (row[1] if row else 0,)).fetchone()
    return int(counted), archive.count() - int(counted)


def _rows(connection: Any, statement: str, parameter: int) -> set[tuple[Any, ...]]:
    return set(connection.execute(statement, (parameter,)).fetchall())


def _damages(archive: Archive) -> list[str]:
    """A page that fails its HMAC, or a damaged tree."""
    pages = archive.connection.execute("PRAGMA cipher_integrity_check").fetchall()
    trees = archive.connection.execute("PRAGMA integrity_check").fetchall()
    return [str(found) for (found,) in (pages + trees)[:SHOWN_MAX] if found != "ok"]
