"""A simulated accountd: its database, backups and clock, and one process after the other.

The shell around ``decision.decide`` in the order of ``accountd.app`` and
``accountd.ledger.group_commit``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accountd.ledger.charging import Balance
from accountd.ledger.decision import decide
from accountd.ledger.decision_types import Charge, Decision, Rejection
from accountd.ledger.estimates import EstimatesSeen, WaivedEstimate
from accountd.ledger.key_spending import spent_by
from accountd.ledger.payload_digests import DigestKey, RecentDigests
from accountd.ledger.shared_responses import RepeatedResponse, charged_name
from accountd.ledger.windows import ProducerWindow
from shared.fields import RejectReason

from .clock import Process

if TYPE_CHECKING:
    from .world import World

NOW = "2026-11-24T12:00:00.000Z"
GROUP_MAX = 20
REPEAT_S = 1.0
RECENT_S = 20.0
EPOCH_STEP_MAX = 1_000_000

Window = tuple[int, frozenset[int], int | None]


@dataclass
class Database:
    """What is committed: the ``CommittedState`` that ``decide`` reads."""

    accounts: dict[str, Balance]
    epoch: int = 0
    stored: dict[bytes, Window] = field(default_factory=dict)
    rows: list[Charge] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    has_digests: bool = True
    applied: dict[tuple[bytes, int], dict[DigestKey, int | None]] = field(default_factory=dict)
    estimates_charged: set[str] = field(default_factory=set)
    repeated: list[RepeatedResponse] = field(default_factory=list)
    shared: set[bytes] = field(default_factory=set)
    spent: Counter[tuple[str, int]] = field(default_factory=Counter)

    def copy(self) -> "Database":
        """A backup."""
        return Database(
            dict(self.accounts), self.epoch, dict(self.stored), self.rows[:], self.rejections[:],
            self.has_digests, {sequence: dict(known) for sequence, known in self.applied.items()},
            set(self.estimates_charged), self.repeated[:], set(self.shared), self.spent.copy(),
        )  # fmt: skip

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """See ``CommittedState``."""
        return {p: ProducerWindow(*self.stored[p]) for p in producers if p in self.stored}

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """See ``CommittedState``."""
        return {a: self.accounts[a] for a in accounts if a in self.accounts}

    def digests(self, sequences: Iterable[tuple[bytes, int]]) -> dict[DigestKey, int | None]:
        """See ``CommittedState``."""
        if not self.has_digests:
            return dict.fromkeys(sequences)
        return {k: d for sequence in sequences for k, d in self.applied.get(sequence, {}).items()}

    def estimates(self, after_ms_by_account: Mapping[str, int]) -> dict[str, EstimatesSeen]:
        """See ``CommittedState``."""
        return {
            account: EstimatesSeen(NOW if account in self.estimates_charged else None, tuple(
                WaivedEstimate(row.batch.metered_at_ms, row.batch.responses)
                for row in self.rows
                if row.waived and row.batch.account_id == account
                and row.batch.metered_at_ms > after_ms
            ))
            for account, after_ms in after_ms_by_account.items()
        }  # fmt: skip

    def charged_shared(self, names: Iterable[bytes]) -> set[bytes]:
        """See ``CommittedState``."""
        return self.shared & set(names)

    def commit(self, decision: Decision) -> None:
        """Apply a decision at once: a kill comes before it or after it."""
        self.rows += decision.charges
        self.spent.update(spent_by(decision.charges))
        self.rejections += decision.rejections
        self.repeated += decision.repeated
        names = (charged_name(charge.batch, charge.deduction) for charge in decision.charges)
        self.shared.update(name for name in names if name is not None)
        self._keep_digests(decision)
        self.accounts.update(decision.balances)
        self.estimates_charged.update(decision.estimates_begun)
        for producer, window in decision.windows.items():
            ahead = frozenset(window.ahead)
            self.stored[producer] = (window.applied_through, ahead, window.ended_at)

    def _keep_digests(self, decision: Decision) -> None:
        for producer, digests in decision.applied_digests.items():
            for sequence, digest in digests.items():
                number = (producer, sequence)
                self.applied.setdefault(number, {})[number] = digest
        for row in decision.rejections:
            if row.reason == RejectReason.CONFLICT:
                assert row.producer is not None
                assert row.sequence is not None
                assert row.digest is not None
                number = (row.producer, row.sequence)
                self.applied.setdefault(number, {})[(*number, row.digest)] = row.digest


class Accountd(Process):
    """One boot of accountd."""

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world.clock, f"accountd{number}")
        self.world = world
        self.db = world.db
        self.recent = RecentDigests()
        self.db.has_digests = not world.has_flag("conflict ignored")
        # As ``group_commit.begin_epoch``, which commits it before a socket opens.
        next_epoch = self.db.epoch + 1 + self.rng.randrange(EPOCH_STEP_MAX)
        self.epoch = self.db.epoch = max(next_epoch, world.accountd_clock_ns)
        self._inbox: list[list[bytes]] = []
        self._is_turning = False
        self._heard_at: dict[bytes, float] = {}
        self._lag_s = self.rng.choice((0.005, 0.02, 0.3, 1.5)) if world.has_faults else 0.01
        self.trace("started", epoch=self.epoch, rows=len(self.db.rows))
        self.later(REPEAT_S, self._repeat)

    def receive(self, messages: list[list[bytes]]) -> None:
        """Messages arrive at the PULL socket."""
        self._inbox += messages
        if not self._is_turning:
            self._is_turning = True
            self.later(self._lag(), self._turn)

    def sync(self, producers: Iterable[bytes]) -> tuple[int, list[int]]:
        """What the RPC of that name answers."""
        return self.epoch, [self._watermark(p) for p in producers]

    def kill(self) -> None:
        """Also lose what was received and not committed."""
        super().kill()
        self._inbox.clear()
        self.world.accountd_died()

    # --- helpers ----------------------------------------------------------------------------------

    def _lag(self) -> float:
        calm = not self.world.has_faults
        return 0.005 if calm else self.rng.random() * self._lag_s

    def _turn(self) -> None:
        size = self.rng.randint(1, GROUP_MAX)
        group, self._inbox = self._inbox[:size], self._inbox[size:]
        self.step()
        decision = decide(group, state=self.db, recent=self.recent, now=NOW)
        if self.world.has_flag("watermark before commit"):
            self._announce(decision)
        self.step()
        self.db.commit(decision)
        self.world.oracle.committed(decision)
        self._trace_commit(decision)
        self.step()
        self.recent.remember(decision.digests)
        self.step()
        self._announce(decision)
        self._is_turning = bool(self._inbox)
        if self._inbox:
            self.later(self._lag(), self._turn)

    def _announce(self, decision: Decision) -> None:
        for producer in decision.watermarks:
            self._heard_at[producer] = self.clock.now
        # Sorted: the order of a set of bytes differs from process to process.
        watermarks = dict(sorted(decision.watermarks.items()))
        if self.world.has_flag("highest published"):
            watermarks = {p: self._watermark(p) for p in watermarks}
        self.world.control.publish(self.epoch, watermarks)

    def _repeat(self) -> None:
        recent = [p for p, at in self._heard_at.items() if self.clock.now - at < RECENT_S]
        if recent:
            self.world.control.publish(self.epoch, {p: self._watermark(p) for p in sorted(recent)})
        self.later(REPEAT_S, self._repeat)

    def _watermark(self, producer: bytes) -> int:
        through, ahead, _ = self.db.stored.get(producer, (0, frozenset(), None))
        return max(ahead, default=through) if self.world.has_flag("highest published") else through

    def _trace_commit(self, decision: Decision) -> None:
        if self.clock.is_traced:
            self.trace(
                "COMMIT",
                applied=[(c.producer.hex()[:4], c.sequence, c.batch.response_ids)
                         for c in decision.charges if c.producer],
                duplicates=decision.duplicates,
                rejected=[(r.reason, r.sequence, r.detail) for r in decision.rejections],
                watermarks={p.hex()[:4]: w for p, w in sorted(decision.watermarks.items())},
            )  # fmt: skip
