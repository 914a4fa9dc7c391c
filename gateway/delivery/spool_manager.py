"""Keeps the spool directory: this process's own journal and those that killed processes left.

Owns the files, the thread that brings them to the disk, and the search for orphans. The rules are
in ``gateway.delivery.spool`` and ``gateway.delivery.producer``.
"""

import asyncio
import contextlib
import errno
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway import tasks
from gateway.delivery import spool_files
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.spool import Spool
from gateway.delivery.spool_files import FileStore
from gateway.limits import SPOOL_RETENTION_BYTES, SPOOL_RETENTION_S
from gateway.metering.batching import OnSealed, ignore_sealed
from shared.wire import PRODUCER_BYTES

log = structlog.get_logger()

ADOPT_S: Final = 5.0  # how long a killed gateway's usage waits for a neighbour to take it over
PRUNE_S: Final = 10.0
_HINT_BY_ERRNO: Final = {
    errno.ENOSPC: "free space under GATEWAY_SPOOL_DIR; no new sessions until then",
    errno.EDQUOT: "raise the quota under GATEWAY_SPOOL_DIR; no new sessions until then",
    errno.EROFS: "the disk under GATEWAY_SPOOL_DIR is read-only: check it, then remount it",
    errno.EIO: "the disk under GATEWAY_SPOOL_DIR fails: replace it",
}


class Followers(Protocol):
    """Who wants to know which producers there are."""

    def follow(self, producer: Producer) -> None:
        """A producer is there."""

    def forget(self, producer: Producer) -> None:
        """It is gone."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, and up to how many bytes, messages are kept that are durable."""

    seconds: float = SPOOL_RETENTION_S
    size: int = SPOOL_RETENTION_BYTES


