"""What becomes of usage messages: the decisions behind exactly once. Pure.

A producer numbers its messages 1, 2, 3… Everything up to the *watermark* (``applied_through``) has
been applied, and so have the few sequences in ``ahead`` of it. Any other sequence is new, in
whatever order it comes: a gap holds the watermark back, not the money.

``decide`` takes a group of messages and the committed state, and returns everything to write and
everything to report. ``ledger`` writes it in one transaction; the simulation of the protocol drives
the same function with a database in memory. After the COMMIT, and only then, the caller remembers
the group's digests: ``recent.remember(decision.digests)``.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Protocol

from accountd.cascade import Deduction, cascade
from shared.rates import DEFAULT_RATES, Rates
from shared.wire import (
    EndOfProducer,
    Envelope,
    InvalidUsage,
    Kind,
    LostBatch,
    RejectReason,
    UsageBatch,
    UsageMessage,
    WireError,
    decode_envelope,
    decode_usage,
)

_LOST_DETAIL: Final = "it was durable, was lost here, and no gateway holds it any more"
_DOUBTFUL_DETAIL: Final = "the spool was damaged: this response may have been charged already"
BALANCE_MIN: Final = -(2**63)  # SQLite's integers
# Twice a gateway's outbox: what is sent again after an outage costs no query. About 45 MB.
RECENT_DIGESTS_MAX: Final = 200_000

# (producer, sequence) has the digest of what was applied; with a digest as its third part it stands
# for a conflicting payload that has been quarantined.
DigestKey = tuple[bytes, int] | tuple[bytes, int, int]
_DIGEST_BYTES: Final = 8  # SQLite's integers
_NAMES_SHOWN_MAX: Final = 10


class Verdict(Enum):
    """Whether a sequence is new."""

    APPLY = auto()
    DUPLICATE = auto()


class ProducerWindow:
    """What has been applied of one producer, and how that changed since it was loaded.

    ``ended_at`` is the sequence of its end marker, None while there was none.
    """

    __slots__ = (
        "_loaded_ahead", "_loaded_ended_at", "_loaded_through", "ahead", "applied_through",
        "ended_at",
    )  # fmt: skip

    def __init__(
        self, applied_through: int = 0, ahead: Iterable[int] = (), ended_at: int | None = None
    ) -> None:
        self.applied_through = self._loaded_through = applied_through
        self.ahead = set(ahead)
        self._loaded_ahead = frozenset(self.ahead)
        self.ended_at = self._loaded_ended_at = ended_at
        assert all(sequence > applied_through + 1 for sequence in self.ahead)

    def judge(self, sequence: int) -> Verdict:
        """Whether ``sequence`` (from 1) is new; a new one counts as applied from here on."""
        assert sequence >= 1
        if sequence <= self.applied_through or sequence in self.ahead:
            return Verdict.DUPLICATE
        self.ahead.add(sequence)
        while self.applied_through + 1 in self.ahead:
            self.applied_through += 1
            self.ahead.remove(self.applied_through)
        return Verdict.APPLY

    def end(self, sequence: int) -> None:
        """Note an end marker. Of several the lowest counts, in whatever order they come: what is
        beyond it is odd, and the audit says so.
        """
        self.ended_at = sequence if self.ended_at is None else min(self.ended_at, sequence)

    @property
    def is_changed(self) -> bool:
        """Whether anything was applied since the window was loaded."""
        return (
            self.applied_through != self._loaded_through
            or self.ahead != self._loaded_ahead
            or self.ended_at != self._loaded_ended_at
        )

    @property
    def is_overrun(self) -> bool:
        """Whether anything beyond the end was applied: somebody goes on under an ended name."""
        return self.ended_at is not None and (
            max(self.ahead, default=self.applied_through) > self.ended_at
        )

    @property
    def newly_ahead(self) -> set[int]:
        """Sequences to note as applied beyond the watermark."""
        return self.ahead - self._loaded_ahead

    @property
    def no_longer_ahead(self) -> frozenset[int]:
        """Sequences that the watermark has reached."""
        return self._loaded_ahead - self.ahead

    def missing(self, at_most: int) -> list[int]:
        """The lowest sequences that hold the watermark back or are short of the end."""
        return missing_sequences(self.applied_through, sorted(self.ahead), self.ended_at, at_most)


def missing_sequences(
    applied_through: int, ahead: Iterable[int], ended_at: int | None, at_most: int
) -> list[int]:
    """The lowest ``at_most`` sequences that did not come; ``ahead`` ascends and may be long."""
    found: list[int] = []
    expected = applied_through + 1
    for sequence in ahead:
        found.extend(range(expected, min(sequence, expected + at_most - len(found))))
        if len(found) == at_most:
            return found
        expected = sequence + 1
    if ended_at is not None:
        found.extend(range(expected, min(ended_at + 1, expected + at_most - len(found))))
    return found


class RecentDigests:
    """A bounded memory of what was seen under each sequence, oldest out first.

    It lives as long as the process and spares ``decide`` the question to the database.
    """

    def __init__(self, entries_max: int = RECENT_DIGESTS_MAX) -> None:
        self._entries_max = entries_max
        self._digests: dict[DigestKey, int] = {}
        self._order: deque[DigestKey] = deque()

    def __len__(self) -> int:
        """How many digests are remembered."""
        return len(self._digests)

    def get(self, key: DigestKey) -> int | None:
        """The digest under ``key``, or None when it was never seen or is forgotten."""
        return self._digests.get(key)

    def remember(self, digests: Mapping[DigestKey, int]) -> None:
        """Take what a committed group has seen."""
        for key, digest in digests.items():
            if key not in self._digests:
                self._order.append(key)
            self._digests[key] = digest
        while len(self._order) > self._entries_max:
            del self._digests[self._order.popleft()]


@dataclass(frozen=True, slots=True)
class Balance:
    """The two buckets of an account, in credits, and its low-credit mark where it has one."""

    topup: int
    tokens: int
    mark: int | None = None

    @property
    def total(self) -> int:
        """What is left in both buckets."""
        return self.topup + self.tokens


@dataclass(frozen=True, slots=True)
class Crossing:
    """An account fell from above its low-credit mark to it or below; ``left`` is what it has."""

    account_id: str
    left: Balance


@dataclass(frozen=True, slots=True)
class Charge:
    """A usage row to write, and what it takes from its account by the prices of ``rate_card``.

    ``producer`` and ``sequence`` are None for a conflict that an operator had charged: the numbers
    belong to the message that came first.
    """

    producer: bytes | None
    sequence: int | None
    batch: UsageBatch
    deduction: Deduction
    digest: int | None
    rate_card: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message to keep whole, in quarantine. Without an envelope it has no producer, no digest."""

    producer: bytes | None
    sequence: int | None
    reason: RejectReason
    detail: str
    payload: bytes
    received_at: str
    digest: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch cannot be charged."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class AlreadyCharged:
    """Why a batch must not be charged: some of its responses are in rows of other messages."""

    response_ids: tuple[str, ...]
    responses: int

    @property
    def detail(self) -> str:
        """One line that names them."""
        named = ", ".join(self.response_ids[:_NAMES_SHOWN_MAX])
        more = " …" if len(self.response_ids) > _NAMES_SHOWN_MAX else ""
        return f"{len(self.response_ids)} of {self.responses} responses are charged: {named}{more}"


