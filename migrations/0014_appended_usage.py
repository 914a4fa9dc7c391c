"""Usage rows that are cheap to append, and an index of them that is written in sorted segments.

A row of ``usage`` holds integers, where ``usage_metrics`` held texts and six indexes: an index over
random accounts dirties a page for every row, which is encrypted and signed again. ``usage`` has
none. A *segment* of ``usage_entries`` is an index of some ten thousand rows that follow each other,
written at once and in order when they are there; of the last rows, the *tail*, there is none yet.

``usage_metrics`` and ``usage_by_account`` are views, for reading. The rows of ``usage_metrics``
move, with their ids; a time is an integer from here on, Unix time in milliseconds.
"""

import sys
from typing import Any

import click

from shared.errors import DatabaseUnusableError

SEGMENT_ROWS = 16_384
MOVED_TOGETHER = 50_000
TOLD_EVERY = 500_000  # rows, where nobody looks at a terminal
DIGESTS_TOGETHER = 4_096

_COUNTS = (
    "input_tokens", "output_tokens", "total_tokens", "input_text_tokens", "input_audio_tokens",
    "input_image_tokens", "input_cached_tokens", "output_text_tokens", "output_audio_tokens",
    "output_thought_tokens", "billed_ms", "input_cached_text_tokens", "input_cached_audio_tokens",
    "input_cached_image_tokens", "input_cache_write_tokens", "web_searches", "grounding_queries",
    "tool_calls",
)  # fmt: skip
_ESTIMATES = "('estimate', 'estimated_duration', 'estimated_transcription')"
_ENTRY = (
    "metered_at, session, label, responses, topup_deducted, token_deducted,"
    " input_tokens, output_tokens, total_tokens"
)
_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"

TABLES = (
    # Names that repeat are stored once; a row has their numbers.
    """
    CREATE TABLE usage_accounts (
        number INTEGER PRIMARY KEY,
        account_id TEXT NOT NULL UNIQUE
    ) STRICT
    """,
    """
    CREATE TABLE usage_producers (
        number INTEGER PRIMARY KEY CHECK (number > 0),
        producer BLOB NOT NULL UNIQUE CHECK (length(producer) = 16)
    ) STRICT
    """,
    """
    CREATE TABLE usage_labels (
        number INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        kind TEXT NOT NULL,
        rate_card TEXT NOT NULL,
        unpriced TEXT NOT NULL,
        UNIQUE (provider, model, kind, rate_card, unpriced)
    ) STRICT
    """,
    # A session may have several numbers: the daemon remembers those of late, and asks no index.
    """
    CREATE TABLE usage_sessions (
        number INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL
    ) STRICT
    """,
    # producer and sequence are 0 in a row that came under no number. response_ids: JSON where it is
    # a text, else packed (accountd.ledger.response_ids). raw_usage: a JSON list, '' for none.
    f"""
    CREATE TABLE usage (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL,
        session INTEGER NOT NULL,
        label INTEGER NOT NULL,
        metered_at INTEGER NOT NULL,
        producer INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        responses INTEGER NOT NULL,
        topup_deducted INTEGER NOT NULL,
        token_deducted INTEGER NOT NULL,
        waived INTEGER NOT NULL,
        is_estimate INTEGER NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL" for name in _COUNTS)},
        response_ids ANY NOT NULL,
        raw_usage TEXT NOT NULL,
        CHECK (responses > 0 AND topup_deducted >= 0 AND token_deducted >= 0 AND waived >= 0)
    ) STRICT
    """,
    """
    CREATE TABLE usage_segments (
        number INTEGER PRIMARY KEY,
        first_row INTEGER NOT NULL,
        last_row INTEGER NOT NULL CHECK (last_row >= first_row),
        metered_from INTEGER NOT NULL,
        metered_to INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE usage_entries (
        segment INTEGER NOT NULL,
        account INTEGER NOT NULL,
        id INTEGER NOT NULL,
        metered_at INTEGER NOT NULL,
        session INTEGER NOT NULL,
        label INTEGER NOT NULL,
        responses INTEGER NOT NULL,
        topup_deducted INTEGER NOT NULL,
        token_deducted INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        total_tokens INTEGER NOT NULL,
        PRIMARY KEY (segment, account, id)
    ) STRICT, WITHOUT ROWID
    """,
    # Digests of the payloads of consecutive sequences, 8 bytes each, big endian, signed; 0 is
    # unknown: a row from before digests were kept.
    """
    CREATE TABLE usage_digests (
        producer INTEGER NOT NULL,
        first INTEGER NOT NULL CHECK (first > 0),
        digests BLOB NOT NULL CHECK (length(digests) >= 8 AND length(digests) % 8 = 0),
        PRIMARY KEY (producer, first)
    ) STRICT, WITHOUT ROWID
    """,
)