class SpoolManager:
    """All journals of this process. ``start`` before use, ``close`` at the end."""

    def __init__(self, root: Path, retention: Retention) -> None:
        """Open this process's own journal. Raises ``ConfigError`` or ``OSError``."""
        spool_files.prepare(root)
        self._root = root
        self._retention = retention
        name = secrets.token_bytes(PRODUCER_BYTES)
        store = spool_files.create(root, name)
        spool = Spool(store, name, now=time.time())
        self.own = Producer(Outbox(name, chance=random.random, load=spool.payload), spool)
        self._stores: dict[bytes, FileStore] = {name: store}
        self._adopted: list[Producer] = []
        self._wants_sync = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pruned_at = time.monotonic()
        self._followers: Followers | None = None
        self._released: Callable[[], None] = lambda: None
        self._unusable: set[Path] = set()
        self._unreadable: dict[bytes, int] = {}
        self._has_journal = True
        self.is_failing = False
        self.adoptions = 0
        self._hold_reserves()
        log.info("producer started", producer=name.hex(), spool=True)

    def start(self, followers: Followers, *, released: Callable[[], None]) -> None:
        """Begin to look for orphans; ``released`` is called when messages may be sent."""
        self._followers, self._released = followers, released
        self._tasks = [tasks.start(self._sync()), tasks.start(self._adopt())]

    def producers(self) -> Iterator[Producer]:
        """Our own producer and the adopted ones."""
        yield self.own
        yield from self._adopted

    def note(self, payload: bytes) -> int:
        """The number of a metered response in our journal; 0 when it cannot be written."""
        if not self._has_journal:
            return 0
        try:
            number = self.own.note(payload, now=time.time())
        except OSError as exc:
            self._fail(exc)
            return 0
        return number

    def seal(
        self, payload: bytes, covers: Sequence[int], on_sealed: OnSealed = ignore_sealed
    ) -> None:
        """Seal a message in our journal, now or as soon as that can be written."""
        try:
            self.own.seal(payload, covers, now=time.time(), on_sealed=on_sealed)
        except OSError as exc:
            self._fail(exc)
            self._seal_from_reserve(self.own)
        self._wants_sync.set()

    def tick(self) -> None:
        """Called every second: what could not be written is tried again, what is old removed."""
        if self._has_journal and self._store_of(self.own).is_gone():
            self._lose_journal()
        if self.is_failing or any(p.unsealed for p in self.producers()):
            self._try_again()
        if any(producer.wants_sync for producer in self.producers()):
            self._wants_sync.set()
        if time.monotonic() - self._pruned_at > PRUNE_S:
            self._pruned_at = time.monotonic()
            self._prune_all()

    async def close(self) -> None:
        """Leave the journals as they are; a folder without segments is removed."""
        await tasks.stop(self._tasks)
        for producer in self.producers():
            store = self._store_of(producer)
            (store.delete if producer.spool and producer.spool.is_empty else store.close)()

    # --- trouble with the disk --------------------------------------------------------------------

    def _fail(self, exc: OSError) -> None:
        if not self.is_failing:
            log.error(
                "spool cannot be written",
                detail=exc.strerror or str(exc),
                hint=_HINT_BY_ERRNO.get(exc.errno or 0, "check the disk under GATEWAY_SPOOL_DIR"),
            )
        self.is_failing = True

    def _seal_from_reserve(self, producer: Producer) -> None:
        """What was noted is sealed, and so sent, all the same: space was set aside for that."""
        if self._store_of(producer).free_reserve():
            with contextlib.suppress(OSError):
                producer.seal_waiting(now=time.time())

    def _hold_reserves(self) -> None:
        for producer in self.producers():
            if producer.spool is not None:
                with contextlib.suppress(OSError):
                    self._store_of(producer).hold_reserve()

    def _lose_journal(self) -> None:
        """Somebody has removed our folder. Nothing can be recovered from it: go on in memory."""
        self._has_journal = False
        self.is_failing = True
        log.error(
            "spool is gone",
            producer=self.own.outbox.producer.hex(),
            hint="its folder was removed; usage is in memory only: restart this gateway soon",
        )
        self.own.lose_journal()
        self._released()

    def _store_of(self, producer: Producer) -> FileStore:
        return self._stores[producer.outbox.producer]

    def _try_again(self) -> None:
        now = time.time()
        try:
            for producer in self.producers():
                producer.seal_waiting(now=now)
            if self.is_failing and self.own.spool is not None:
                self._store_of(self.own).hold_reserve()
                self.own.spool.probe(now=now)
        except OSError as exc:
            self._fail(exc)
            # What is durable is kept for a refill only: it goes before usage has to wait.
            self._prune_all(Retention(seconds=0, size=0))
            for producer in [p for p in self.producers() if p.unsealed]:
                self._seal_from_reserve(producer)
            return
        if self.is_failing and self._has_journal:
            self.is_failing = False
            self._hold_reserves()
            log.info("spool can be written again")

    # --- tasks ------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        """Bring sealed messages to the disk itself, then release them; one call at a time."""
        while True:
            await self._wants_sync.wait()
            self._wants_sync.clear()
            for producer in list(self.producers()):
                spool = producer.spool
                if spool is None or not producer.wants_sync:
                    continue
                through = spool.sealed_through
                sync = self._store_of(producer).sync_later()
                try:
                    await asyncio.to_thread(sync)
                except OSError as exc:
                    # They are sent all the same: only a power failure could still renumber them.
                    self._fail(exc)
                spool.synced(through)
                producer.release()
            self._released()

    async def _adopt(self) -> None:
        while True:
            for found in spool_files.adopt(self._root, self._stores):
                if isinstance(found, FileStore):
                    await self._take_over(found)
                elif found.folder not in self._unusable:
                    self._unusable.add(found.folder)
                    log.error(
                        "spool cannot be read", folder=str(found.folder), detail=str(found.error)
                    )
            await asyncio.sleep(ADOPT_S)

    async def _take_over(self, store: FileStore) -> None:
        def recover() -> Spool:
            store.sync_all()
            return Spool(store, store.producer, now=time.time())

        try:
            spool = await asyncio.to_thread(recover)
        except Exception:
            # It stays locked, so that no other gateway of this host stumbles over it meanwhile.
            self._stores[store.producer] = store
            log.exception(
                "spool cannot be read",
                producer=store.producer.hex(),
                hint="its usage is uncharged: move the folder aside and report it",
            )
            return
        found = spool.recovered
        if not found.last_sequence and not found.unsealed and not found.damaged_bytes:
            self._remove(store, spool)
            return
        log.info(
            "spool adopted",
            producer=store.producer.hex(),
            sealed_through=found.last_sequence,
            unsealed=len(found.unsealed),
        )
        if found.is_damaged:
            log.error(
                "spool damaged",
                producer=store.producer.hex(),
                bytes=found.damaged_bytes,
                batches=found.missing_sequences,
                responses=found.missing_numbers,
                hint="accountctl rejected list shows what may be uncharged",
            )
        producer = Producer.recovered(spool, chance=random.random)
        self._stores[producer.outbox.producer] = store
        self._adopted.append(producer)
        self.adoptions += 1
        assert self._followers is not None
        self._followers.follow(producer)

    # --- retention --------------------------------------------------------------------------------

    def _prune_all(self, retention: Retention | None = None) -> None:
        """The oldest journals go first; the bound in bytes is one for all of them."""
        retention = retention or self._retention
        journals = [*self._adopted, self.own]
        excess = sum(p.spool.size for p in journals if p.spool) - retention.size
        for producer in journals:
            if producer.spool is not None:
                excess -= self._prune(producer, producer.spool, excess, retention.seconds)

    def _prune(self, producer: Producer, spool: Spool, excess: int, keep_s: float) -> int:
        """Remove what is not needed and not kept; how many bytes that were."""
        now = time.time()
        if spool.unreadable > self._unreadable.get(producer.outbox.producer, 0):
            self._unreadable[producer.outbox.producer] = spool.unreadable
            log.error(
                "spool damaged", producer=producer.outbox.producer.hex(), batches=spool.unreadable
            )
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
        if producer is not self.own and producer.is_over and spool.is_empty:
            self._adopted.remove(producer)
            assert self._followers is not None
            self._followers.forget(producer)
            self._stores.pop(producer.outbox.producer).delete()
            log.info("spool done", producer=producer.outbox.producer.hex())
        return before - spool.size

    def _remove(self, store: FileStore, spool: Spool) -> None:
        with contextlib.suppress(OSError):
            spool.prune(0, now=time.time(), keep_s=0, keep_bytes=0)
        (store.delete if spool.is_empty else store.close)()
