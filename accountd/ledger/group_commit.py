"""Applies usage: a group of messages in one transaction, together or not at all.

``decision.decide`` says what becomes of every message; here its state is loaded and its decision is
written. For every new batch a usage row, the deduction from its account and the producer's
bookkeeping are written by the same COMMIT. What cannot be applied goes whole to ``rejected_usage``
in that COMMIT too, its sequence counting as applied, so that a resend does not quarantine it twice.
"""

import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from accountd.data.database import transaction
from accountd.data.models import LowCreditWarning, RejectedUsage, insert_sql
from accountd.ledger.charging import Balance, Crossing
from accountd.ledger.decision import decide
from accountd.ledger.decision_types import Charge, Decision, Rejection
from accountd.ledger.estimates import EstimatePolicy, EstimatesSeen, WaivedEstimate
from accountd.ledger.payload_digests import DigestKey, RecentDigests
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.shared_responses import RepeatedResponse, charged_name
from accountd.ledger.usage_rows import DIGEST_BYTES, UsageRows
from accountd.ledger.windows import ProducerWindow
from accountd.times import ms_of_iso
from shared.fields import RejectReason

_PARAMETERS_MAX: Final = 500  # of one statement; SQLite allows more, but plans get slow

_INSERT_REJECTED, _ = insert_sql(RejectedUsage)
_INSERT_WARNING, _ = insert_sql(LowCreditWarning)
_UPSERT_PRODUCER: Final = """
    INSERT INTO producers (producer, applied_through, ended_at, first_seen_at, last_seen_at)
    VALUES (?1, ?2, ?3, ?4, ?4)
    ON CONFLICT (producer) DO UPDATE SET applied_through = ?2, ended_at = ?3, last_seen_at = ?4
"""
_UPDATE_BALANCE: Final = (
    "UPDATE accounts SET topup_remaining = ?, token_remaining = ?, updated_at = ? WHERE id = ?"
)
_NEXT_EPOCH: Final = """
    INSERT INTO daemon (id, epoch) VALUES (1, ?1)
    ON CONFLICT (id) DO UPDATE SET epoch = max(epoch + ?2, ?1)
    RETURNING epoch
"""
_READ_ESTIMATES: Final = (
    "SELECT estimates_charged_since, estimates_forgiven_at FROM accounts WHERE id = ?"
)
_READ_WAIVED: Final = """
    SELECT metered_at, responses FROM usage
    WHERE account = (SELECT number FROM usage_accounts WHERE account_id = ?)
      AND metered_at > ? AND waived > 0 AND is_estimate = 1
"""
_DIGESTS_BELOW: Final = """
    SELECT first, digests FROM usage_digests
    WHERE producer = (SELECT number FROM usage_producers WHERE producer = ?) AND first <= ?
    ORDER BY first DESC LIMIT 1
"""
_BEGIN_ESTIMATES: Final = (
    "UPDATE accounts SET estimates_charged_since = ?, updated_at = ? WHERE id = ?"
)
_INSERT_SHARED: Final = "INSERT INTO shared_responses (name, day) VALUES (?, ?)"
_INSERT_REPEATED: Final = """
    INSERT INTO repeated_usage
        (producer, sequence, digest, account_id, session_id, response_id, received_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_DAY_CHARS: Final = 10  # of a stored time
_EPOCH_STEP_MAX: Final = 1_000_000
_MESSAGE_ID_BYTES: Final = 16  # random: a number would come again after a restored backup


class Ledger:
    """The writer of usage. ``connection`` is the daemon's only writing connection.

    What a group costs is what ``rate_card`` says when it is applied.
    """

    def __init__(
        self,
        connection: Any,
        rate_card: RateCardFile | None = None,
        *,
        estimates: EstimatePolicy | None = None,
        usage: UsageRows | None = None,
    ) -> None:
        self._connection = connection
        self._rate_card = rate_card or RateCardFile()
        self._estimates = estimates or EstimatePolicy()
        self._recent = RecentDigests()
        self.usage = usage or UsageRows(connection)

    def begin_epoch(self, *, now_ns: int) -> int:
        """A number for this boot, higher than that of every boot before, committed.

        A restored backup brings an old counter back. The clock (``now_ns``, Unix time) makes the
        restored daemon's epoch newer than everything that was announced before nevertheless. Where
        the clock went back as well the step is random, up to a millisecond: the number of a boot
        that is forgotten must not be used again, or no gateway would notice what was lost with it.
        """
        step = 1 + secrets.randbelow(_EPOCH_STEP_MAX)
        with transaction(self._connection):
            (epoch,) = self._connection.execute(_NEXT_EPOCH, (now_ns, step)).fetchone()
        assert isinstance(epoch, int)
        return epoch

    def apply(self, messages: Sequence[Sequence[bytes]], *, now: str) -> Decision:
        """Apply the ZeroMQ messages (frames each) in one transaction.

        ``now`` is the stored form of the time. A database error rolls everything back and is
        raised; the messages may then be applied again.
        """
        with self.usage.transaction():
            decision = decide(
                messages,
                state=SqlState(self._connection),
                recent=self._recent,
                now=now,
                rates=self._rate_card.rates,
                estimates=self._estimates,
            )
            write(self._connection, self.usage, decision)
        self._recent.remember(decision.digests)
        return decision

    def applied_through(self, producers: Iterable[bytes]) -> list[int]:
        """The committed watermark of each producer, in their order; 0 for an unknown one."""
        found = []
        for producer in producers:
            row = self._connection.execute(
                "SELECT applied_through FROM producers WHERE producer = ?", (producer,)
            ).fetchone()
            found.append(row[0] if row else 0)
        return found

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """What is committed of those producers that are known."""
        return SqlState(self._connection).windows(producers)

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """The committed balances of those accounts that exist."""
        return SqlState(self._connection).balances(accounts)


class SqlState:
    """The state of ``decision.decide`` as it stands in the database."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """The windows of those producers that are known."""
        found = {}
        for producer in producers:
            row = self._connection.execute(
                "SELECT applied_through, ended_at FROM producers WHERE producer = ?", (producer,)
            ).fetchone()
            if row is not None:
                ahead = self._connection.execute(
                    "SELECT sequence FROM applied_ahead WHERE producer = ?", (producer,)
                )
                found[producer] = ProducerWindow(row[0], (beyond for (beyond,) in ahead), row[1])
        return found

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """The balances of those accounts that exist."""
        wanted, found = sorted(accounts), {}
        for start in range(0, len(wanted), _PARAMETERS_MAX):
            some = wanted[start : start + _PARAMETERS_MAX]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(
                "SELECT id, topup_remaining, token_remaining, low_credit_mark FROM accounts"  # noqa: S608
                f" WHERE id IN ({marks})",
                some,
            )
            found.update({account: Balance(*balance) for account, *balance in rows})
        return found

    def digests(self, sequences: Iterable[tuple[bytes, int]]) -> dict[DigestKey, int | None]:
        """What the rows of those sequences say, conflicts included."""
        wanted: dict[bytes, list[int]] = {}
        for producer, sequence in sequences:
            wanted.setdefault(producer, []).append(sequence)
        found: dict[DigestKey, int | None] = {}
        for producer, numbers in wanted.items():
            self._read_applied(producer, numbers, found)
            for start in range(0, len(numbers), _PARAMETERS_MAX):
                self._read_digests(producer, numbers[start : start + _PARAMETERS_MAX], found)
        return found

    def estimates(self, after_ms_by_account: Mapping[str, int]) -> dict[str, EstimatesSeen]:
        """What is known of those accounts' estimates; what was forgiven counts no more."""
        found = {}
        for account, after_ms in after_ms_by_account.items():
            row = self._connection.execute(_READ_ESTIMATES, (account,)).fetchone()
            if row is not None:
                charged_since, forgiven_at = row
                after = max(after_ms, ms_of_iso(forgiven_at)) if forgiven_at else after_ms
                waived = self._connection.execute(_READ_WAIVED, (account, after))
                seen = tuple(WaivedEstimate(*row) for row in waived)
                found[account] = EstimatesSeen(charged_since, seen)
        return found

    def charged_shared(self, names: Iterable[bytes]) -> set[bytes]:
        """Those of the ``names`` of shared responses that were charged."""
        wanted = list(names)
        found: set[bytes] = set()
        for start in range(0, len(wanted), _PARAMETERS_MAX):
            some = wanted[start : start + _PARAMETERS_MAX]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(
                f"SELECT name FROM shared_responses WHERE name IN ({marks})",  # noqa: S608
                some,
            )
            found.update(bytes(name) for (name,) in rows)
        return found

    def _read_applied(
        self, producer: bytes, numbers: list[int], found: dict[DigestKey, int | None]
    ) -> None:
        """Read the runs of digests that have the ``numbers``, from the last one down."""
        first, digests = 0, b""
        for sequence in sorted(numbers, reverse=True):
            if not digests or sequence < first:
                row = self._connection.execute(_DIGESTS_BELOW, (producer, sequence)).fetchone()
                if row is None:
                    return
                first, digests = row
            start = (sequence - first) * DIGEST_BYTES
            if start < len(digests):
                (digest,) = struct.unpack_from(">q", digests, start)
                found[producer, sequence] = digest or None

    def _read_digests(
        self, producer: bytes, numbers: list[int], found: dict[DigestKey, int | None]
    ) -> None:
        marks = ",".join("?" * len(numbers))
        repeated = self._connection.execute(
            "SELECT sequence, digest FROM repeated_usage"  # noqa: S608
            f" WHERE producer = ? AND sequence IN ({marks})",
            (producer, *numbers),
        )
        found.update({(producer, sequence): digest for sequence, digest in repeated})
        rejected = self._connection.execute(
            "SELECT sequence, digest, reason FROM rejected_usage"  # noqa: S608
            f" WHERE producer = ? AND sequence IN ({marks})",
            (producer, *numbers),
        )
        for sequence, digest, reason in rejected:
            if reason != RejectReason.CONFLICT:
                found[producer, sequence] = digest
            elif digest is not None:
                found[producer, sequence, digest] = digest