class State(Protocol):
    """The committed state, read inside the transaction that will write the decision."""

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """The windows of those ``producers`` that are known, made anew: ``decide`` changes them."""

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """The balances of those ``accounts`` that exist."""

    def digests(self, sequences: Iterable[tuple[bytes, int]]) -> dict[DigestKey, int | None]:
        """What the rows of those applied ``sequences`` say, conflicts included.

        None is a row from before digests were kept. A sequence that left no row is not in it.
        """


class QuarantineState(State, Protocol):
    """What a retry asks beside it."""

    def charged_responses(self, account_id: str, session_id: str) -> set[str]:
        """The ids of all responses of a session that were charged."""


@dataclass(slots=True)
class Decision:
    """What to write about a group of messages, and what to report.

    Written in one transaction: ``charges``, ``rejections``, ``crossings``, and the changed
    ``balances`` and ``windows``. After its COMMIT ``digests`` are remembered and ``watermarks``
    announced: those of all producers in the group, of one that sent only duplicates too.
    """

    now: str
    charges: list[Charge] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    balances: dict[str, Balance] = field(default_factory=dict)
    crossings: list[Crossing] = field(default_factory=list)
    windows: dict[bytes, ProducerWindow] = field(default_factory=dict)
    digests: dict[DigestKey, int] = field(default_factory=dict)
    watermarks: dict[bytes, int] = field(default_factory=dict)
    overrun: list[bytes] = field(default_factory=list)  # producers that went on beyond their end
    duplicates: int = 0
    conflicts: int = 0  # the repetitions of a conflict too, which are not quarantined again

    @property
    def applied(self) -> int:
        """How many usage rows there are, estimates included."""
        return len(self.charges)

    @property
    def rejected(self) -> dict[RejectReason, int]:
        """How many messages go to quarantine, by reason."""
        counts: dict[RejectReason, int] = {}
        for rejection in self.rejections:
            counts[rejection.reason] = counts.get(rejection.reason, 0) + 1
        return counts


