"""Applies usage: a group of messages in one transaction, together or not at all.

For every new batch a usage row, the deduction from its account and the producer's bookkeeping are
written by the same COMMIT. What cannot be applied goes whole to ``rejected_usage`` in that COMMIT
too, its sequence counting as applied, so that a resend does not quarantine it twice.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from accountd.cascade import cascade
from accountd.ingest import ProducerWindow, Verdict
from accountd.models import RejectedUsage, UsageMetric, insert_sql, iso_of_ms
from shared.wire import (
    USAGE_FIELDS,
    Envelope,
    InvalidUsage,
    RejectReason,
    UsageBatch,
    UsageMessage,
    WireError,
    decode_envelope,
    decode_usage,
)

BALANCE_MIN: Final = -(2**63)  # SQLite's integers
_PARAMETERS_MAX: Final = 500  # of one statement; SQLite allows more, but plans get slow

_INSERT_USAGE, _ = insert_sql(UsageMetric)
_INSERT_REJECTED, _ = insert_sql(RejectedUsage)
_UPSERT_PRODUCER: Final = """
    INSERT INTO producers (producer, applied_through, first_seen_at, last_seen_at)
    VALUES (?1, ?2, ?3, ?3)
    ON CONFLICT (producer) DO UPDATE SET applied_through = ?2, last_seen_at = ?3
"""
_UPDATE_BALANCE: Final = (
    "UPDATE accounts SET topup_remaining = ?, token_remaining = ?, updated_at = ? WHERE id = ?"
)


@dataclass(slots=True)
class GroupResult:
    """What became of a group of messages."""

    applied: int = 0
    duplicates: int = 0
    rejected: dict[RejectReason, int] = field(default_factory=dict)
    watermarks: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Balance:
    topup: int
    tokens: int
    is_changed: bool = False


class Ledger:
    """The writer of usage. ``connection`` is the daemon's only writing connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def apply(self, messages: Sequence[Sequence[bytes]], *, now: str) -> GroupResult:
        """Apply the ZeroMQ messages (frames each) in one transaction.

        ``now`` is the stored form of the time. A database error rolls everything back and is
        raised; the messages may then be applied again.
        """
        group = _Group(self._connection, now)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            group.load(messages)
            group.write()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return group.result


