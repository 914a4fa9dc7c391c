"""Manages the spool directory: this process's own journal, and those of killed processes.

Owns the files, the thread that syncs them, retention, and the search for orphans. The rules are in
``journal`` and ``producer``. Called by ``usage_sender``. It promises that a message is released for
sending only after an fsync has returned; where the fsync failed, it is sent nevertheless.
"""

import asyncio
import contextlib
import errno
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway import background_tasks
from gateway.delivery import spool_files
from gateway.delivery.journal import Journal
from gateway.delivery.orphans import Orphans, OwnedJournal
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.retention import KEEP_NOTHING, Retention, prune
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


class SpoolState(Enum):
    """What can be done with this process's own journal."""

    WRITABLE = auto()
    FAILING = auto()  # the last write or fsync failed; it is tried again every second
    LOST = auto()  # its folder was removed; usage is in memory only until a restart


TRANSITIONS: Final[Mapping[SpoolState, frozenset[SpoolState]]] = {
    SpoolState.WRITABLE: frozenset({SpoolState.FAILING, SpoolState.LOST}),
    SpoolState.FAILING: frozenset({SpoolState.WRITABLE, SpoolState.LOST}),
    SpoolState.LOST: frozenset(),
}


class Follower(Protocol):
    """Told of each producer that needs watermarks: ``watermarks.Watermarks``."""

    def follow(self, producer: Producer) -> None:
        """A producer was adopted."""

    def unfollow(self, producer: Producer) -> None:
        """The producer is over, and its journal removed."""


