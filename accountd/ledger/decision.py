"""What becomes of usage messages: the decisions behind exactly once. Pure.

A producer numbers its messages 1, 2, 3…; ``windows`` knows which of them are new,
``payload_digests`` which are repeated with other content, and ``charging`` what a new one costs.

``decide`` takes a group of messages and the committed state, and returns everything to write and
everything to report. ``group_commit`` writes it in one transaction; the simulation of the protocol
drives the same function with a database in memory. After the COMMIT, and only then, the caller
remembers the group's digests: ``recent.remember(decision.digests)``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from accountd.ledger.charging import Balance, PricedCharge, Unchargeable, crossing, price_batch
from accountd.ledger.decision_types import (
    Charge,
    CommittedState,
    Decision,
    QuarantineState,
    Rejection,
    Retried,
)
from accountd.ledger.estimates import EstimatePolicy, waiver_for
from accountd.ledger.payload_digests import DigestKey, RecentDigests, digest_of
from accountd.ledger.shared_responses import AlreadyCharged, RepeatedResponse, deduplicator_for
from accountd.ledger.windows import ProducerWindow, Verdict
from shared.fields import RejectReason, WireError
from shared.rates import DEFAULT_RATES, Rates
from shared.usage import EndOfProducer, InvalidUsage, Kind, LostBatch, UsageBatch, UsageMessage
from shared.wire import Envelope, decode_envelope, decode_usage

_LOST_DETAIL: Final = "it was durable, was lost here, and no gateway holds it any more"
_DOUBTFUL_DETAIL: Final = "the spool was damaged: this response may have been charged already"
_ARCHIVED_DETAIL: Final = (
    "rows that may have charged it are in an archive: see there, and dismiss it"
)
# Reasons for which other messages may have held the same responses, and the time within which.
MAY_OVERLAP: Final = (RejectReason.CONFLICT, RejectReason.DOUBTFUL)
OVERLAP_MS: Final = 2 * 86_400_000
_LENIENT: Final = EstimatePolicy()


def decide(
    messages: Iterable[Sequence[bytes]],
    *,
    state: CommittedState,
    recent: RecentDigests,
    now: str,
    rates: Rates = DEFAULT_RATES,
    estimates: EstimatePolicy = _LENIENT,
) -> Decision:
    """Decide about a group of messages (frames each), in the order of arrival.

    ``now`` is the stored form of the time. ``recent`` is only read. ``rates`` say what usage costs.
    ``estimates`` say whether rows of what no provider reported take anything.
    """
    decision = Decision(now)
    envelopes = _open(messages, decision)
    windows = _load_windows(state, envelopes)
    fresh = _new_ones(envelopes, windows, recent, state, decision)
    batches = _sort_out(fresh, windows, decision)
    _charge_all(batches, state, decision, rates=rates, estimates=estimates)
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
    estimates: EstimatePolicy = _LENIENT,
    archived_before_ms: int = 0,
) -> Retried | Unchargeable | AlreadyCharged:
    """Decide about a message in quarantine once more: its charge and what that leaves, or why not.
    It costs what it costs now; an estimate that passes its account's bound is charged, and so are
    those that come after it.

    A conflict is charged under no number, because the first message has it. Conflicts and doubtful
    responses come from copied or damaged spools, which other messages may have come from as well.
    What those were cannot be read any more where rows before ``archived_before_ms`` have moved.
    """
    try:
        usage = decode_usage(rejection.payload)
    except WireError as exc:
        return Unchargeable(exc.reason, str(exc))
    if not isinstance(usage, UsageBatch):
        return Unchargeable(RejectReason.UNREADABLE_USAGE, "it has no readable counts to charge")
    if usage.kind == Kind.DOUBTFUL:
        usage = replace(usage, kind=usage.doubtful_kind or Kind.RESPONSE, doubtful_kind="")
    doubled = _doubled(rejection, usage, state, archived_before_ms=archived_before_ms)
    if doubled is not None:
        return doubled
    balance = state.balances([usage.account_id]).get(usage.account_id)
    waiver = waiver_for([usage], estimates, state.estimates)
    priced = price_batch(usage, balance, rates=rates, waiver=waiver)
    if isinstance(priced, Unchargeable):
        return priced
    if rejection.reason == RejectReason.CONFLICT:
        charge = _charge((None, None), usage, priced, rates)
    else:
        numbers = rejection.producer, rejection.sequence
        charge = _charge(numbers, usage, priced, rates)
    return Retried(charge, priced.left, waiver.begun)


# --- helpers -------------------------------------------------------------------------------------


def _doubled(
    rejection: Rejection, usage: UsageBatch, state: QuarantineState, *, archived_before_ms: int
) -> Unchargeable | AlreadyCharged | None:
    """Why its responses are, or may be, charged; None when they are not."""
    if rejection.reason in MAY_OVERLAP:
        if archived_before_ms and usage.metered_at_ms < archived_before_ms + OVERLAP_MS:
            return Unchargeable(rejection.reason, _ARCHIVED_DETAIL)
        charged = state.charged_responses(usage.account_id, usage.session_id)
        doubled = tuple(name for name in usage.response_ids if name in charged)
        if doubled:
            return AlreadyCharged(doubled, usage.responses)
    if deduplicator_for([usage], state.charged_shared).is_repeated(usage):
        return AlreadyCharged(usage.response_ids, usage.responses)
    return None


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


def _load_windows(
    state: CommittedState, envelopes: Iterable[Envelope]
) -> dict[bytes, ProducerWindow]:
    producers = {envelope.producer for envelope in envelopes}
    known = state.windows(producers)
    return {producer: known.get(producer) or ProducerWindow() for producer in producers}


def _new_ones(
    envelopes: Iterable[Envelope],
    windows: Mapping[bytes, ProducerWindow],
    recent: RecentDigests,
    state: CommittedState,
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
            decision.applied_digests.setdefault(envelope.producer, {})[envelope.sequence] = digest
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
    state: CommittedState,
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

    A row from before digests were kept cannot be compared; an end marker of then left no row.
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
    """Quarantine the second payload of one sequence, once: two machines share a producer id."""
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
    """The batches among new messages; others are quarantined, or end their producer."""
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
    state: CommittedState,
    decision: Decision,
    *,
    rates: Rates,
    estimates: EstimatePolicy,
) -> None:
    balances = dict(state.balances({batch.account_id for _, batch in batches}))
    waiver = waiver_for([batch for _, batch in batches], estimates, state.estimates)
    deduplicator = deduplicator_for([batch for _, batch in batches], state.charged_shared)
    for envelope, batch in batches:
        account = batch.account_id
        if deduplicator.is_repeated(batch):
            _note_repetition(envelope, batch, balances, decision)
            continue
        priced = price_batch(batch, balances.get(account), rates=rates, waiver=waiver)
        if isinstance(priced, Unchargeable):
            _reject(envelope, priced.reason, priced.detail, decision)
            continue
        before, left = balances[account], priced.left
        if left != before:
            balances[account] = decision.balances[account] = left
            crossed = crossing(account, before=before.total, left=left)
            if crossed is not None:
                decision.crossings.append(crossed)
        deduplicator.charged(batch, priced.deduction)
        numbers = envelope.producer, envelope.sequence
        decision.charges.append(_charge(numbers, batch, priced, rates))
    decision.estimates_begun += waiver.begun


def _note_repetition(
    envelope: Envelope, batch: UsageBatch, balances: Mapping[str, Balance], decision: Decision
) -> None:
    """Another message has charged this response. The balance is announced, or the gateway that sent
    this one would go on taking what it cost for spent.
    """
    digest = decision.digests[envelope.producer, envelope.sequence]
    decision.repeated.append(RepeatedResponse(envelope.producer, envelope.sequence, digest, batch))
    if batch.account_id in balances:
        decision.balances.setdefault(batch.account_id, balances[batch.account_id])


def _charge(
    numbers: tuple[bytes | None, int | None],
    batch: UsageBatch,
    priced: PricedCharge,
    rates: Rates,
) -> Charge:
    unpriced, waived = rates.unpriced(batch), priced.waived
    return Charge(*numbers, batch, priced.deduction, rates.version, unpriced, waived)


def _reject(envelope: Envelope, reason: RejectReason, detail: str, decision: Decision) -> None:
    decision.rejections.append(
        Rejection(
            envelope.producer, envelope.sequence, reason, detail, envelope.payload, decision.now,
            digest_of(envelope.payload),
        )
    )  # fmt: skip
