"""Makes an encrypted ledger of a wanted size, fast: what a year of a busy installation leaves.

``python -m bench.big_ledger PATH --mb 500 [--schema N]``. The key goes to ``db.key`` beside it.
Accounts have grants and keys; twenty producers, half of which have ended, sent usage of sessions
of several models; some is estimated, some counts for its key, and some is in quarantine. From
schema 14 on ``accountd.ledger.usage_rows`` writes the rows, so that index and digests are those of
accountd; before, rows have the form of before. The audit is right.
"""

import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from accountd.data import database
from accountd.ledger.cascade import cascade
from accountd.ledger.charging import Balance
from accountd.ledger.decision_types import Charge
from accountd.ledger.group_commit import write_balances
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.times import iso_of_ms
from bench.running_accountd import account_of
from shared.usage import USAGE_FIELDS, Usage, UsageBatch, counts_of
from shared.wire import PRODUCER_BYTES, encode_usage

KEY: Final = "rslive_v1_" + "0" * 48
"""The client's key of the first account."""
APPENDED_SCHEMA: Final = 14  # from here on usage is appended, and its names are numbers
KEYS_SCHEMA: Final = 20  # from here on the usage of some keys is counted
GROUP_ROWS: Final = 5_000
PRODUCERS: Final = 20
BATCHES_OF_SESSION: Final = 8
_BEGAN_MS: Final = 1_764_500_000_000
_EPOCH: Final = _BEGAN_MS * 1_000_000  # of the last boot
_APART_MS: Final = 10_000
_REJECTED_EVERY: Final = 2_000  # batches
_HANDLES: Final = 2_000
_CONVERSATIONS: Final = 200
_MODELS: Final = (
    ("openai", "gpt-realtime", Usage(900, 500, 1_400, 300, 600, 0, 400, 100, 400)),
    ("openai", "gpt-realtime-mini", Usage(400, 300, 700, 100, 300, 0, 128, 60, 240)),
    ("azure", "gpt-realtime", Usage(1_200, 600, 1_800, 400, 800, 0, 640, 120, 480)),
    ("gemini", "gemini-3.1-flash-live", Usage(700, 200, 940, 60, 640, 0, 0, 20, 180, 40)),
)
_INSERT_BEFORE: Final = """
    INSERT INTO usage_metrics (account_id, session_id, provider, model, kind, responses,
        response_ids, raw_usage, created_at, producer, sequence, topup_deducted, token_deducted,
        digest, waived, {fields})
    VALUES (?, ?, ?, ?, ?, ?, ?, '[]', ?, ?, ?, ?, ?, ?, 0, {marks})
""".format(fields=", ".join(USAGE_FIELDS), marks=", ".join("?" * len(USAGE_FIELDS)))  # noqa: S608


@dataclass(slots=True)
class Books:
    """What the rows add up to, and what is written at the end."""

    accounts: int
    counts_keys: bool
    rng: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - no secret
    balances: dict[str, Balance] = field(default_factory=dict)
    through: Counter[bytes] = field(default_factory=Counter)
    rejected: list[tuple[Any, ...]] = field(default_factory=list)
    producers: tuple[bytes, ...] = tuple(
        hashlib.sha256(b"gateway %d" % n).digest()[:PRODUCER_BYTES] for n in range(PRODUCERS)
    )


@dataclass(frozen=True, slots=True)
class Built:
    """What there is."""

    rows: int
    file_bytes: int
    schema: str


def build(path: Path, key: str, *, megabytes: float, accounts: int, schema: int | None) -> Built:
    """Make the file; it must not exist."""
    with database.open_for_migrating(path, key) as opened:
        names = [step.name for step in opened.runner.status()]
        wanted = int(names[-1][:4]) if schema is None else schema
        target = [name for name in names if int(name[:4]) <= wanted][-1]
        opened.runner.up(target)
        connection = opened.database.connection()
        # It is made anew where it fails: nothing has to survive a failure of the power.
        for pragma in ("journal_mode = memory", "synchronous = off", "foreign_keys = 0"):
            connection.execute(f"PRAGMA {pragma}")
        number = int(target[:4])
        books = Books(accounts, counts_keys=number >= KEYS_SCHEMA)
        with database.transaction(connection):
            _write_accounts(connection, books)
        fill = _fill if number >= APPENDED_SCHEMA else _fill_before
        rows = fill(connection, books, int(megabytes * 2**20))
        with database.transaction(connection):
            _write_end(connection, books, rows)
        connection.execute("PRAGMA journal_mode = wal")
    return Built(rows, path.stat().st_size, target)


