"""A simulated gateway process: the shells around the real ``Producer``, ``Outbox`` and ``Spool``.

It calls them in the order of ``recorder``, ``sender``, ``spool_manager`` and ``watermarks``.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.spool import Spool
from gateway.metering.base import Metered
from gateway.metering.batching import Batcher, BillingContext, MeteredResponse, Sealable
from shared.announcements import Watermark
from shared.usage import Kind, Usage
from shared.wire import encode_usage

from .clock import Process
from .disk import Folder, SimStore
from .network import Connection

if TYPE_CHECKING:
    from .world import Host, World

TICK_S = 1.0
ADOPT_S = 2.5
PRUNE_S = 0.7
RETRY_S = 0.05
QUESTION_S = 2.0  # the deadline of a question
CLOSE_S = 10.0
ESTIMATED_EVERY = 7  # responses of so many tokens, or a multiple, are never reported


class Session:
    """One client's session and its open batch."""

    def __init__(self, number: int, account: str) -> None:
        self.billing = BillingContext(account, f"s{number}", "openai")
        self.batcher = Batcher()


class Gateway(Process):
    """One gateway process."""

    def __init__(self, world: "World", host: "Host", number: int) -> None:
        super().__init__(world.clock, f"gateway{number}")
        self.world = world
        self.host = host
        self.sessions: list[Session] = []
        self.connection: Connection | None = None
        self.is_stopping = False
        self.is_failing = False
        self.memory: Producer | None = None
        self.memory_ids: list[str] = []
        self.adopted: list[Producer] = []
        self.stores: dict[bytes, SimStore] = {}
        self._followed: dict[bytes, Producer] = {}
        self._is_asked = False
        self._is_asking = False
        self._is_syncing = False
        self._wakes_at = float("inf")
        self._stop_at = float("inf")
        self._pruned_at = self.clock.now
        self.own = self._create(host.name_of_producer())
        self.trace("started", producer=self.own.outbox.producer.hex()[:4])
        self._follow(self.own)
        self._connect()
        self.later(TICK_S * self.rng.random(), self._tick)
        self.later(0.1 + self.rng.random(), self._adopt)

    # --- sessions ---------------------------------------------------------------------------------

    def meter(self, session: Session, name: str, tokens: int, *, is_shared: bool) -> None:
        """The provider reported a response, on this socket or on several: it is noted, forwarded,
        batched.
        """
        kind = Kind.RESPONSE if tokens % ESTIMATED_EVERY else Kind.ESTIMATE
        metered = Metered(name, "m", Usage(tokens, 0, tokens), kind=kind)
        wall_ms = int(self.clock.wall * 1000)
        single = session.billing.single(metered, wall_ms=wall_ms, is_shared=is_shared)
        self.step()
        number = self._note(encode_usage(single))
        if not number:
            self.memory_ids.append(name)
        self.step()
        journal = self.own.outbox.producer if number else None
        self.world.oracle.forwarded(name, journal=journal)
        self.trace("response", id=name, number=number)
        self.step()
        self._send_all(session.batcher.add(MeteredResponse(single, number), now=self.clock.now))
        if self.is_failing:
            self._send_all(session.batcher.flush())

    def end_session(self, session: Session) -> None:
        """The client left."""
        self.sessions.remove(session)
        self._send_all(session.batcher.flush())

    def stop(self) -> None:
        """SIGTERM: everything is flushed, the end is said, and durable before it exits."""
        if self.is_stopping:
            return
        self.trace("stopping")
        self.is_stopping = True
        for session in self.sessions[:]:
            self.end_session(session)
        for producer in self._ours():
            try:
                producer.end(now=self.clock.wall)
            except OSError:
                self.is_failing = True
        self._stop_at = self.clock.now + CLOSE_S
        self._sync()
        self.push()
        self._exit_when_settled()

    # --- what the network brings ------------------------------------------------------------------

    def hear(self, epoch: int, watermarks: dict[bytes, int], *, is_answer: bool = False) -> None:
        """Watermarks arrive."""
        for name, through in watermarks.items():
            producer = self._followed.get(name)
            if producer is None:
                continue
            self.step()
            watermark = Watermark(name, epoch, through)
            boots = self.world.boot_by_epoch
            is_newest = boots[epoch] >= boots[producer.outbox.epoch]
            if is_answer and not is_newest:  # it would forget what the newer boot does not have
                self.world.oracle.broken_rules.append(f"{self.name} believes an older boot")
            try:
                outcome = producer.acknowledge(
                    watermark, monotonic=self.clock.now, now=self.clock.wall, is_answer=is_answer
                )
            except OSError:
                continue
            finally:
                if is_newest and producer.outbox.epoch == epoch:
                    self.world.oracle.acknowledged(name, producer.outbox.acknowledged)
            if outcome is not AckOutcome.NOTHING_NEW:
                self.trace(outcome.name, producer=name.hex()[:4], epoch=epoch, through=through)
            if outcome in (AckOutcome.STALE, AckOutcome.FORGED):
                self._ask()
        self._sync()
        self.push()
        self._exit_when_settled()

    def disconnected(self, connection: Connection) -> None:
        """The connection is dead; another one is tried."""
        if self.connection is connection:
            self.connection = None
            if self.is_alive:
                self.later(0.05 + self.rng.random() * 0.5, self._connect)

    def push(self) -> None:
        """Send whatever is to be sent now, and wake up again when there will be more."""
        now, wakes_at = self.clock.now, float("inf")
        if self._wakes_at <= now:
            self._wakes_at = float("inf")
        for producer in self.producers():
            outbox = producer.outbox
            if outbox.wakes_at is not None and now >= outbox.wakes_at:
                self._ask()
            if not self._push_outbox(outbox):
                wakes_at = now + RETRY_S
                break
            if outbox.wakes_at is not None:
                wakes_at = min(wakes_at, outbox.wakes_at)
        if self.connection is not None and wakes_at < self._wakes_at:
            self._wakes_at = wakes_at
            self.later(wakes_at - now, self.push)

    # --- state ------------------------------------------------------------------------------------

    def producers(self) -> Iterator[Producer]:
        """All that this process sends for."""
        yield self.own
        yield from self.adopted
        if self.memory is not None:
            yield self.memory

    @property
    def is_settled(self) -> bool:
        """Whether everything is durable, and what was adopted is over."""
        return (
            not self.is_failing
            and all(p.is_settled for p in self._ours())
            and all(p.is_over or self._is_at_odds(p) for p in self.adopted)
        )

    def _is_at_odds(self, producer: Producer) -> bool:
        """Whether accountd has more of it than its journal: an fsync failed, then the power, and

        what was under way arrived only after the adopter had asked. It never agrees again.
        """
        outbox = producer.outbox
        return outbox.producer in self.world.oracle.torn and not outbox.awaits_watermark

    def kill(self) -> None:
        """SIGKILL: what is in memory is gone, the page cache is not."""
        super().kill()
        self.world.oracle.may_lose(self.memory_ids)
        self._leave()
        self.world.gateway_died(self)

    # --- the journal (spool_manager) --------------------------------------------------------------

    def step(self) -> None:
        """See ``Process``. Without a spool a kill is no test: then the gateways live."""
        if self.world.plan.has_spool:
            super().step()

    def _create(self, name: bytes) -> Producer:
        if not self.world.plan.has_spool:
            self.world.oracle.volatile.add(name)
            return Producer(Outbox(name, chance=self.rng.random))
        store = SimStore(self.host.disk, self.host.disk.create(name, self), self)
        spool = Spool(store, name, now=self.clock.wall)
        self.stores[name] = store
        return Producer(Outbox(name, chance=self.rng.random, load=spool.payload), spool)

    def _note(self, payload: bytes) -> int:
        try:
            return self.own.note(payload, now=self.clock.wall)
        except OSError:
            self.is_failing = True
            return 0

    def _send_all(self, batches: Iterable[Sealable]) -> None:
        for batch, covers, _ in batches:
            self._send(encode_usage(batch), covers)
            self.step()

    def _send(self, payload: bytes, covers: Sequence[int]) -> None:
        if covers or not self.is_failing:
            try:
                if self.world.has_flag("send before seal"):
                    self._send_then_seal(payload, covers)
                else:
                    self.own.seal(payload, covers, now=self.clock.wall)
            except OSError:
                self.is_failing = True
            self._sync()
        else:
            self._volatile().seal(payload, now=self.clock.wall)
        self.push()

    def _send_then_seal(self, payload: bytes, covers: Sequence[int]) -> None:
        """What a mutant does: the number is not in the journal when the message leaves."""
        outbox, spool = self.own.outbox, self.own.spool
        sequence = outbox.seal(payload)
        outbox.release(sequence)
        self.push()
        self.step()
        if spool is not None:
            spool.seal(sequence, covers, payload, now=self.clock.wall)

    def _volatile(self) -> Producer:
        if self.memory is None:
            name = self.rng.randbytes(16)
            self.memory = Producer(Outbox(name, chance=self.rng.random))
            self._follow(self.memory)
            self.world.oracle.volatile.add(name)
            self.trace("disk is full: in memory", producer=name.hex()[:4])
        return self.memory

    def _sync(self) -> None:
        """Bring what is sealed to the disk itself; another call begins when this one is done."""
        if not self._is_syncing and any(p.wants_sync for p in self.producers()):
            self._is_syncing = True
            self.later(0.0, self._sync_next, [p for p in self.producers() if p.wants_sync])

    def _sync_next(self, producers: list[Producer]) -> None:
        if not producers:
            self._is_syncing = False
            self._sync()
            return
        producer, *others = producers
        assert producer.spool is not None
        store = self.stores.get(producer.outbox.producer)
        if store is None:  # it is gone meanwhile
            self._sync_next(others)
            return
        through = producer.spool.sealed_through
        delay = 0.001 + self.rng.random() * self.world.sync_s
        self.later(delay, self._synced, producer, store, store.written(), through, others)

    def _synced(
        self,
        producer: Producer,
        store: SimStore,
        written: dict[int, int],
        through: int,
        others: list[Producer],
    ) -> None:
        self.step()
        if self.rng.random() < self.world.sync_errors:
            self.is_failing = True  # and it is sent all the same
            self.world.oracle.unsynced.add(producer.outbox.producer)
        else:
            store.synced(written)
        self.step()
        assert producer.spool is not None
        producer.spool.synced(through)
        producer.release()
        self.push()
        self._sync_next(others)

    def _try_again(self) -> None:
        try:
            for producer in self.producers():
                producer.seal_waiting(now=self.clock.wall)
            if self.is_failing:
                assert self.own.spool is not None
                self.own.spool.probe(now=self.clock.wall)
        except OSError:
            self.is_failing = True
            return
        self.is_failing = False

    def _adopt(self) -> None:
        if not self.is_stopping:
            if not self.world.has_flag("no adoption"):
                for folder in self.host.disk.orphans():
                    self._take_over(folder)
            self.later(ADOPT_S * (0.5 + self.rng.random()), self._adopt)

    def _take_over(self, folder: Folder) -> None:
        store = SimStore(self.host.disk, folder, self)
        store.synced(store.written())
        self.step()
        spool = Spool(store, folder.producer, now=self.clock.wall)
        found = spool.recovered
        self.step()
        if not found.last_sequence and not found.unsealed and not found.damaged_bytes:
            self._remove(store, spool)
            return
        if found.is_damaged:
            self.world.oracle.damaged.add(folder.producer)
        self.trace(
            "adopts", producer=folder.producer.hex()[:4], through=found.last_sequence,
            unsealed=list(found.unsealed), is_damaged=found.is_damaged,
        )  # fmt: skip
        producer = Producer.recovered(spool, chance=self.rng.random)
        self.stores[folder.producer] = store
        self.adopted.append(producer)
        self._follow(producer)

    def _remove(self, store: SimStore, spool: Spool) -> None:
        self.trace("nothing to adopt", producer=store.folder.producer.hex()[:4])
        spool.prune(0, now=self.clock.wall, keep_s=0, keep_bytes=0)
        self.world.oracle.gone.add(store.folder.producer)
        (store.delete if spool.is_empty else store.close)()

    def prune(self) -> None:
        """Remove what is neither needed nor kept."""
        for producer in [*self.adopted, self.own]:
            spool = producer.spool
            if spool is None:
                continue
            if producer.is_over:
                spool.close(self.clock.wall)
            files = self.stores[spool.producer].folder.files
            before = len(files)
            try:
                spool.prune(
                    producer.outbox.acknowledged, now=self.clock.wall,
                    keep_s=self.world.retention_s, keep_bytes=1 << 40,
                )  # fmt: skip
            except OSError:
                continue
            finally:  # also when it is killed half-way
                if len(files) < before and not self.world.is_judged:
                    self.world.oracle.pruned(spool.producer, producer.outbox.acknowledged)
            if producer is not self.own and producer.is_over and spool.is_empty:
                self.adopted.remove(producer)
                self._followed.pop(producer.outbox.producer, None)
                self.stores.pop(producer.outbox.producer).delete()
                self.world.oracle.gone.add(producer.outbox.producer)
                self.trace("spool done", producer=producer.outbox.producer.hex()[:4])

    # --- watermarks -------------------------------------------------------------------------------

    def _follow(self, producer: Producer) -> None:
        self._followed[producer.outbox.producer] = producer
        self._ask()

    def follows(self, producer: bytes) -> bool:
        """Whether it is subscribed to the watermarks of ``producer``."""
        return producer in self._followed

    def _ask(self) -> None:
        self._is_asked = True
        if not self._is_asking:
            self._is_asking = True
            self.later(0.001, self._ask_now)

    def _ask_now(self) -> None:
        self._is_asked = False
        epochs = {name: p.outbox.epoch for name, p in self._followed.items()}
        question = self.clock.now
        self._question = question
        self.world.ask(self, question, epochs)
        self.later(QUESTION_S, self._answer_lost, question)

    def _answer_lost(self, question: float) -> None:
        if self._question == question:
            self._question = -1.0
            self._ask_now()

    def answered(
        self, question: float, epochs: dict[bytes, int], epoch: int, throughs: dict[bytes, int]
    ) -> None:
        """The answer to a question that was asked when ``epochs`` were known."""
        if self._question != question:
            return
        self._question = -1.0
        known = {n: p.outbox.epoch for n, p in self._followed.items()}
        is_gullible = self.world.has_flag("answers of an older boot are believed")
        believed = {n: t for n, t in throughs.items() if is_gullible or known.get(n) == epochs[n]}
        self.later(0.5, self._ask_again)
        self.hear(epoch, believed, is_answer=True)

    def _ask_again(self) -> None:
        self._is_asking = False
        if self._is_asked:
            self._ask()

    # --- helpers ----------------------------------------------------------------------------------

    def _ours(self) -> list[Producer]:
        return [self.own] + ([self.memory] if self.memory is not None else [])

    def _push_outbox(self, outbox: Outbox) -> bool:
        if self.connection is None:
            return False
        while (frames := outbox.next_frames(self.clock.now)) is not None:
            self.step()
            if not self.connection.send(frames):
                return False
            outbox.sent(self.clock.now)
        return True

    def _connect(self) -> None:
        if self.connection is not None:
            return
        if self.world.accountd is None or self.world.is_partitioned:
            self.later(0.2 + self.rng.random() * 0.5, self._connect)
            return
        self.connection = Connection(self.world, self)
        for producer in self._followed.values():
            producer.outbox.reconnected()
        self._ask()
        self.push()

    def _tick(self) -> None:
        self.later(TICK_S, self._tick)
        self.step()
        for session in self.sessions:
            self._send_all(session.batcher.take_due(self.clock.now))
        if self.is_failing or any(p.unsealed for p in self.producers()):
            self._try_again()
        self._sync()
        if self.clock.now - self._pruned_at > PRUNE_S:
            self._pruned_at = self.clock.now
            self.prune()
        self.push()
        self._exit_when_settled()

    def _exit_when_settled(self) -> None:
        if not self.is_stopping:
            return
        if all(p.is_settled for p in self._ours()) or self.clock.now >= self._stop_at:
            self.is_alive = False
            self.trace("exits", is_settled=all(p.is_settled for p in self._ours()))
            if self.memory is not None and not self.memory.is_settled:
                self.world.oracle.may_lose(self.memory_ids)
            for producer in [self.own, *self.adopted]:
                if producer.spool is not None:
                    self._give_up(producer.spool)
            self._leave()

    def _give_up(self, spool: Spool) -> None:
        store = self.stores[spool.producer]
        if spool.is_empty:
            self.world.oracle.gone.add(spool.producer)
        (store.delete if spool.is_empty else store.close)()

    def _leave(self) -> None:
        for producer in self._ours():
            self.world.oracle.left(producer.outbox.producer)
        if self.connection is not None:
            self.connection.break_off()
