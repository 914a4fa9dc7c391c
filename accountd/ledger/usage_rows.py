"""Appends usage rows: the one writer of ``usage``, and of the names, the index and the sums of keys
that belong to it.

A row holds numbers in place of names; the numbers of late are kept in memory. What a transaction
has changed there counts after its COMMIT only. Rows consist of integers, texts and ``bytearray``:
sqlcipher3 needs thirty times as long to bind ``None``, ``bytes`` or a boolean.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from accountd.data.database import transaction
from accountd.ledger.decision_types import Charge
from accountd.ledger.key_spending import spent_by
from accountd.ledger.response_ids import pack
from accountd.ledger.usage_index import Entry, UsageIndex
from shared.usage import ESTIMATES, USAGE_FIELDS, counts_of

DIGEST_BYTES: Final = 8
# Names that are remembered of each sort, about 15 MB; then they are read again as they come.
_NAMES_MAX: Final = 100_000

_COLUMNS: Final = 14 + len(USAGE_FIELDS)
_INSERT: Final = f"INSERT INTO usage VALUES ({', '.join('?' * _COLUMNS)})"  # noqa: S608 - marks
_NEXT_ROW: Final = """
    SELECT 1 + max(coalesce((SELECT max(id) FROM usage), 0),
                   coalesce((SELECT max(last_row) FROM usage_segments), 0))
"""
_NEXT_SESSION: Final = "SELECT 1 + coalesce(max(number), 0) FROM usage_sessions"
_INSERT_SESSION: Final = "INSERT INTO usage_sessions VALUES (?, ?)"
_INSERT_DIGESTS: Final = "INSERT INTO usage_digests VALUES (?, ?, ?)"
_INSERT_OF_KEY: Final = "INSERT INTO usage_of_keys VALUES (?, ?)"
_ADD_SPENT: Final = """
    INSERT INTO key_spending VALUES (?, ?, ?)
    ON CONFLICT (key, day) DO UPDATE SET credits = credits + excluded.credits