def decide(
    messages: Iterable[Sequence[bytes]],
    *,
    state: State,
    recent: RecentDigests,
    now: str,
    rates: Rates = DEFAULT_RATES,
    charge_estimates: bool = False,
) -> Decision:
    """Decide about a group of messages (frames each), in the order of arrival.

    ``now`` is the stored form of the time. ``recent`` is only read. ``rates`` say what usage costs.
    Estimates become rows that take nothing, unless ``charge_estimates``.
    """
    decision = Decision(now)
    envelopes = _open(messages, decision)
    windows = _load_windows(state, envelopes)
    fresh = _new_ones(envelopes, windows, recent, state, decision)
    batches = _sort_out(fresh, windows, decision)
    _charge_all(batches, state, decision, rates=rates, charge_estimates=charge_estimates)
    for producer, window in windows.items():
        decision.watermarks[producer] = window.applied_through
        if window.is_changed:
            decision.windows[producer] = window
            if window.is_overrun:
                decision.overrun.append(producer)
    return decision


def decide_retry(
    rejection: Rejection,
    *,
    state: QuarantineState,
    rates: Rates = DEFAULT_RATES,
    charge_estimates: bool = False,
) -> tuple[Charge, Balance] | Refusal | AlreadyCharged:
    """Decide about a message in quarantine once more: its charge and what that leaves, or why not.
    It costs what it costs now.

    A conflict is charged under no number, because the first message has it. Conflicts and doubtful
    responses come from copied or damaged spools, which other messages may have come from as well.
    """
    try:
        usage = decode_usage(rejection.payload)
    except WireError as exc:
        return Refusal(exc.reason, str(exc))
    if not isinstance(usage, UsageBatch):
        return Refusal(RejectReason.UNREADABLE_USAGE, "it has no readable counts to charge")
    if usage.kind == Kind.DOUBTFUL:
        usage = replace(usage, kind=Kind.RESPONSE)
    if rejection.reason in (RejectReason.CONFLICT, RejectReason.DOUBTFUL):
        charged = state.charged_responses(usage.account_id, usage.session_id)
        doubled = tuple(name for name in usage.response_ids if name in charged)
        if doubled:
            return AlreadyCharged(doubled, usage.responses)
    balance = state.balances([usage.account_id]).get(usage.account_id)
    settled = settle(usage, balance, rates=rates, charge_estimates=charge_estimates)
    if isinstance(settled, Refusal):
        return settled
    deduction, left = settled
    if rejection.reason == RejectReason.CONFLICT:
        return Charge(None, None, usage, deduction, None, rates.version), left
    digest = digest_of(rejection.payload)
    charge = Charge(rejection.producer, rejection.sequence, usage, deduction, digest, rates.version)
    return charge, left