NAMES = (
    "INSERT INTO usage_accounts (account_id)"
    " SELECT DISTINCT account_id FROM usage_metrics ORDER BY 1",
    "INSERT INTO usage_producers (producer)"
    " SELECT DISTINCT producer FROM usage_metrics WHERE producer IS NOT NULL",
    "INSERT INTO usage_labels (provider, model, kind, rate_card, unpriced)"
    " SELECT DISTINCT provider, model, kind, rate_card, unpriced FROM usage_metrics",
    "INSERT INTO usage_sessions (session_id)"
    " SELECT session_id FROM usage_metrics GROUP BY session_id ORDER BY min(id)",
    # For the move only: sessions are never looked up by their name afterwards.
    "CREATE INDEX usage_moving_index ON usage_sessions (session_id)",
)

MOVE = f"""
    INSERT INTO usage
    SELECT m.id, a.number, s.number, l.number,
           CAST(round(unixepoch(m.created_at, 'subsec') * 1000) AS INTEGER),
           coalesce(p.number, 0), coalesce(m.sequence, 0), m.responses, m.topup_deducted,
           m.token_deducted, m.waived, m.kind IN {_ESTIMATES},
           {", ".join(f"coalesce(m.{name}, 0)" for name in _COUNTS)},
           m.response_ids, CASE m.raw_usage WHEN '[]' THEN '' ELSE m.raw_usage END
    FROM usage_metrics m
    JOIN usage_accounts a USING (account_id)
    JOIN usage_sessions s USING (session_id)
    JOIN usage_labels l USING (provider, model, kind, rate_card, unpriced)
    LEFT JOIN usage_producers p ON p.producer = m.producer
    WHERE m.id > ? AND m.id <= ?
    ORDER BY m.id
"""  # noqa: S608 - constants only

# What must be the same before and after.
PROOF = (
    "SELECT count(*), coalesce(sum(topup_deducted), 0), coalesce(sum(token_deducted), 0) FROM {}"
)
# The tables of before took any type in any column.
UNREADABLE = f"""
    SELECT id FROM usage_metrics
    WHERE id < 1 OR {" OR ".join(f"typeof({n}) NOT IN ('integer', 'null')" for n in _COUNTS)}
       OR {" OR ".join(f"typeof({n}) <> 'text'" for n in ("account_id", "session_id", "provider"))}
    LIMIT 1
"""  # noqa: S608 - constants only

INDEXES = (
    "DROP INDEX usage_moving_index",
    f"""
    INSERT INTO usage_digests
    SELECT producer, min(sequence),
           unhex(group_concat(printf('%016x', digest), '' ORDER BY sequence))
    FROM (
        SELECT p.number AS producer, m.sequence, coalesce(m.digest, 0) AS digest,
               m.sequence - row_number() OVER (PARTITION BY m.producer ORDER BY m.sequence) AS run
        FROM usage_metrics m JOIN usage_producers p ON p.producer = m.producer
    )
    GROUP BY producer, run, sequence / {DIGESTS_TOGETHER}
    """,  # noqa: S608 - constants only
    f"""
    INSERT INTO usage_segments
    SELECT (position / {SEGMENT_ROWS}) + 1, min(id), max(id), min(metered_at), max(metered_at)
    FROM (SELECT id, metered_at, row_number() OVER (ORDER BY id) - 1 AS position FROM usage)
    GROUP BY 1 HAVING count(*) = {SEGMENT_ROWS}
    """,  # noqa: S608 - constants only
    f"""
    INSERT INTO usage_entries
    SELECT s.number, u.account, u.id, {", ".join(f"u.{name}" for name in _ENTRY.split(", "))}
    FROM usage_segments s CROSS JOIN usage u ON u.id BETWEEN s.first_row AND s.last_row
    ORDER BY 1, 2, 3
    """,  # noqa: S608 - constants only
)

