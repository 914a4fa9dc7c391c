"""Replays admin changes that a ledger lacks, because a backup was restored or copied into place.

Each change is applied once, by its number, and written down under the same one. A grant adds its
deltas to the balances in the transaction that writes its row, so the ledger's equation holds. No
low-credit mark is looked at: whoever crossed one was warned then. Usage comes from the gateways.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from typing import Any, Final

from accountd.clock import now_iso
from accountd.data.database import transaction
from accountd.data.journal import AdminChange, ChangeSource, StoredChanges
from accountd.ledger import expectations
from shared.errors import DatabaseUnusableError

# Balances are the matter of grants and of usage; the others are usage's own.
_NOT_REPLAYED: Final = frozenset(
    {"token_remaining", "topup_remaining", "estimates_charged_since", "last_used_at"}
)
_RECORD: Final = (
    "INSERT INTO admin_changes (number, at, subject, name, body) VALUES (?, ?, ?, ?, ?)"
)
_RANGES: Final = "SELECT first, last FROM missing_changes WHERE last >= first"
_LATER: Final = "SELECT 1 FROM admin_changes WHERE subject = ? AND name = ? AND number > ?"
_ADD: Final = """
    UPDATE accounts SET topup_remaining = topup_remaining + ?, token_remaining = token_remaining + ?
    WHERE id = ?
"""


class DivergedError(DatabaseUnusableError):
    """The ledger and the journal have different changes under one number. Those from ``first`` to
    ``last`` in the journal are not in the ledger.
    """

    def __init__(self, named: str, first: int, last: int) -> None:
        super().__init__(
            f"the ledger and the {named} have different changes under the number {first}",
            hint="one of them was used without the other; keep both, and set the journal aside",
        )
        self.first, self.last = first, last


@dataclass(slots=True)
class Replayed:
    """What became of the changes: numbers ``applied``; grants ``already_there`` under another
    number; ranges of numbers (first, last) that are ``lost``, as the source has them not.
    """

    applied: int = 0
    already_there: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    grants: int = 0

    @property
    def lost_count(self) -> int:
        """How many changes are lost."""
        return sum(last - first + 1 for first, last in self.lost)


def replay(connection: Any, source: ChangeSource, *, named: str = "journal") -> Replayed:
    """Apply the changes of ``source`` that the open ledger lacks, all in one transaction.

    Ranges that are lost are noted in the ledger as missing, by ``named``. Raises ``DivergedError``
    where the two are not of one history, and ``DatabaseUnusableError`` where the source was
    written by a newer release; then nothing is changed.
    """
    found = Replayed()
    ledger = StoredChanges(connection)
    if ledger.database_id != source.database_id:
        raise DatabaseUnusableError(
            f"the {named} is that of another ledger", hint="name the one of this ledger"
        )
    with transaction(connection):
        newest = ledger.newest()
        _check_history(ledger, source, newest, named)
        connection.execute("UPDATE custody SET is_replaying = 1")
        _fill(connection, source, found, named)
        for change in _counted(source.changes_after(newest), newest, found.lost):
            _apply(connection, change, found)
        connection.execute("UPDATE custody SET is_replaying = 0")
        expectations.note_missing(connection, found.lost, source=named, now=now_iso())
    return found


def _fill(connection: Any, source: ChangeSource, found: Replayed, named: str) -> None:
    """Apply what was missed among changes that are there, except to rows that changed since."""
    ledger = StoredChanges(connection)
    for first, last in connection.execute(_RANGES).fetchall():
        wanted = last - first + 1
        for change in source.changes_after(first - 1):
            if change.number > last:
                break
            wanted -= 1
            known = next(ledger.changes_after(change.number - 1), None)
            if known is not None and known.number == change.number:
                if known != change:
                    raise _diverged(ledger, source, named)
                continue
            later = (change.subject, change.name, change.number)
            is_superseded = connection.execute(_LATER, later).fetchone() is not None
            _apply(connection, change, found, records_only=is_superseded)
        if not wanted:
            connection.execute("DELETE FROM missing_changes WHERE first = ?", (first,))


def _check_history(ledger: StoredChanges, source: ChangeSource, newest: int, named: str) -> None:
    """Both have the same change under the highest number that both have."""
    shared = min(newest, source.newest())
    ours, theirs = (next(each.changes_after(shared - 1), None) for each in (ledger, source))
    have_both = ours is not None and theirs is not None and ours.number == theirs.number
    if have_both and ours != theirs:
        raise _diverged(ledger, source, named)


def _diverged(ledger: StoredChanges, source: ChangeSource, named: str) -> DivergedError:
    ours = {change.number: change for change in ledger.changes_after(0)}
    numbers = (c.number for c in source.changes_after(0) if ours.get(c.number, c) != c)
    return DivergedError(named, next(numbers), source.newest())


def _counted(
    changes: Iterator[AdminChange], newest: int, lost: list[tuple[int, int]]
) -> Iterator[AdminChange]:
    """The changes; what is not among them goes to ``lost``."""
    before = newest
    for change in changes:
        if change.number != before + 1:
            lost.append((before + 1, change.number - 1))
        before = change.number
        yield change


def _apply(
    connection: Any, change: AdminChange, found: Replayed, *, records_only: bool = False
) -> None:
    if not records_only:
        _APPLY[change.subject](connection, json.loads(change.body), found)
    connection.execute(_RECORD, astuple(change))
    found.applied += 1


def _apply_account(connection: Any, row: dict[str, Any], _found: Replayed) -> None:
    """Its balances begin at 0: the opening grant follows."""
    forgiven_at = row.get("estimates_forgiven_at")
    connection.execute(
        "UPDATE accounts SET estimates_charged_since = NULL"
        " WHERE id = ? AND estimates_forgiven_at <> ?",
        (row["id"], forgiven_at),
    )
    _write(connection, "accounts", "id", row, {"token_remaining": 0, "topup_remaining": 0})


def _apply_key(connection: Any, row: dict[str, Any], _found: Replayed) -> None:
    _write(connection, "api_keys", "key_hash", row, {})


def _apply_grant(connection: Any, row: dict[str, Any], found: Replayed) -> None:
    known = connection.execute("SELECT 1 FROM credit_grants WHERE id = ?", (row["id"],)).fetchone()
    if known is not None:
        found.already_there += 1
        return
    _write(connection, "credit_grants", "id", row, {})
    connection.execute(_ADD, (row["topup_delta"], row["token_delta"], row["account_id"]))
    found.grants += 1


_APPLY: Final[dict[str, Callable[[Any, dict[str, Any], Replayed], None]]] = {
    "account": _apply_account,
    "key": _apply_key,
    "grant": _apply_grant,
}


def _write(
    connection: Any, table: str, key: str, row: dict[str, Any], at_first: dict[str, Any]
) -> None:
    """Make the row what it was then. ``at_first``: further columns, where it is new."""
    known = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
    unknown = row.keys() - (known - _NOT_REPLAYED)
    if unknown:
        raise DatabaseUnusableError(
            f"a newer release wrote the change: {table} has no {', '.join(sorted(unknown))}",
            hint="install the release that wrote it",
        )
    values = row | at_first
    updates = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)})"  # noqa: S608 - names of the table's columns
        f" VALUES ({', '.join('?' * len(values))})"
        f" ON CONFLICT ({key}) DO UPDATE SET {updates}",
        list(values.values()),
    )
