"""Ways to get the protocol wrong. The simulation must notice every one of them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from accountd.ledger.payload_digests import RecentDigests
from accountd.ledger.shared_responses import Deduplicator
from accountd.ledger.windows import ProducerWindow, Verdict
from gateway.delivery.journal import Journal
from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.delivery.producer import Producer
from shared.announcements import Watermark
from shared.usage import UsageBatch

Patch = tuple[type, str, Callable[..., Any]]


def _never_again(outbox: Outbox) -> None:
    outbox._resend_at = None


def _always_new(window: ProducerWindow, sequence: int) -> Verdict:
    window.applied_through = max(window.applied_through, sequence)
    return Verdict.APPLY


_judge = ProducerWindow.judge
_sent = Outbox.sent
_acknowledge = Outbox.acknowledge
_prune = Journal.prune


def _new_above_the_highest(window: ProducerWindow, sequence: int) -> Verdict:
    if sequence <= max(window.ahead, default=window.applied_through):
        return Verdict.DUPLICATE
    return _judge(window, sequence)


def _sent_is_durable(outbox: Outbox, now: float) -> None:
    _sent(outbox, now)
    outbox._advance(outbox._next - 1, now)


def _sent_is_seen(outbox: Outbox, now: float) -> None:
    _sent(outbox, now)
    outbox.seen_durable = max(outbox.seen_durable, outbox._sent_through)


def _never_backwards(
    outbox: Outbox, watermark: Watermark, now: float, *, is_answer: bool = False
) -> AckOutcome:
    if watermark.applied_through < outbox.acknowledged:
        return AckOutcome.NOTHING_NEW
    return _acknowledge(outbox, watermark, now, is_answer=is_answer)


def _nothing_remembered(_recent: RecentDigests, _key: object) -> None:
    return None


def _never_repeated(_deduplicator: Deduplicator, _batch: UsageBatch) -> bool:
    return False


def _always_repeated(_deduplicator: Deduplicator, batch: UsageBatch) -> bool:
    return batch.is_shared


def _release_all(producer: Producer) -> None:
    producer.outbox.release(producer.outbox.last_sequence)


def _prune_all(journal: Journal, through: int, **bounds: Any) -> int:
    is_over, journal._is_over = journal._is_over, True
    try:
        return _prune(journal, through, **bounds)
    finally:
        journal._is_over = is_over


def _stay(_outbox: Outbox, _sequence: int) -> None:
    return None


# Those without patches are mutations of the simulated shells, by the same name.
_PATCHES: dict[str, list[Patch]] = {
    "naive push": [(Outbox, "_go_back", _never_again)],
    "watermark before commit": [],
    "no dedupe": [(ProducerWindow, "judge", _always_new)],
    "below highest is duplicate": [(ProducerWindow, "judge", _new_above_the_highest)],
    "highest published": [],
    "no adoption": [],
    "delete on send": [(Outbox, "sent", _sent_is_durable)],
    "what was sent is claimed": [(Outbox, "sent", _sent_is_seen)],
    "regression ignored": [(Outbox, "acknowledge", _never_backwards)],
    "send before seal": [],
    "conflict ignored": [(RecentDigests, "get", _nothing_remembered)],
    "shared responses are charged again": [(Deduplicator, "is_repeated", _never_repeated)],
    "all shared responses were charged before": [(Deduplicator, "is_repeated", _always_repeated)],
}
# Hard to notice: they need a power failure, a failed fsync, short retention, or an answer that is
# late.
#
# Two others are not here, because no money hangs on them:
# * "highest end counts": where an end marker stands is for the audit alone. Nothing is applied,
#   refused or sent by it. Two markers come only from a journal that lost the first one.
# * "reconnect ignored": what a dead connection took is sent again when it is overdue, after at most
#   RESEND_S_MAX, and at once when accountd was started anew. A reconnection only hastens that.
_SUBTLE: dict[str, list[Patch]] = {
    "release before fsync": [(Producer, "release", _release_all)],
    "prune the last seal": [(Journal, "prune", _prune_all)],
    "no skip_to": [(Outbox, "skip_to", _stay)],
    "answers of an older boot are believed": [],
}
NAMES = tuple(_PATCHES)
SUBTLE_NAMES = tuple(_SUBTLE)


@contextlib.contextmanager
def applied(name: str) -> Iterator[frozenset[str]]:
    """Mutate the cores; what is yielded are the flags that mutate the simulated shells."""
    with contextlib.ExitStack() as stack:
        for owner, attribute, mutated in (_PATCHES | _SUBTLE).get(name, []):
            stack.enter_context(mock.patch.object(owner, attribute, mutated))
        yield frozenset((name,) if name else ())
