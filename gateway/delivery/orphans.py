"""Adopts the journals that killed processes left in the spool directory.

Called by ``spool_manager`` every few seconds. It promises that an adopted journal is synced before
anything of it may be sent: the killed process may have written it without an fsync.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.delivery import spool_files
from gateway.delivery.journal import Journal
from gateway.delivery.journal_recovery import Recovered
from gateway.delivery.producer import Producer
from gateway.delivery.spool_files import FileStore, SpoolUnusable

log = structlog.get_logger()


@dataclass(slots=True)
class OwnedJournal:
    """A journal that this process owns: its producer, and the files under its lock."""

    producer: Producer
    store: FileStore
    unreadable: int = 0  # messages found unreadable that were logged already

    @property
    def name(self) -> bytes:
        """The producer's id."""
        return self.producer.outbox.producer


class Orphans:
    """Looks for journals whose owner has ended, and takes them over one at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Folders that cannot be opened, which are logged once.
        self._unusable: set[Path] = set()
        # Journals that cannot be read. They stay locked, so that no other gateway of this host
        # fails on them too.
        self._unreadable: dict[bytes, FileStore] = {}

    async def adopt(self, owned: Collection[bytes]) -> AsyncIterator[OwnedJournal]:
        """Every journal found, now ours, except the ``owned``, which are ours already."""
        for found in spool_files.adopt(self._root, {*owned, *self._unreadable}):
            if isinstance(found, SpoolUnusable):
                self._report_unusable(found)
            elif (journal := await self._recover(found)) is not None:
                producer = Producer.recovered(journal, chance=random.random)
                yield OwnedJournal(producer, found)

    async def _recover(self, store: FileStore) -> Journal | None:
        """The journal in ``store``; None when it cannot be read, or holds nothing."""

        def recover() -> Journal:
            store.sync_all()
            return Journal(store, store.producer, now=time.time())

        try:
            journal = await asyncio.to_thread(recover)
        except Exception:
            self._unreadable[store.producer] = store
            log.exception(
                "spool cannot be read",
                producer=store.producer.hex(),
                hint="its usage is uncharged: move the folder aside and report it",
            )
            return None
        found = journal.recovered
        if not found.last_sequence and not found.unsealed and not found.damaged_bytes:
            _remove(store, journal)
            return None
        _report_adopted(store.producer, found)
        return journal

    def _report_unusable(self, found: SpoolUnusable) -> None:
        if found.folder not in self._unusable:
            self._unusable.add(found.folder)
            log.error("spool cannot be read", folder=str(found.folder), detail=str(found.error))


def _remove(store: FileStore, journal: Journal) -> None:
    with contextlib.suppress(OSError):
        journal.prune(0, now=time.time(), keep_s=0, keep_bytes=0)
    (store.delete if journal.is_empty else store.close)()


def _report_adopted(name: bytes, found: Recovered) -> None:
    log.info(
        "spool adopted",
        producer=name.hex(),
        sealed_through=found.last_sequence,
        unsealed=len(found.unsealed),
    )
    if found.is_damaged:
        log.error(
            "spool damaged",
            producer=name.hex(),
            bytes=found.damaged_bytes,
            batches=found.missing_sequences,
            responses=found.missing_numbers,
            hint="accountctl rejected list shows what may be uncharged",
        )