AFTERWARDS = (
    # No message is applied twice: the database refuses the second, whatever the code decides.
    """
    CREATE TRIGGER usage_digests_once BEFORE INSERT ON usage_digests
    WHEN EXISTS (
        SELECT 1 FROM (
            SELECT first + length(digests) / 8 AS following FROM usage_digests
            WHERE producer = NEW.producer AND first < NEW.first + length(NEW.digests) / 8
            ORDER BY first DESC LIMIT 1
        ) WHERE following > NEW.first
    )
    BEGIN
        SELECT RAISE(ABORT, 'a number of a producer would be applied twice');
    END
    """,
    # rejected_usage refers to the rows by their new name; else it is as it was.
    """
    CREATE TABLE rejected_usage_new (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        producer BLOB,
        sequence INTEGER,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '',
        payload BLOB NOT NULL,
        received_at TEXT NOT NULL,
        retried_at TEXT,
        usage_id INTEGER REFERENCES usage (id)
            CHECK ((usage_id IS NULL) = (retried_at IS NULL)),
        digest INTEGER,
        dismissed_at TEXT CHECK (dismissed_at IS NULL OR retried_at IS NULL),
        dismissed_reason TEXT CHECK ((dismissed_reason IS NULL) = (dismissed_at IS NULL))
    ) STRICT
    """,
    """
    INSERT INTO rejected_usage_new
    SELECT id, producer, sequence, reason, detail, payload, received_at, retried_at, usage_id,
           digest, dismissed_at, dismissed_reason
    FROM rejected_usage ORDER BY id
    """,
    "DROP TABLE rejected_usage",
    "ALTER TABLE rejected_usage_new RENAME TO rejected_usage",
    "CREATE INDEX rejected_batch_index ON rejected_usage (producer, sequence)"
    " WHERE producer IS NOT NULL",
    "CREATE INDEX rejected_waiting_index ON rejected_usage (reason)"
    " WHERE retried_at IS NULL AND dismissed_at IS NULL",
    "DROP TABLE usage_metrics",
    # Of the few estimates that an account has: those of the last hour are read for each new one.
    "CREATE INDEX usage_estimates_index ON usage (account, metered_at, waived, responses,"
    " total_tokens) WHERE is_estimate = 1",
    # The rows with their names, as they were before. Asked for one account it reads them all:
    # usage_by_account does not.
    f"""
    CREATE VIEW usage_metrics AS
    SELECT u.id, a.account_id, s.session_id, l.provider, l.model, l.kind, l.rate_card, l.unpriced,
           {_TIME.format("u.metered_at")} AS created_at, u.metered_at,
           p.producer, nullif(u.sequence, 0) AS sequence, u.responses,
           u.topup_deducted, u.token_deducted, u.topup_deducted + u.token_deducted AS credits,
           u.waived, {", ".join(f"u.{name}" for name in _COUNTS)}, u.response_ids,
           CASE u.raw_usage WHEN '' THEN '[]' ELSE u.raw_usage END AS raw_usage
    FROM usage u
    LEFT JOIN usage_accounts a ON a.number = u.account
    LEFT JOIN usage_sessions s ON s.number = u.session
    LEFT JOIN usage_labels l ON l.number = u.label
    LEFT JOIN usage_producers p ON p.number = u.producer
    """,  # noqa: S608 - constants only
    # The rows of an account: its entries in each segment, and the tail. A period is asked for by
    # metered_at, and by part_from and part_to as well, which leave out whole segments.
    f"""
    CREATE VIEW usage_by_account AS
    SELECT e.account, e.id, {", ".join(f"e.{name}" for name in _ENTRY.split(", "))},
           s.metered_from AS part_from, s.metered_to AS part_to
    FROM usage_segments s CROSS JOIN usage_entries e ON e.segment = s.number
    UNION ALL
    SELECT account, id, {_ENTRY}, metered_at AS part_from, metered_at AS part_to
    FROM usage WHERE id > (SELECT coalesce(max(last_row), 0) FROM usage_segments)
    """,  # noqa: S608 - constants only
)


def up(migrator: Any, db: Any) -> None:
    """Move the rows, and make the index of all but the last of them."""
    row = db.execute_sql(
        "SELECT id, created_at FROM usage_metrics WHERE unixepoch(created_at) IS NULL LIMIT 1"
    ).fetchone()
    if row is not None:
        raise DatabaseUnusableError(
            f"usage_metrics: row {row[0]} has {row[1]!r} as created_at, expected a time",
            hint="correct it, then run accountd migrate again",
        )
    _tell(db, "checking the rows", 0.01)
    row = db.execute_sql(UNREADABLE).fetchone()
    if row is not None:
        raise DatabaseUnusableError(
            f"usage_metrics: row {row[0]}: expected an id from 1, counts that are integers, and"
            " names that are texts",
            hint="correct it, then run accountd migrate again",
        )
    before = db.execute_sql(PROOF.format("usage_metrics")).fetchone()
    (last,) = db.execute_sql("SELECT coalesce(max(id), 0) FROM usage_metrics").fetchone()
    _tell(db, "collecting names", 0.11)
    for statement in (*TABLES, *NAMES):
        db.execute_sql(statement)
    for start in range(0, last, MOVED_TOGETHER):
        db.execute_sql(MOVE, (start, start + MOVED_TOGETHER))
        moved = min(start + MOVED_TOGETHER, last)
        line = f"usage rows moved: {moved:,} of {last:,}"
        _tell(db, line, 0.25 + 0.2 * moved / last)
        is_due = moved % TOLD_EVERY == 0 or moved == last
        if last > TOLD_EVERY and is_due and not sys.stderr.isatty():
            click.echo(line, err=True)
    after = db.execute_sql(PROOF.format("usage")).fetchone()
    if after != before:
        raise DatabaseUnusableError(
            f"usage_metrics: found {before} rows and deductions, moved {after}: nothing is changed",
            hint="report it with the row that is missing; the release before still works",
        )
    for statement, share in zip(INDEXES, (0.45, 0.47, 0.6, 0.65), strict=True):
        _tell(db, "indexing", share)
        db.execute_sql(statement)
    _tell(db, "removing what was moved", 0.7)
    for statement in AFTERWARDS:
        db.execute_sql(statement)


def _tell(db: Any, what: str, share: float) -> None:
    """Say how far this is to whoever runs it (``accountd.data.migrating``); shares are of time."""
    on_progress = getattr(db, "on_progress", None)
    if on_progress is not None:
        on_progress(what, share)
