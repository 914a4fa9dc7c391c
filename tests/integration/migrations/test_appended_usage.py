"""The migration that moves the usage rows: nothing is lost, and every promise is kept."""

import hashlib
import json
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from accountd.data import database
from accountd.ledger.group_commit import Ledger, SqlState
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.reports import queries
from accountd.reports.audit import audit
from accountd.request_params import Params
from shared.errors import DatabaseUnusableError
from shared.usage import USAGE_FIELDS, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import KEY

BEFORE = "0013_shared_responses"
NOW = "2026-11-29T12:00:00.000Z"
NOW_MS = 1_795_953_600_000
PRODUCERS = [bytes([n]) * 16 for n in (1, 2)]
INSERT = """
    INSERT INTO usage_metrics (account_id, session_id, provider, model, kind, responses,
        response_ids, raw_usage, created_at, producer, sequence, topup_deducted, token_deducted,
        digest, rate_card, unpriced, waived, {fields})
    VALUES (?, ?, 'openai', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {marks})
"""
ACCOUNT = """
    INSERT INTO accounts (id, email, plan_name, token_remaining, topup_remaining, status,
        created_at, updated_at)
    VALUES (?, ?, 'Free', 0, 0, 1, ?, ?)
"""
SEGMENT_ROWS = 16_384


@contextmanager
def database_of_before() -> Iterator[Any]:
    """A file as the release before left it, with two accounts."""
    with (
        TemporaryDirectory() as folder,
        database.open_for_migrating(Path(folder) / "a.db", KEY) as opened,
    ):
        opened.runner.up(BEFORE)
        for account in ("a", "b"):
            opened.database.execute_sql(ACCOUNT, (account, f"{account}@example.org", NOW, NOW))
        yield opened


def payload(number: int) -> bytes:
    """What a gateway sent for the row of this number."""
    batch = UsageBatch(
        "a", "s", "openai", "m", "response", 1, (f"r{number}",), Usage(total_tokens=5), NOW_MS
    )
    return encode_usage(batch)


def fill(connection: Any, rows: int) -> None:
    """Rows of every sort, charged to both accounts, by two producers, with holes between them."""
    rng = random.Random(rows)
    statement = INSERT.format(
        fields=", ".join(USAGE_FIELDS), marks=", ".join("?" * len(USAGE_FIELDS))
    )
    sequences = [0, 0]
    taken = {"a": 0, "b": 0}
    values = []
    for number in range(rows):
        which = rng.randrange(2)
        sequences[which] += 1 if rng.random() < 0.9 else 2
        has_number = rng.random() < 0.95
        account = rng.choice("ab")
        cost = rng.randrange(50)
        taken[account] += cost
        hashed = hashlib.blake2b(payload(number), digest_size=8).digest()
        values.append(
            (account, f"s{rng.randrange(40)}", f"m{rng.randrange(3)}",
             rng.choice(["response", "estimate", "transcription"]), 1, json.dumps([f"r{number}"]),
             rng.choice(["[]", '["{}"]']),
             f"2026-11-{rng.randrange(1, 29):02}T10:00:00.{number % 1000:03}Z",
             PRODUCERS[which] if has_number else None, sequences[which] if has_number else None,
             0, cost, int.from_bytes(hashed, "big", signed=True) if number % 7 else None,
             rng.choice(["", "v2"]), rng.choice(["", "web_search"]), rng.randrange(3),
             *(rng.randrange(1000) for _ in USAGE_FIELDS)),
        )  # fmt: skip
    with database.transaction(connection):
        connection.executemany(statement, values)
        for account, cost in taken.items():
            connection.execute(
                "UPDATE accounts SET token_remaining = ? WHERE id = ?", (-cost, account)
            )
        for producer, last in zip(PRODUCERS, sequences, strict=True):
            connection.execute(
                "INSERT INTO producers VALUES (?, ?, ?, ?, NULL)", (producer, last, NOW, NOW)
            )


SHOWN = ", ".join(
    ("id", "account_id", "session_id", "provider", "model", "kind", "responses", "response_ids",
     "raw_usage", "created_at", "producer", "sequence", "topup_deducted", "token_deducted",
     "credits", "rate_card", "unpriced", "waived", *USAGE_FIELDS)
)  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 300, SEGMENT_ROWS + 10])
def test_every_row_moves(rows: int) -> None:
    """With its id and all of its fields; the balances add up, and the index is right."""
    with database_of_before() as opened:
        connection = opened.database.connection()
        fill(connection, rows)
        before = connection.execute(f"SELECT {SHOWN} FROM usage_metrics ORDER BY id").fetchall()
        assert opened.runner.up()[0] == "0014_appended_usage"
        after = connection.execute(f"SELECT {SHOWN} FROM usage_metrics ORDER BY id").fetchall()
        assert after == before
        assert audit(Params({}))["ok"]
        for account in ("a", "b"):
            found = queries.usage(Params({"account_id": account, "by": "day"}))
            assert found["adds_up"]
            listed = queries.usage(Params({"account_id": account}))
            assert listed["rows_total"] == sum(row[1] == account for row in before)
        (segments,) = connection.execute("SELECT count(*) FROM usage_segments").fetchone()
        assert segments == rows // SEGMENT_ROWS