def write(connection: Any, usage: UsageRows, decision: Decision) -> None:
    """Write what was decided, inside a transaction of ``usage``."""
    if decision.charges:
        usage.append(decision.charges)
    usage.keep_digests(decision.applied_digests)
    connection.executemany(_INSERT_REJECTED, [_rejected_row(r) for r in decision.rejections])
    connection.executemany(
        _INSERT_REPEATED, [_repeated_row(r, decision.now) for r in decision.repeated]
    )
    write_shared(connection, decision.charges, now=decision.now)
    write_balances(connection, decision.balances, now=decision.now)
    write_crossings(connection, decision.crossings, now=decision.now)
    begin_estimates(connection, decision.estimates_begun, now=decision.now)
    for producer, window in decision.windows.items():
        _write_window(connection, producer, window, now=decision.now)


def write_shared(connection: Any, charges: Iterable[Charge], *, now: str) -> None:
    """Remember what other messages may repeat, inside the transaction that charges it."""
    names = (charged_name(charge.batch, charge.deduction) for charge in charges)
    rows = [(bytearray(name), now[:_DAY_CHARS]) for name in names if name is not None]
    if rows:
        connection.executemany(_INSERT_SHARED, rows)


def write_balances(connection: Any, balances: Mapping[str, Balance], *, now: str) -> None:
    """Write the changed balances, inside the caller's transaction."""
    connection.executemany(
        _UPDATE_BALANCE,
        [(left.topup, left.tokens, now, account) for account, left in balances.items()],
    )