def charges(books: Books) -> Iterator[Charge]:
    """An endless series of charges: sessions of several batches, of all producers in turns."""
    rng, number = books.rng, 0
    while True:
        which = int(rng.random() * books.accounts)
        account = account_of(which)
        provider, model, usage = _MODELS[which % len(_MODELS)]
        session = f"sess_{rng.getrandbits(84):021x}"
        key_hash = _key_hash(which) if books.counts_keys and which % 10 == 0 else ""
        producer = books.producers[number // BATCHES_OF_SESSION % PRODUCERS]
        for _ in range(BATCHES_OF_SESSION):
            number += 1
            sequence = books.through[producer] = books.through[producer] + 1
            drawn = rng.getrandbits(420)
            responses = 5 if number % 4 else 1 + number % 5
            ids = tuple(f"resp_{drawn >> 84 * n & 2**84 - 1:021x}" for n in range(responses))
            batch = UsageBatch(
                account, session, provider, model, "response" if number % 50 else "estimate",
                responses, ids, usage, _BEGAN_MS + number * _APART_MS, key_hash=key_hash,
            )  # fmt: skip
            if number % _REJECTED_EVERY == 0:
                books.rejected.append(_rejected(producer, sequence, batch))
                continue
            before = books.balances[account]
            taken = cascade(topup=before.topup, used=usage.total_tokens)
            books.balances[account] = Balance(
                before.topup - taken.topup, before.tokens - taken.tokens
            )
            yield Charge(producer, sequence, batch, taken, "")


# --- helpers -------------------------------------------------------------------------------------


def _fill(connection: Any, books: Books, file_bytes: int) -> int:
    """Append rows until the file is so long, as accountd does: how many."""
    usage = UsageRows(connection, UsageIndex(connection))
    rows, series = 0, charges(books)
    digests: dict[bytes, dict[int, int]] = {}
    while _length(connection) < file_bytes:
        some = list(islice(series, GROUP_ROWS))
        for charge in some:
            assert charge.producer is not None
            assert charge.sequence is not None
            digests.setdefault(charge.producer, {})[charge.sequence] = _digest(charge)
        with usage.transaction():
            usage.append(some)
            usage.keep_digests(digests)
        digests.clear()
        rows += len(some)
    return rows


def _fill_before(connection: Any, books: Books, file_bytes: int) -> int:
    """Insert rows in the form of before until the file is so long, and index them: how many."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'usage_metrics'"
        " AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    rows, series = 0, charges(books)
    share = 0.56  # of the file: the indexes are the others
    while _length(connection) < file_bytes * share:
        with database.transaction(connection):
            connection.executemany(_INSERT_BEFORE, _before(islice(series, GROUP_ROWS)))
        rows += GROUP_ROWS
    for _, statement in indexes:
        connection.execute(statement)
    return rows


def _before(some: Iterable[Charge]) -> Iterator[tuple[Any, ...]]:
    for charge in some:
        batch, taken = charge.batch, charge.deduction
        yield (
            batch.account_id, batch.session_id, batch.provider, batch.model, batch.kind,
            batch.responses, json.dumps(batch.response_ids), iso_of_ms(batch.metered_at_ms),
            charge.producer, charge.sequence, taken.topup, taken.tokens, _digest(charge),
            *counts_of(batch.usage),
        )  # fmt: skip


def _digest(charge: Charge) -> int:
    """Any number that is not 0: nobody sends these payloads again."""
    return hash((charge.sequence, charge.batch.metered_at_ms)) | 1


def _length(connection: Any) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (each,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(each)


def _key_hash(which: int) -> str:
    key = KEY if which == 0 else f"{KEY[:-16]}{which:016}"
    return hashlib.sha256(key.encode()).hexdigest()


def _rejected(producer: bytes, sequence: int, batch: UsageBatch) -> tuple[Any, ...]:
    payload, at = encode_usage(batch), iso_of_ms(batch.metered_at_ms)
    return producer, sequence, "unknown_account", "no such account", payload, at


def _write_accounts(connection: Any, books: Books) -> None:
    """Accounts, each with its opening, a top-up for every month of a year, and a key."""
    began = iso_of_ms(_BEGAN_MS)
    for which in range(books.accounts):
        account = account_of(which)
        topup, tokens = 50_000 * 12, 10_000_000
        books.balances[account] = Balance(topup, tokens)
        connection.execute(
            "INSERT INTO accounts (id, email, plan_name, token_remaining, topup_remaining, status,"
            " created_at, updated_at) VALUES (?, ?, 'Pro', ?, ?, 1, ?, ?)",
            (account, f"{account}@example.org", tokens, topup, began, began),
        )
        connection.execute(
            "INSERT INTO api_keys (key_hash, account_id, key_indicator, label, created_at)"
            " VALUES (?, ?, ?, 'bench', ?)",
            (_key_hash(which), account, f"rsliv…{which:05}", began),
        )
        grants = [(f"opening-{account}", account, "opening", 0, tokens, "", began)]
        grants += [
            (f"topup-{account}-{month}", account, "topup", 50_000, 0, "", began)
            for month in range(12)
        ]
        connection.executemany(
            "INSERT INTO credit_grants (id, account_id, kind, topup_delta, token_delta, asked,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            grants,
        )


def _write_end(connection: Any, books: Books, rows: int) -> None:
    """What the rows leave: balances, producers, the quarantine, handles and conversations."""
    began, ended = (iso_of_ms(_BEGAN_MS + n * _APART_MS) for n in (0, rows))
    write_balances(connection, books.balances, now=ended)
    for number, producer in enumerate(books.producers):
        through = books.through[producer]
        connection.execute(
            "INSERT INTO producers (producer, applied_through, ended_at, first_seen_at,"
            " last_seen_at) VALUES (?, ?, ?, ?, ?)",
            (producer, through, through if through and number % 2 else None, began, ended),
        )
    connection.executemany(
        "INSERT INTO rejected_usage (producer, sequence, reason, detail, payload, received_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        books.rejected,
    )
    connection.executemany(
        "INSERT INTO handles (name, account_id, used_at) VALUES (?, ?, ?)",
        [(os.urandom(16), account_of(n % books.accounts), ended) for n in range(_HANDLES)],
    )
    connection.executemany(
        "INSERT INTO sessions (account_id, session_id, type, data, created_at)"
        " VALUES (?, ?, 'CONV', ?, ?)",
        [
            (account_of(n % books.accounts), f"kept_{n}", json.dumps(["said"] * 500), ended)
            for n in range(_CONVERSATIONS)
        ],
    )
    connection.execute("INSERT INTO daemon (id, epoch) VALUES (1, ?)", (_EPOCH,))


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--mb", "megabytes", default=500.0, show_default=True, help="Length of the file.")
@click.option("--accounts", default=2_000, show_default=True)
@click.option("--schema", type=int, help="The number of an older schema; else the newest.")
def main(path: Path, megabytes: float, accounts: int, schema: int | None) -> None:
    """Make a ledger at PATH."""
    key_file = path.with_name("db.key")
    for file in (path, key_file):
        if file.exists():
            raise click.ClickException(f"{file} exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    key = os.urandom(32).hex()
    key_file.touch(0o600)
    key_file.write_text(f"{key}\n")
    started = time.monotonic()
    built = build(path, key, megabytes=megabytes, accounts=accounts, schema=schema)
    click.echo(
        f"{path}: {built.file_bytes / 2**20:,.0f} MB, {built.rows:,} rows of usage, schema"
        f" {built.schema}, in {time.monotonic() - started:.1f} s; the key is in {key_file}"
    )


if __name__ == "__main__":
    main()