def test_digests_and_numbers_go_on() -> None:
    """What was applied is a duplicate, another payload a conflict, and new usage has new ids."""
    with database_of_before() as opened:
        connection = opened.database.connection()
        fill(connection, 200)
        rows = connection.execute(
            "SELECT producer, sequence, digest FROM usage_metrics WHERE producer IS NOT NULL"
        ).fetchall()
        opened.runner.up()
        stored = SqlState(connection).digests(
            [(producer, sequence) for producer, sequence, _ in rows]
        )
        assert stored == {(producer, sequence): digest for producer, sequence, digest in rows}
        ledger = Ledger(connection, usage=UsageRows(connection, UsageIndex(connection)))
        known = {digest: (producer, sequence) for producer, sequence, digest in rows}
        hashed = [hashlib.blake2b(payload(n), digest_size=8).digest() for n in range(200)]
        resent = [
            encode_envelope(*known[digest], payload(number))
            for number, (digest,) in enumerate(struct.unpack(">q", h) for h in hashed)
            if digest in known
        ]
        decision = ledger.apply(resent, now=NOW)
        assert (decision.duplicates, decision.conflicts) == (len(resent), 0)
        assert len(resent) > 100
        changed = [[*frames[:2], payload(10_000)] for frames in resent]
        assert ledger.apply(changed, now=NOW).conflicts == len(resent)
        new = encode_envelope(PRODUCERS[0], 10_000, payload(1))
        assert ledger.apply([new], now=NOW).applied == 1
        last = connection.execute("SELECT max(id), count(*) FROM usage_metrics").fetchone()
        assert last == (201, 201)
        assert audit(Params({}))["drift"] == []


def test_what_was_rejected_keeps_its_place() -> None:
    """The quarantine refers to the rows that it became, and goes on numbering."""
    with database_of_before() as opened:
        connection = opened.database.connection()
        fill(connection, 3)
        reject = (
            "INSERT INTO rejected_usage (producer, sequence, reason, payload, received_at,"
            " retried_at, usage_id) VALUES (?, ?, 'lost', x'00', ?, ?, ?)"
        )
        connection.execute(reject, (PRODUCERS[0], 90, NOW, NOW, 2))
        connection.execute(reject, (PRODUCERS[0], 91, NOW, None, None))
        before = connection.execute("SELECT * FROM rejected_usage").fetchall()
        opened.runner.up()
        assert connection.execute("SELECT * FROM rejected_usage").fetchall() == before
        connection.execute(reject, (PRODUCERS[0], 92, NOW, None, None))
        assert connection.execute("SELECT max(id) FROM rejected_usage").fetchone() == (3,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_times_of_the_original_system_are_times() -> None:
    """It wrote a space for the T; a row that says no time stops the migration, which is undone."""
    with database_of_before() as opened:
        connection = opened.database.connection()
        insert = (
            "INSERT INTO usage_metrics (account_id, session_id, provider, input_tokens, created_at)"
            " VALUES (?, 's', 'openai', NULL, ?)"
        )
        connection.execute(insert, ("a", "2026-01-01 10:00:00"))
        connection.execute(insert, ("nobody's any more", "2026-01-01T12:00:00.5+01:00"))
        connection.execute(insert, ("a", "yesterday"))
        with pytest.raises(DatabaseUnusableError, match="row 3 has 'yesterday' as created_at"):
            opened.runner.up()
        connection.execute("UPDATE usage_metrics SET created_at = '2026-01-02' WHERE id = 3")
        opened.runner.up()
        found = connection.execute("SELECT account_id, created_at, input_tokens FROM usage_metrics")
        assert found.fetchall() == [
            ("a", "2026-01-01T10:00:00.000Z", 0),
            ("nobody's any more", "2026-01-01T11:00:00.500Z", 0),
            ("a", "2026-01-02T00:00:00.000Z", 0),
        ]
        day = {"account_id": "a", "since": "2026-01-01", "until": "2026-01-02", "by": "day"}
        (group,) = queries.usage(Params(day))["groups"]
        assert (group["day"], group["responses"]) == ("2026-01-01", 1)


@pytest.mark.parametrize(
    ("column", "wrong", "right"),
    [
        ("total_tokens", 1.5, 7),
        ("input_tokens", "many", 7),
        ("session_id", b"s", "s"),
        ("id", 0, 2),
    ],
)
def test_a_row_that_is_no_row_of_usage_stops_the_migration(
    column: str, wrong: object, right: object
) -> None:
    """The tables of before took any type; nothing is changed, and the row is named."""
    with database_of_before() as opened:
        connection = opened.database.connection()
        fill(connection, 3)
        update = f"UPDATE usage_metrics SET {column} = ? WHERE id IN (0, 2)"
        connection.execute(update, (wrong,))
        with pytest.raises(DatabaseUnusableError, match=r"row [02]: expected an id from 1"):
            opened.runner.up()
        assert opened.runner.status()[-1].applied is None
        connection.execute(update, (right,))
        opened.runner.up()
        assert audit(Params({}))["usage_rows"] == 3