def settle(
    batch: UsageBatch, balance: Balance | None, *, rates: Rates, charge_estimates: bool
) -> tuple[Deduction, Balance] | Refusal:
    """What ``batch`` takes from its account's ``balance`` and what that leaves, or why not."""
    if balance is None:
        return Refusal(RejectReason.UNKNOWN_ACCOUNT, f"no account {batch.account_id!r}")
    is_free = batch.kind == Kind.ESTIMATE and not charge_estimates
    deduction = cascade(topup=balance.topup, used=0 if is_free else rates.credits(batch))
    if balance.tokens - deduction.tokens < BALANCE_MIN:
        detail = f"account {batch.account_id!r} would fall below {BALANCE_MIN}"
        return Refusal(RejectReason.OUT_OF_RANGE, detail)
    left = Balance(balance.topup - deduction.topup, balance.tokens - deduction.tokens, balance.mark)
    return deduction, left


def crossing(account_id: str, *, before: int, left: Balance) -> Crossing | None:
    """Whether an account that had ``before`` in both buckets fell to its mark with what is left.

    Every charge and grant asks this, so a crossing is noticed once: below its mark an account has
    nothing to cross until something lifts it above.
    """
    if left.mark is not None and before > left.mark >= left.total:
        return Crossing(account_id, left)
    return None


def digest_of(payload: bytes) -> int:
    """A payload's digest, the same in every process: it is stored beside what was applied.

    64 bits, for 1 µs. Python's ``hash`` costs 0.1 µs, and after a restart it is another one.
    """
    digest = hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)


# --- helpers -------------------------------------------------------------------------------------


def _open(messages: Iterable[Sequence[bytes]], decision: Decision) -> list[Envelope]:
    envelopes: list[Envelope] = []
    for frames in messages:
        try:
            envelopes.append(decode_envelope(frames))
        except WireError as exc:
            whole = b"".join(frames)
            decision.rejections.append(
                Rejection(None, None, exc.reason, str(exc), whole, decision.now)
            )
    return envelopes


def _load_windows(state: State, envelopes: Iterable[Envelope]) -> dict[bytes, ProducerWindow]:
    producers = {envelope.producer for envelope in envelopes}
    known = state.windows(producers)
    return {producer: known.get(producer) or ProducerWindow() for producer in producers}


def _new_ones(
    envelopes: Iterable[Envelope],
    windows: Mapping[bytes, ProducerWindow],
    recent: RecentDigests,
    state: State,
    decision: Decision,
) -> list[Envelope]:
    """The messages to apply; duplicates are counted, conflicts noted."""
    fresh: list[Envelope] = []
    strange: list[tuple[Envelope, int]] = []
    for envelope in envelopes:
        digest = digest_of(envelope.payload)
        key = (envelope.producer, envelope.sequence)
        if windows[envelope.producer].judge(envelope.sequence) is Verdict.APPLY:
            decision.digests[key] = digest
            fresh.append(envelope)
        elif _known(key, recent, decision) == digest:
            decision.duplicates += 1
        else:
            strange.append((envelope, digest))
    if strange:
        _compare(strange, recent, state, decision)
    return fresh


def _known(key: DigestKey, recent: RecentDigests, decision: Decision) -> int | None:
    found = decision.digests.get(key)
    return recent.get(key) if found is None else found


