"""A simulated gateway process: the shells around the real ``Producer``, ``Outbox`` and ``Journal``.

It calls them in the order of ``usage_recorder``, ``usage_sender``, ``push_socket`` and
``watermarks``.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gateway.delivery.outbox import AckOutcome, Outbox
from gateway.delivery.producer import Producer
from gateway.limits import RESEND_S_MAX
from gateway.metering.base import Metered
from gateway.metering.batching import Batcher, BillingContext, MeteredResponse, Sealable
from shared.announcements import Watermark
from shared.usage import Kind, Usage
from shared.wire import encode_usage

from .clock import Process
from .network import Connection
from .spool_sim import Spools

if TYPE_CHECKING:
    from .world import Host, World

TICK_S = 1.0
PRUNE_S = 0.7
RETRY_S = 0.05
QUESTION_S = 2.0  # the deadline of a request
CLOSE_S = 10.0
AT_ODDS_S = 3 * RESEND_S_MAX  # more than two messages that are sent again in vain
KEYS = 3
NAMES = 5
ESTIMATED_EVERY = 7  # responses of so many tokens, or a multiple, are never reported


class Session:
    """One client's session and its open batch."""

    def __init__(self, number: int, account: str) -> None:
        # Clients name their sessions: keys of one account may use the same names. Some have a cap.
        key_hash = f"key {number % KEYS}" if number % KEYS else ""
        self.billing = BillingContext(account, f"s{number // KEYS % NAMES}", "openai", key_hash)
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
        self.memory: Producer | None = None
        self.memory_ids: list[str] = []
        self._followed: dict[bytes, Producer] = {}
        self._is_asked = False
        self._is_asking = False
        self._wakes_at = float("inf")
        self._stop_at = float("inf")
        self._pruned_at = self.clock.now
        # Of adopted producers: the watermark when it was looked at, and since when it is that.
        self._stood: dict[bytes, tuple[int, float]] = {}
        self.spools = Spools(self, host.name_of_producer())
        self.trace("started", producer=self.own.outbox.producer.hex()[:4])
        self.follow(self.own)
        self._connect()
        self.later(TICK_S * self.rng.random(), self._tick)
        self.later(0.1 + self.rng.random(), self.spools.adopt)

    # --- sessions ---------------------------------------------------------------------------------

    def meter(self, session: Session, name: str, tokens: int, *, is_shared: bool) -> None:
        """The provider reported a response, on this socket or on several: note it, forward it, add
        it to a batch.
        """
        kind = Kind.RESPONSE if tokens % ESTIMATED_EVERY else Kind.ESTIMATE
        metered = Metered(name, "m", Usage(tokens, 0, tokens), kind=kind)
        wall_ms = int(self.clock.wall * 1000)
        self.world.oracle.heard(name, key_hash=session.billing.key_hash, wall_ms=wall_ms)
        single = session.billing.as_batch(metered, wall_ms=wall_ms, is_shared=is_shared)
        self.step()
        number = self.spools.note(encode_usage(single))
        if not number:
            self.memory_ids.append(name)
        self.step()
        journal = self.own.outbox.producer if number else None
        self.world.oracle.forwarded(name, journal=journal)
        self.trace("response", id=name, number=number)
        self.step()
        self._send_all(session.batcher.add(MeteredResponse(single, number), now=self.clock.now))
        if self.spools.is_failing:
            self._send_all(session.batcher.flush())

    def end_session(self, session: Session) -> None:
        """The client left."""
        self.sessions.remove(session)
        self._send_all(session.batcher.flush())

    def stop(self) -> None:
        """SIGTERM: flush everything and seal the end markers; exit once all of it is durable."""
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
                self.spools.is_failing = True
        self._stop_at = self.clock.now + CLOSE_S
        self.spools.sync()
        self.push()
        self._exit_when_settled()

    # --- what the network brings ------------------------------------------------------------------

    def receive_watermarks(
        self, epoch: int, watermarks: dict[bytes, int], *, is_answer: bool = False
    ) -> None:
        """Watermarks arrive, announced or as an answer."""
        for name, through in watermarks.items():
            producer = self._followed.get(name)
            if producer is None:
                continue
            self.step()
            watermark = Watermark(name, epoch, through)
            boots = self.world.boot_by_epoch
            is_newest = boots[epoch] >= boots[producer.outbox.epoch]
            if (
                is_answer and not is_newest
            ):  # it would drop messages that the newer boot does not have
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
        self.spools.sync()
        self.push()
        self._exit_when_settled()

    def disconnected(self, connection: Connection) -> None:
        """The connection broke: try another one."""
        if self.connection is connection:
            self.connection = None
            if self.is_alive:
                self.later(0.05 + self.rng.random() * 0.5, self._connect)

    def push(self) -> None:
        """Send whatever is to be sent now, and set the timer for what comes later."""
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

    @property
    def own(self) -> Producer:
        """Its own producer."""
        return self.spools.own

    def producers(self) -> Iterator[Producer]:
        """Every producer that this process sends for."""
        yield self.own
        yield from self.spools.adopted
        if self.memory is not None:
            yield self.memory

    @property
    def is_durable(self) -> bool:
        """Whether everything is durable, and every adopted producer is over."""
        return (
            not self.spools.is_failing
            and all(p.is_durable for p in self._ours())
            and all(p.is_over or self._is_at_odds(p) for p in self.spools.adopted)
        )

    def _is_at_odds(self, producer: Producer) -> bool:
        """Whether accountd has messages of the producer that its journal has not.

        An fsync failed, then the power, and messages in flight arrived only after the adopter had
        asked accountd. The two never agree again: whatever is sent, the watermark stands still.
        """
        outbox = producer.outbox
        if outbox.producer not in self.world.oracle.torn or outbox.awaits_watermark:
            return False
        stood_at, since = self._stood.get(outbox.producer, (-1, 0.0))
        if stood_at != outbox.acknowledged:
            self._stood[outbox.producer] = outbox.acknowledged, self.clock.now
            return False
        return self.clock.now - since > AT_ODDS_S

    def kill(self) -> None:
        """SIGKILL: memory is lost, the page cache is not."""
        super().kill()
        self.world.oracle.may_lose(self.memory_ids)
        self._leave()
        self.world.gateway_died(self)

    # --- sending (sender) -------------------------------------------------------------------------

    def step(self) -> None:
        """See ``Process``. Without a spool a kill loses usage by design, so none happens."""
        if self.world.plan.has_spool:
            super().step()

    def _send_all(self, batches: Iterable[Sealable]) -> None:
        for batch, covers, _ in batches:
            self._send(encode_usage(batch), covers)
            self.step()

    def _send(self, payload: bytes, covers: Sequence[int]) -> None:
        if covers or not self.spools.is_failing:
            try:
                if self.world.has_flag("send before seal"):
                    self._send_then_seal(payload, covers)
                else:
                    self.own.seal(payload, covers, now=self.clock.wall)
            except OSError:
                self.spools.is_failing = True
            self.spools.sync()
        else:
            self._volatile().seal(payload, now=self.clock.wall)
        self.push()

    def _send_then_seal(self, payload: bytes, covers: Sequence[int]) -> None:
        """What a mutant does: the message is sent before its sequence is in the journal."""
        outbox, journal = self.own.outbox, self.own.journal
        sequence = outbox.seal(payload)
        outbox.release(sequence)
        self.push()
        self.step()
        if journal is not None:
            journal.seal(sequence, covers, payload, now=self.clock.wall)

    def _volatile(self) -> Producer:
        if self.memory is None:
            name = self.rng.randbytes(16)
            self.memory = Producer(Outbox(name, chance=self.rng.random))
            self.follow(self.memory)
            self.world.oracle.volatile.add(name)
            self.trace("disk is full: in memory", producer=name.hex()[:4])
        return self.memory

    # --- watermarks -------------------------------------------------------------------------------

    def follow(self, producer: Producer) -> None:
        """Subscribe to the watermarks of ``producer``, and ask for the first one."""
        self._followed[producer.outbox.producer] = producer
        self._ask()

    def unfollow(self, producer: Producer) -> None:
        """Unsubscribe."""
        self._followed.pop(producer.outbox.producer, None)

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
        asked_at = self.clock.now
        self._asked_at = asked_at
        for name, producer in self._followed.items():
            self.world.oracle.claimed(name, producer.outbox.seen_durable)
        self.world.control.ask(self, asked_at, epochs)
        self.later(QUESTION_S, self._answer_lost, asked_at)

    def _answer_lost(self, asked_at: float) -> None:
        if self._asked_at == asked_at:
            self._asked_at = -1.0
            self._ask_now()

    def answered(
        self, asked_at: float, epochs: dict[bytes, int], epoch: int, throughs: dict[bytes, int]
    ) -> None:
        """The answer to a request that was sent when ``epochs`` were known."""
        if self._asked_at != asked_at:
            return
        self._asked_at = -1.0
        known = {n: p.outbox.epoch for n, p in self._followed.items()}
        is_gullible = self.world.has_flag("answers of an older boot are believed")
        believed = {n: t for n, t in throughs.items() if is_gullible or known.get(n) == epochs[n]}
        self.later(0.5, self._ask_again)
        self.receive_watermarks(epoch, believed, is_answer=True)

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
        if self.spools.is_failing or any(p.unsealed for p in self.producers()):
            self.spools.retry()
        self.spools.sync()
        if self.clock.now - self._pruned_at > PRUNE_S:
            self._pruned_at = self.clock.now
            self.spools.prune()
        self.push()
        self._exit_when_settled()

    def _exit_when_settled(self) -> None:
        if not self.is_stopping:
            return
        if all(p.is_durable for p in self._ours()) or self.clock.now >= self._stop_at:
            self.is_alive = False
            self.trace("exits", is_durable=all(p.is_durable for p in self._ours()))
            # What is in memory alone, and accountd did not acknowledge in time, is lost: the real
            # gateway says so, and exits with 75.
            if any(p.journal is None and not p.is_durable for p in self._ours()):
                self.world.oracle.may_lose(self.memory_ids)
            for producer in [self.own, *self.spools.adopted]:
                if producer.journal is not None:
                    self.spools.give_up(producer.journal)
            self._leave()

    def _leave(self) -> None:
        for producer in self._ours():
            self.world.oracle.left(producer.outbox.producer)
        if self.connection is not None:
            self.connection.break_off()
