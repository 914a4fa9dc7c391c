"""A ledger in memory: the state of ``decision.decide``, and messages for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accountd.ledger.charging import Balance
from accountd.ledger.decision import decide
from accountd.ledger.decision_types import Charge, Decision
from accountd.ledger.estimates import EstimatePolicy, EstimatesSeen, WaivedEstimate
from accountd.ledger.payload_digests import DigestKey, RecentDigests
from accountd.ledger.shared_responses import RepeatedResponse, charged_name
from accountd.ledger.windows import ProducerWindow
from shared.fields import RejectReason
from shared.usage import EndOfProducer, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

NOW = "2026-11-24T12:00:00.000Z"
LENIENT = EstimatePolicy()
P, Q = b"p" * 16, b"q" * 16
END = encode_usage(EndOfProducer())


def usage(tokens: int = 10, **changes: Any) -> bytes:
    """A payload of one response of the account ``a``."""
    fields: dict[str, Any] = {
        "account_id": "a", "session_id": "s", "provider": "openai", "model": "m",
        "kind": "response", "responses": 1, "response_ids": ("r",),
        "usage": Usage(tokens, 0, tokens), "metered_at_ms": 0,
    }  # fmt: skip
    return encode_usage(UsageBatch(**{**fields, **changes}))


@dataclass
class Memory:
    """A database in memory: what was decided is written, and remembered, at once."""

    accounts: dict[str, Balance] = field(default_factory=lambda: {"a": Balance(100, 1_000)})
    stored: dict[bytes, tuple[int, set[int], int | None]] = field(default_factory=dict)
    recent: RecentDigests = field(default_factory=RecentDigests)
    kept: dict[DigestKey, int | None] = field(default_factory=dict)
    charged: set[str] = field(default_factory=set)
    questions: list[set[tuple[bytes, int]]] = field(default_factory=list)
    begun: dict[str, str] = field(default_factory=dict)
    rows: list[Charge] = field(default_factory=list)
    estimates_asked: list[dict[str, int]] = field(default_factory=list)
    shared_asked: list[set[bytes]] = field(default_factory=list)
    repeated: list[RepeatedResponse] = field(default_factory=list)

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """Windows of their own."""
        return {p: ProducerWindow(*self.stored[p]) for p in producers if p in self.stored}

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """Balances of known accounts."""
        return {a: self.accounts[a] for a in accounts if a in self.accounts}

    def digests(self, sequences: Iterable[tuple[bytes, int]]) -> dict[DigestKey, int | None]:
        """Digests of the rows of those sequences; who asked for what is noted."""
        wanted = set(sequences)
        self.questions.append(wanted)
        return {key: digest for key, digest in self.kept.items() if key[:2] in wanted}

    def estimates(self, after_ms_by_account: Mapping[str, int]) -> dict[str, EstimatesSeen]:
        """What was let off after those times; who asked for what is noted."""
        self.estimates_asked.append(dict(after_ms_by_account))
        return {
            account: EstimatesSeen(self.begun.get(account), tuple(
                WaivedEstimate(row.batch.metered_at_ms, row.batch.responses)
                for row in self.rows
                if row.waived and row.batch.account_id == account
                and row.batch.metered_at_ms > after_ms
            ))
            for account, after_ms in after_ms_by_account.items()
        }  # fmt: skip

    def charged_responses(self, account_id: str, session_id: str) -> set[str]:
        """Whatever the session is."""
        return self.charged

    def charged_shared(self, names: Iterable[bytes]) -> set[bytes]:
        """Those that a row has charged; who asked for what is noted."""
        self.shared_asked.append(set(names))
        charged = {charged_name(row.batch, row.deduction) for row in self.rows}
        return {name for name in self.shared_asked[-1] if name in charged}

    def restart(self) -> None:
        """The process is a new one."""
        self.recent = RecentDigests()
        self.questions.clear()

    def decide(self, *messages: list[bytes], estimates: EstimatePolicy = LENIENT) -> Decision:
        """What is decided about a group, written nowhere."""
        return decide(messages, state=self, recent=self.recent, now=NOW, estimates=estimates)

    def apply(self, *messages: list[bytes], **options: EstimatePolicy) -> Decision:
        """Decide, write, remember."""
        decision = self.decide(*messages, **options)
        self.begun.update(dict.fromkeys(decision.estimates_begun, NOW))
        self.rows += decision.charges
        self.repeated += decision.repeated
        self.accounts.update(decision.balances)
        for producer, window in decision.windows.items():
            self.stored[producer] = (window.applied_through, window.ahead, window.ended_at)
        self._keep(decision)
        self.recent.remember(decision.digests)
        return decision

    def _keep(self, decision: Decision) -> None:
        for producer, digests in decision.applied_digests.items():
            for sequence, digest in digests.items():
                self.kept[producer, sequence] = digest
        for row in decision.rejections:
            if row.reason == RejectReason.CONFLICT:
                assert row.producer is not None
                assert row.sequence is not None
                assert row.digest is not None
                self.kept[row.producer, row.sequence, row.digest] = row.digest


def sent(*sequences: int, producer: bytes = P, payload: bytes | None = None) -> list[list[bytes]]:
    """Messages of one producer; each sequence has its own content unless ``payload`` is given."""
    return [encode_envelope(producer, n, payload or usage(n)) for n in sequences]