class _Group:
    """One transaction's work: everything is decided in memory, then written at once."""

    def __init__(self, connection: Any, now: str) -> None:
        self._connection = connection
        self._now = now
        self._windows: dict[bytes, ProducerWindow] = {}
        self._balances: dict[str, _Balance] = {}
        self._rows: list[dict[str, Any]] = []
        self._rejected: list[dict[str, Any]] = []
        self.result = GroupResult()

    def load(self, messages: Sequence[Sequence[bytes]]) -> None:
        """Decide about every message, in the order of arrival."""
        envelopes: list[Envelope] = []
        for frames in messages:
            try:
                envelopes.append(decode_envelope(frames))
            except WireError as exc:
                self._reject(None, b"".join(frames), exc.reason, str(exc))
        self._load_windows({envelope.producer for envelope in envelopes})
        fresh = [envelope for envelope in envelopes if self._is_new(envelope)]
        usages = [(envelope, self._decode(envelope)) for envelope in fresh]
        batches = [(e, u) for e, u in usages if isinstance(u, UsageBatch)]
        self._load_balances({batch.account_id for _, batch in batches})
        for envelope, batch in batches:
            self._charge(envelope, batch)

    def write(self) -> None:
        """Write what was decided."""
        connection, now = self._connection, self._now
        connection.executemany(_INSERT_USAGE, self._rows)
        connection.executemany(_INSERT_REJECTED, self._rejected)
        connection.executemany(
            _UPDATE_BALANCE,
            [
                (balance.topup, balance.tokens, now, account)
                for account, balance in self._balances.items()
                if balance.is_changed
            ],
        )
        for producer, window in self._windows.items():
            self.result.watermarks[producer] = window.applied_through
            if window.is_changed:
                self._write_window(producer, window)

    def _write_window(self, producer: bytes, window: ProducerWindow) -> None:
        connection = self._connection
        connection.execute(_UPSERT_PRODUCER, (producer, window.applied_through, self._now))
        connection.executemany(
            "INSERT INTO applied_ahead (producer, sequence) VALUES (?, ?)",
            [(producer, sequence) for sequence in window.newly_ahead],
        )
        connection.executemany(
            "DELETE FROM applied_ahead WHERE producer = ? AND sequence = ?",
            [(producer, sequence) for sequence in window.no_longer_ahead],
        )

    def _is_new(self, envelope: Envelope) -> bool:
        verdict = self._windows[envelope.producer].judge(envelope.sequence)
        if verdict is Verdict.DUPLICATE:
            self.result.duplicates += 1
        return verdict is Verdict.APPLY

    def _decode(self, envelope: Envelope) -> UsageMessage | None:
        try:
            usage = decode_usage(envelope.payload)
        except WireError as exc:
            self._reject(envelope, envelope.payload, exc.reason, str(exc))
            return None
        if isinstance(usage, InvalidUsage):
            self._reject(envelope, envelope.payload, RejectReason.UNREADABLE_USAGE, usage.detail)
        return usage

    def _charge(self, envelope: Envelope, batch: UsageBatch) -> None:
        balance = self._balances.get(batch.account_id)
        if balance is None:
            detail = f"no account {batch.account_id!r}"
            self._reject(envelope, envelope.payload, RejectReason.UNKNOWN_ACCOUNT, detail)
            return
        deduction = cascade(topup=balance.topup, used=batch.usage.total_tokens)
        if balance.tokens - deduction.tokens < BALANCE_MIN:
            detail = f"account {batch.account_id!r} would fall below {BALANCE_MIN}"
            self._reject(envelope, envelope.payload, RejectReason.OUT_OF_RANGE, detail)
            return
        balance.topup -= deduction.topup
        balance.tokens -= deduction.tokens
        balance.is_changed = True
        self.result.applied += 1
        self._rows.append(
            {
                "account_id": batch.account_id,
                "session_id": batch.session_id,
                "provider": batch.provider,
                "model": batch.model,
                "kind": batch.kind,
                "responses": batch.responses,
                "response_ids": json.dumps(batch.response_ids),
                "created_at": iso_of_ms(batch.metered_at_ms),
                "producer": envelope.producer,
                "sequence": envelope.sequence,
                "topup_deducted": deduction.topup,
                "token_deducted": deduction.tokens,
                **{name: getattr(batch.usage, name) for name in USAGE_FIELDS},
            }
        )

    def _reject(
        self, envelope: Envelope | None, payload: bytes, reason: RejectReason, detail: str
    ) -> None:
        self.result.rejected[reason] = self.result.rejected.get(reason, 0) + 1
        self._rejected.append(
            {
                "producer": envelope.producer if envelope else None,
                "sequence": envelope.sequence if envelope else None,
                "reason": str(reason),
                "detail": detail,
                "payload": payload,
                "received_at": self._now,
            }
        )

    def _load_windows(self, producers: Iterable[bytes]) -> None:
        for producer in producers:
            found = self._connection.execute(
                "SELECT applied_through FROM producers WHERE producer = ?", (producer,)
            ).fetchone()
            ahead = self._connection.execute(
                "SELECT sequence FROM applied_ahead WHERE producer = ?", (producer,)
            ).fetchall()
            self._windows[producer] = ProducerWindow(
                found[0] if found else 0, (row[0] for row in ahead)
            )

    def _load_balances(self, accounts: Iterable[str]) -> None:
        wanted = sorted(accounts)
        for start in range(0, len(wanted), _PARAMETERS_MAX):
            some = wanted[start : start + _PARAMETERS_MAX]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(
                "SELECT id, topup_remaining, token_remaining FROM accounts"  # noqa: S608
                f" WHERE id IN ({marks})",
                some,
            )
            for account, topup, tokens in rows:
                self._balances[account] = _Balance(topup, tokens)