"""


class UsageRows:
    """The writer of usage rows. ``connection`` is the daemon's writing connection."""

    def __init__(self, connection: Any, index: UsageIndex | None = None) -> None:
        self._connection = connection
        self._index = index or UsageIndex(connection)
        self._accounts = _Numbers(connection, "usage_accounts", ["account_id"])
        self._producers = _Numbers(connection, "usage_producers", ["producer"])
        self._labels = _Numbers(
            connection, "usage_labels", ["provider", "model", "kind", "rate_card", "unpriced"]
        )
        self._keys = _Numbers(connection, "usage_keys", ["key_hash"])
        self._sessions: dict[str, int] = {}
        self._new_sessions: dict[str, int] = {}
        self._entries: list[Entry] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction in which rows may be appended: all of it or nothing."""
        self._entries, self._new_sessions = [], {}
        try:
            with transaction(self._connection):
                yield
                self._index.write_portion(appended=len(self._entries))
        except BaseException:
            for names in (self._accounts, self._producers, self._labels, self._keys):
                names.forget()  # what was added is not there
            raise
        self._index.committed(self._entries)
        if len(self._sessions) > _NAMES_MAX:
            self._sessions.clear()
        self._sessions |= self._new_sessions

    def append(self, charges: Sequence[Charge]) -> int:
        """Write charges inside ``transaction``, and what they add to the sums of their keys;
        returns the id of the first row. The others follow each other.
        """
        execute = self._connection.execute
        (first,) = execute(_NEXT_ROW).fetchone()
        (next_session,) = execute(_NEXT_SESSION).fetchone()
        account_number, label_number = self._accounts.number, self._labels.number
        producer_number = self._producers.number
        sessions, new_sessions, sessions_left = (
            self._sessions,
            self._new_sessions,
            count(next_session),
        )
        rows = []
        for row_id, charge in enumerate(charges, first):
            batch, deduction = charge.batch, charge.deduction
            usage, session_id = batch.usage, batch.session_id
            session = sessions.get(session_id) or new_sessions.get(session_id)
            if session is None:
                session = new_sessions[session_id] = next(sessions_left)
            account = account_number((batch.account_id,))
            label = label_number(
                (batch.provider, batch.model, batch.kind, charge.rate_card,
                 ",".join(charge.unpriced)),
            )  # fmt: skip
            rows.append(
                (row_id, account, session, label, batch.metered_at_ms,
                 producer_number((charge.producer,)) if charge.producer else 0,
                 charge.sequence or 0, batch.responses, deduction.topup, deduction.tokens,
                 charge.waived, 1 if batch.kind in ESTIMATES else 0, *counts_of(usage),
                 pack(batch.response_ids), json.dumps(batch.raw) if batch.raw else ""),
            )  # fmt: skip
            self._entries.append(
                (account, row_id, batch.metered_at_ms, session, label, batch.responses,
                 deduction.topup, deduction.tokens, usage.input_tokens, usage.output_tokens,
                 usage.total_tokens),
            )  # fmt: skip
        self._connection.executemany(
            _INSERT_SESSION,
            [(n, name) for name, n in new_sessions.items() if n >= next_session],
        )
        self._connection.executemany(_INSERT, rows)
        if any(charge.batch.key_hash for charge in charges):
            self._append_of_keys(int(first), charges)
        return int(first)

    def _append_of_keys(self, first: int, charges: Sequence[Charge]) -> None:
        """Write whose rows these are where they name their key, and what it spent."""
        number = self._keys.number
        self._connection.executemany(
            _INSERT_OF_KEY,
            [
                (row_id, number((charge.batch.key_hash,)))
                for row_id, charge in enumerate(charges, first)
                if charge.batch.key_hash
            ],
        )
        self._connection.executemany(
            _ADD_SPENT,
            [(number((key,)), day, spent) for (key, day), spent in spent_by(charges).items()],
        )

    def keep_digests(self, digests: Mapping[bytes, Mapping[int, int]]) -> None:
        """Write the digests of applied numbers, by producer and sequence, inside ``transaction``.

        The database refuses a number that it has.
        """
        rows = [
            (
                self._producers.number((producer,)),
                first,
                bytearray(struct.pack(f">{len(run)}q", *run)),
            )
            for producer, by_sequence in digests.items()
            for first, run in _runs(by_sequence)
        ]
        self._connection.executemany(_INSERT_DIGESTS, rows)


class _Numbers:
    """The numbers of the names in one table; a name that is new gets the next one."""

    def __init__(self, connection: Any, table: str, columns: Sequence[str]) -> None:
        self._connection = connection
        known = " AND ".join(f"{column} = ?" for column in columns)
        self._find = f"SELECT number FROM {table} WHERE {known}"  # noqa: S608 - names of ours
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._add = f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING number"  # noqa: S608
        self._known: dict[tuple[Any, ...], int] = {}

    def number(self, name: tuple[Any, ...]) -> int:
        """The number of ``name``, which is added where it is new, inside a transaction."""
        found = self._known.get(name)
        if found is None:
            execute = self._connection.execute
            row = execute(self._find, name).fetchone() or execute(self._add, name).fetchone()
            if len(self._known) >= _NAMES_MAX:
                self._known.clear()
            found = self._known[name] = int(row[0])
        return found

    def forget(self) -> None:
        """Read all of them anew."""
        self._known.clear()


def _runs(by_sequence: Mapping[int, int]) -> Iterable[tuple[int, list[int]]]:
    """The values of sequences that follow each other, with the first of each run."""
    first, run = 0, list[int]()
    for sequence in sorted(by_sequence):
        if sequence != first + len(run):
            if run:
                yield first, run
            first, run = sequence, []
        run.append(by_sequence[sequence])
    if run:
        yield first, run
