"""How long durable messages stay in the spool, and which journal is pruned first.

They are kept to refill an accountd that was restored from a backup. Called by ``spool_manager``
every few seconds, and with nothing to keep while the disk is full. What a single journal may remove
is decided by ``Journal.prune``.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.delivery.journal import Journal
from gateway.delivery.orphans import OwnedJournal
from gateway.limits import SPOOL_RETENTION_BYTES, SPOOL_RETENTION_S

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, and up to how many bytes, messages are kept that are durable."""

    seconds: float = SPOOL_RETENTION_S
    size: int = SPOOL_RETENTION_BYTES


KEEP_NOTHING = Retention(seconds=0, size=0)


def prune(all_owned: Sequence[OwnedJournal], retention: Retention) -> None:
    """Prune journals in this order: the bound in bytes is one for all of them."""
    journals = [(owned, owned.producer.journal) for owned in all_owned]
    excess = sum(journal.size for _, journal in journals if journal is not None) - retention.size
    for owned, journal in journals:
        if journal is not None:
            excess -= _prune_one(owned, journal, excess, retention.seconds)


def _prune_one(owned: OwnedJournal, journal: Journal, excess: int, keep_s: float) -> int:
    """Remove what is not needed and not kept; how many bytes that were."""
    now, producer = time.time(), owned.producer
    if journal.unreadable > owned.unreadable:
        owned.unreadable = journal.unreadable
        log.error("spool damaged", producer=owned.name.hex(), batches=journal.unreadable)
    if producer.is_over:
        journal.close(now)
    before = journal.size
    with contextlib.suppress(OSError):
        journal.prune(
            producer.outbox.acknowledged,
            now=now,
            keep_s=keep_s,
            keep_bytes=max(0, before - max(0, excess)),
        )
    return before - journal.size