def begin_estimates(connection: Any, accounts: Iterable[str], *, now: str) -> None:
    """Charge all estimates of those accounts from now on, inside the caller's transaction."""
    connection.executemany(_BEGIN_ESTIMATES, [(now, now, account) for account in accounts])


def write_crossings(connection: Any, crossings: Iterable[Crossing], *, now: str) -> None:
    """Write low-credit warnings, inside the transaction that caused them."""
    connection.executemany(_INSERT_WARNING, [_warning_row(c, now) for c in crossings])


# --- helpers -------------------------------------------------------------------------------------


def _warning_row(crossing: Crossing, now: str) -> dict[str, Any]:
    return {
        "message_id": f"msg_{secrets.token_hex(_MESSAGE_ID_BYTES)}",
        "account_id": crossing.account_id,
        "low_credit_mark": crossing.left.mark,
        "topup_remaining": crossing.left.topup,
        "token_remaining": crossing.left.tokens,
        "created_at": now,
        "outcome": None,
        "settled_at": None,
    }


def _repeated_row(repetition: RepeatedResponse, now: str) -> tuple[Any, ...]:
    batch = repetition.batch
    (response_id,) = batch.response_ids
    return (
        repetition.producer, repetition.sequence, repetition.digest, batch.account_id,
        batch.session_id, response_id, now,
    )  # fmt: skip


def _rejected_row(rejection: Rejection) -> dict[str, Any]:
    return {
        "producer": rejection.producer,
        "sequence": rejection.sequence,
        "reason": str(rejection.reason),
        "detail": rejection.detail,
        "payload": rejection.payload,
        "received_at": rejection.received_at,
        "retried_at": None,
        "usage_id": None,
        "digest": rejection.digest,
        "dismissed_at": None,
        "dismissed_reason": None,
    }


def _write_window(connection: Any, producer: bytes, window: ProducerWindow, *, now: str) -> None:
    connection.execute(_UPSERT_PRODUCER, (producer, window.applied_through, window.ended_at, now))
    connection.executemany(
        "INSERT INTO applied_ahead (producer, sequence) VALUES (?, ?)",
        [(producer, sequence) for sequence in window.newly_ahead],
    )
    connection.executemany(
        "DELETE FROM applied_ahead WHERE producer = ? AND sequence = ?",
        [(producer, sequence) for sequence in window.no_longer_ahead],
    )