def _compare(
    strange: Iterable[tuple[Envelope, int]],
    recent: RecentDigests,
    state: State,
    decision: Decision,
) -> None:
    """Tell duplicates from conflicts among what memory does not know: one question to the state."""
    unknown = {
        (envelope.producer, envelope.sequence)
        for envelope, digest in strange
        if _known((envelope.producer, envelope.sequence, digest), recent, decision) is None
    }
    stored = state.digests(unknown) if unknown else {}
    for key, digest in stored.items():
        if digest is not None:
            decision.digests.setdefault(key, digest)  # remembered: the next resend costs no query
    for envelope, digest in strange:
        key = (envelope.producer, envelope.sequence)
        known = _known(key, recent, decision)
        if known == digest or (known is None and _is_as_applied(envelope, stored)):
            decision.duplicates += 1
        else:
            _note_conflict(envelope, digest, recent, decision)


def _is_as_applied(envelope: Envelope, stored: Mapping[DigestKey, int | None]) -> bool:
    """Whether a repetition without a digest passes for what was applied.

    A row from before digests were kept cannot be compared. Only an end marker leaves no row.
    """
    if (envelope.producer, envelope.sequence) in stored:
        return True
    try:
        return isinstance(decode_usage(envelope.payload), EndOfProducer)
    except WireError:
        return False


def _note_conflict(
    envelope: Envelope, digest: int, recent: RecentDigests, decision: Decision
) -> None:
    """Two machines use one producer's numbers: keep the second payload, once."""
    decision.conflicts += 1
    key = (envelope.producer, envelope.sequence, digest)
    if _known(key, recent, decision) is not None:
        return
    decision.digests[key] = digest
    detail = "the sequence was applied before, with other content"
    _reject(envelope, RejectReason.CONFLICT, detail, decision)


def _sort_out(
    fresh: Iterable[Envelope], windows: Mapping[bytes, ProducerWindow], decision: Decision
) -> list[tuple[Envelope, UsageBatch]]:
    """The batches among new messages; the others are noted for what they are."""
    batches: list[tuple[Envelope, UsageBatch]] = []
    for envelope in fresh:
        usage = _decode(envelope, decision)
        if isinstance(usage, UsageBatch) and usage.kind == Kind.DOUBTFUL:
            _reject(envelope, RejectReason.DOUBTFUL, _DOUBTFUL_DETAIL, decision)
        elif isinstance(usage, UsageBatch):
            batches.append((envelope, usage))
        elif isinstance(usage, InvalidUsage):
            _reject(envelope, RejectReason.UNREADABLE_USAGE, usage.detail, decision)
        elif isinstance(usage, LostBatch):
            _reject(envelope, RejectReason.LOST, _LOST_DETAIL, decision)
        elif isinstance(usage, EndOfProducer):
            windows[envelope.producer].end(envelope.sequence)
    return batches


def _decode(envelope: Envelope, decision: Decision) -> UsageMessage | None:
    try:
        return decode_usage(envelope.payload)
    except WireError as exc:
        _reject(envelope, exc.reason, str(exc), decision)
        return None


def _charge_all(
    batches: Sequence[tuple[Envelope, UsageBatch]],
    state: State,
    decision: Decision,
    *,
    rates: Rates,
    charge_estimates: bool,
) -> None:
    balances = dict(state.balances({batch.account_id for _, batch in batches}))
    for envelope, batch in batches:
        account = batch.account_id
        settled = settle(
            batch, balances.get(account), rates=rates, charge_estimates=charge_estimates
        )
        if isinstance(settled, Refusal):
            _reject(envelope, settled.reason, settled.detail, decision)
            continue
        deduction, left = settled
        before = balances[account]
        if left != before:
            balances[account] = decision.balances[account] = left
            crossed = crossing(account, before=before.total, left=left)
            if crossed is not None:
                decision.crossings.append(crossed)
        digest = decision.digests[envelope.producer, envelope.sequence]
        decision.charges.append(
            Charge(envelope.producer, envelope.sequence, batch, deduction, digest, rates.version)
        )


def _reject(envelope: Envelope, reason: RejectReason, detail: str, decision: Decision) -> None:
    decision.rejections.append(
        Rejection(
            envelope.producer, envelope.sequence, reason, detail, envelope.payload, decision.now,
            digest_of(envelope.payload),
        )
    )  # fmt: skip
