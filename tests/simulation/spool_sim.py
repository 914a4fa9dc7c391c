"""The simulated ``SpoolManager``: one gateway's own journal, and those that it adopted.

It calls the real ``Producer`` and ``Journal`` in the order of ``spool_manager`` and ``orphans``.
"""

from typing import TYPE_CHECKING

from gateway.delivery.journal import Journal
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer

from .disk import Folder, SimStore

if TYPE_CHECKING:
    from .gateway_sim import Gateway

ADOPT_S = 2.5


class Spools:
    """The journals of one gateway process."""

    def __init__(self, gateway: "Gateway", name: bytes) -> None:
        self._gateway = gateway
        self._world = gateway.world
        self._host = gateway.host
        self._clock = gateway.clock
        self._rng = gateway.rng
        self._stores: dict[bytes, SimStore] = {}
        self._is_syncing = False
        self.is_failing = False
        self.adopted: list[Producer] = []
        self.own = self._create(name)

    def note(self, payload: bytes) -> int:
        """The number of a response in our journal; 0 when it cannot be written."""
        try:
            return self.own.note(payload, now=self._clock.wall)
        except OSError:
            self.is_failing = True
            return 0

    def sync(self) -> None:
        """Sync what is sealed; another fsync begins when this one has returned."""
        if not self._is_syncing and any(p.wants_sync for p in self._gateway.producers()):
            self._is_syncing = True
            self._gateway.later(
                0.0, self._sync_next, [p for p in self._gateway.producers() if p.wants_sync]
            )

    def _sync_next(self, producers: list[Producer]) -> None:
        if not producers:
            self._is_syncing = False
            self.sync()
            return
        producer, *others = producers
        assert producer.journal is not None
        store = self._stores.get(producer.outbox.producer)
        if store is None:  # it was removed meanwhile
            self._sync_next(others)
            return
        through = producer.journal.sealed_through
        delay = 0.001 + self._rng.random() * self._world.sync_s
        self._gateway.later(delay, self._synced, producer, store, store.written(), through, others)

    def _synced(
        self,
        producer: Producer,
        store: SimStore,
        written: dict[int, int],
        through: int,
        others: list[Producer],
    ) -> None:
        self._gateway.step()
        if self._rng.random() < self._world.sync_errors:
            self.is_failing = True  # and it is sent nevertheless
            self._world.oracle.unsynced.add(producer.outbox.producer)
        else:
            store.synced(written)
        self._gateway.step()
        assert producer.journal is not None
        producer.journal.synced(through)
        producer.release()
        self._gateway.push()
        self._sync_next(others)

    def retry(self) -> None:
        """Seal what waits, and find out whether the disk can be written again."""
        try:
            for producer in self._gateway.producers():
                producer.seal_waiting(now=self._clock.wall)
            if self.is_failing:
                assert self.own.journal is not None
                self.own.journal.probe(now=self._clock.wall)
        except OSError:
            self.is_failing = True
            return
        self.is_failing = False

    def adopt(self) -> None:
        """Take over what killed processes left, now and again later."""
        if not self._gateway.is_stopping:
            if not self._world.has_flag("no adoption"):
                for folder in self._host.disk.orphans():
                    self._recover(folder)
            self._gateway.later(ADOPT_S * (0.5 + self._rng.random()), self.adopt)

    def _recover(self, folder: Folder) -> None:
        store = SimStore(self._host.disk, folder, self._gateway)
        store.synced(store.written())
        self._gateway.step()
        journal = Journal(store, folder.producer, now=self._clock.wall)
        found = journal.recovered
        self._gateway.step()
        if not found.last_sequence and not found.unsealed and not found.damaged_bytes:
            self._remove(store, journal)
            return
        if found.is_damaged:
            self._world.oracle.damaged.add(folder.producer)
        self._gateway.trace(
            "adopts", producer=folder.producer.hex()[:4], through=found.last_sequence,
            unsealed=list(found.unsealed), is_damaged=found.is_damaged,
        )  # fmt: skip
        producer = Producer.recovered(journal, chance=self._rng.random)
        self._stores[folder.producer] = store
        self.adopted.append(producer)
        self._gateway.follow(producer)

    def _remove(self, store: SimStore, journal: Journal) -> None:
        self._gateway.trace("nothing to adopt", producer=store.folder.producer.hex()[:4])
        journal.prune(0, now=self._clock.wall, keep_s=0, keep_bytes=0)
        self._world.oracle.gone.add(store.folder.producer)
        (store.delete if journal.is_empty else store.close)()

    def prune(self) -> None:
        """Remove what is neither needed nor kept."""
        for producer in [*self.adopted, self.own]:
            journal = producer.journal
            if journal is None:
                continue
            if producer.is_over:
                journal.close(self._clock.wall)
            files = self._stores[journal.producer].folder.files
            before = len(files)
            try:
                journal.prune(
                    producer.outbox.acknowledged, now=self._clock.wall,
                    keep_s=self._world.retention_s, keep_bytes=1 << 40,
                )  # fmt: skip
            except OSError:
                continue
            finally:  # also when it is killed half-way
                if len(files) < before and not self._world.is_judged:
                    self._world.oracle.pruned(journal.producer, producer.outbox.acknowledged)
            if producer is not self.own and producer.is_over and journal.is_empty:
                self.adopted.remove(producer)
                self._gateway.unfollow(producer)
                self._stores.pop(producer.outbox.producer).delete()
                self._world.oracle.gone.add(producer.outbox.producer)
                self._gateway.trace("spool done", producer=producer.outbox.producer.hex()[:4])

    def give_up(self, journal: Journal) -> None:
        """The process exits: unlock a folder, or remove it when it is empty."""
        store = self._stores[journal.producer]
        if journal.is_empty:
            self._world.oracle.gone.add(journal.producer)
        (store.delete if journal.is_empty else store.close)()

    def _create(self, name: bytes) -> Producer:
        if not self._world.plan.has_spool:
            self._world.oracle.volatile.add(name)
            return Producer(Outbox(name, chance=self._rng.random))
        store = SimStore(
            self._host.disk, self._host.disk.create(name, self._gateway), self._gateway
        )
        journal = Journal(store, name, now=self._clock.wall)
        self._stores[name] = store
        return Producer(Outbox(name, chance=self._rng.random, load=journal.payload), journal)
