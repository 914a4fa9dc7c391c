"""How long durable messages stay in the spool, and which journal is pruned first.

They are kept to refill an accountd that was restored from a backup. Called by ``spool_manager``
every few seconds, and with nothing to keep while the disk is full. What a single journal may remove
is decided by ``Spool.prune``.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.delivery.orphans import Journal
from gateway.delivery.spool import Spool
from gateway.limits import SPOOL_RETENTION_BYTES, SPOOL_RETENTION_S

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, and up to how many bytes, messages are kept that are durable."""

    seconds: float = SPOOL_RETENTION_S
    size: int = SPOOL_RETENTION_BYTES


KEEP_NOTHING = Retention(seconds=0, size=0)


def prune(journals: Sequence[Journal], retention: Retention) -> None:
    """Prune ``journals`` in this order: the bound in bytes is one for all of them."""
    spools = [(journal, journal.producer.spool) for journal in journals]
    excess = sum(spool.size for _, spool in spools if spool is not None) - retention.size
    for journal, spool in spools:
        if spool is not None:
            excess -= _prune_one(journal, spool, excess, retention.seconds)


def _prune_one(journal: Journal, spool: Spool, excess: int, keep_s: float) -> int:
    """Remove what is not needed and not kept; how many bytes that were."""
    now, producer = time.time(), journal.producer
    if spool.unreadable > journal.unreadable:
        journal.unreadable = spool.unreadable
        log.error("spool damaged", producer=journal.name.hex(), batches=spool.unreadable)
    if producer.is_over:
        spool.close(now)
    before = spool.size
    with contextlib.suppress(OSError):
        spool.prune(
            producer.outbox.acknowledged,
            now=now,
            keep_s=keep_s,
            keep_bytes=max(0, before - max(0, excess)),
        )
    return before - spool.size