class SpoolManager:
    """All journals of this process. ``start`` before use, ``close`` at the end."""

    def __init__(self, root: Path, retention: Retention) -> None:
        """Open this process's own journal. Raises ``ConfigError`` or ``OSError``."""
        spool_files.prepare(root)
        self._retention = retention
        self._orphans = Orphans(root)
        self._own = _create(root)
        self._adopted: list[OwnedJournal] = []
        self._state = SpoolState.WRITABLE
        self._wants_sync = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pruned_at = time.monotonic()
        self._follower: Follower | None = None
        self._released: Callable[[], None] = lambda: None
        self.adoptions = 0
        self._hold_reserves()
        log.info("producer started", producer=self._own.name.hex(), spool=True)

    def start(self, follower: Follower, *, released: Callable[[], None]) -> None:
        """Begin to look for orphans; ``released`` is called when messages may be sent."""
        self._follower, self._released = follower, released
        self._tasks = [background_tasks.start(self._sync()), background_tasks.start(self._adopt())]

    @property
    def own(self) -> Producer:
        """This process's own producer."""
        return self._own.producer

    @property
    def is_failing(self) -> bool:
        """Whether our journal cannot be written, now or for good."""
        return self._state is not SpoolState.WRITABLE

    def producers(self) -> Iterator[Producer]:
        """Our own producer and the adopted ones."""
        yield self.own
        for owned in self._adopted:
            yield owned.producer

    def note(self, payload: bytes) -> int:
        """The number of a metered response in our journal; 0 when it cannot be written."""
        if self._state is SpoolState.LOST:
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
            self._seal_from_reserve(self._own)
        self._wants_sync.set()

    def tick(self) -> None:
        """Called every second: retry what could not be written, and prune now and then."""
        if self._state is not SpoolState.LOST and self._own.store.is_gone():
            self._lose_journal()
        if self.is_failing or any(p.unsealed for p in self.producers()):
            self._retry()
        if any(producer.wants_sync for producer in self.producers()):
            self._wants_sync.set()
        if time.monotonic() - self._pruned_at > PRUNE_S:
            self._pruned_at = time.monotonic()
            self._prune(self._retention)

    async def close(self) -> None:
        """Leave the journals as they are; a folder without segments is removed."""
        await background_tasks.stop(self._tasks)
        for owned in self._journals():
            journal, store = owned.producer.journal, owned.store
            (store.delete if journal and journal.is_empty else store.close)()

    # --- trouble with the disk --------------------------------------------------------------------

    def _move(self, state: SpoolState) -> None:
        assert state in TRANSITIONS[self._state], f"{self._state} to {state}"
        self._state = state

    def _fail(self, exc: OSError) -> None:
        if self.is_failing:
            return
        self._move(SpoolState.FAILING)
        log.error(
            "spool cannot be written",
            detail=exc.strerror or str(exc),
            hint=_HINT_BY_ERRNO.get(exc.errno or 0, "check the disk under GATEWAY_SPOOL_DIR"),
        )

    def _seal_from_reserve(self, owned: OwnedJournal) -> None:
        """Free the reserve of a full disk, so that waiting messages are sealed and sent."""
        if owned.store.free_reserve():
            with contextlib.suppress(OSError):
                owned.producer.seal_waiting(now=time.time())

    def _hold_reserves(self) -> None:
        for owned in self._journals():
            if owned.producer.journal is not None:
                with contextlib.suppress(OSError):
                    owned.store.hold_reserve()

    def _lose_journal(self) -> None:
        """Our folder was removed, so no recovery can find it: continue in memory."""
        self._move(SpoolState.LOST)
        log.error(
            "spool is gone",
            producer=self._own.name.hex(),
            hint="its folder was removed; usage is in memory only: restart this gateway soon",
        )
        self.own.lose_journal()
        self._released()

    def _retry(self) -> None:
        """Seal what waits, and find out whether the disk can be written again."""
        now = time.time()
        try:
            for producer in self.producers():
                producer.seal_waiting(now=now)
            if self.is_failing and self.own.journal is not None:
                self._own.store.hold_reserve()
                self.own.journal.probe(now=now)
        except OSError as exc:
            self._fail(exc)
            # Durable messages, kept only for a refill, are removed before new usage has to wait.
            self._prune(KEEP_NOTHING)
            for owned in [j for j in self._journals() if j.producer.unsealed]:
                self._seal_from_reserve(owned)
            return
        if self._state is SpoolState.FAILING:
            self._move(SpoolState.WRITABLE)
            self._hold_reserves()
            log.info("spool can be written again")

    # --- tasks ------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        """Sync sealed messages to the disk, then release them; one fsync at a time."""
        while True:
            await self._wants_sync.wait()
            self._wants_sync.clear()
            for owned in list(self._journals()):
                await self._sync_one(owned)
            self._released()

    async def _sync_one(self, owned: OwnedJournal) -> None:
        producer, journal = owned.producer, owned.producer.journal
        if journal is None or not producer.wants_sync:
            return
        through = journal.sealed_through
        sync = owned.store.sync_later()
        try:
            await asyncio.to_thread(sync)
        except OSError as exc:
            # They are sent nevertheless: only a power failure could give them other sequences now.
            self._fail(exc)
        journal.synced(through)
        producer.release()

    async def _adopt(self) -> None:
        while True:
            async for owned in self._orphans.adopt([j.name for j in self._journals()]):
                self._adopted.append(owned)
                self.adoptions += 1
                assert self._follower is not None
                self._follower.follow(owned.producer)
            await asyncio.sleep(ADOPT_S)

    # --- retention --------------------------------------------------------------------------------

    def _journals(self) -> Iterator[OwnedJournal]:
        yield self._own
        yield from self._adopted

    def _prune(self, retention: Retention) -> None:
        """Prune the adopted journals first, which are older, then drop those that are finished."""
        prune([*self._adopted, self._own], retention)
        for owned in self._adopted[:]:
            journal = owned.producer.journal
            if owned.producer.is_over and journal is not None and journal.is_empty:
                self._finish(owned)

    def _finish(self, owned: OwnedJournal) -> None:
        """Everything of an adopted journal is durable, and nothing of it is kept."""
        self._adopted.remove(owned)
        assert self._follower is not None
        self._follower.unfollow(owned.producer)
        owned.store.delete()
        log.info("spool done", producer=owned.name.hex())


def _create(root: Path) -> OwnedJournal:
    """A new producer with a journal of its own. Raises ``OSError``."""
    name = secrets.token_bytes(PRODUCER_BYTES)
    store = spool_files.create(root, name)
    journal = Journal(store, name, now=time.time())
    outbox = Outbox(name, chance=random.random, load=journal.payload)
    return OwnedJournal(Producer(outbox, journal), store)
