"""Hands usage to accountd: the one place where the gateway takes responsibility for a charge.

Nothing here waits. A metered response is noted in the journal (``note``) before its event is
forwarded; a message is numbered and sent, now or later (``send``); it is sent again until accountd
says that it is durable. Owns the PUSH socket and the set of producers: this process's own, those of
processes that were killed (``SpoolManager``), and, while the disk under the spool is full, one that
lives in memory only.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
import zmq
import zmq.asyncio

from gateway.control.rpc_client import RpcClient
from gateway.control.subscriber import Subscriber
from gateway.credit.balances import Balances
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.spool_manager import SpoolManager
from gateway.delivery.watermarks import Watermarks
from gateway.limits import OUTBOX_BATCHES_MAX
from gateway.metering.batching import OnSealed, ignore_sealed
from shared import transport
from shared.metrics import Metric
from shared.usage import UsageBatch, UsageMessage
from shared.wire import PRODUCER_BYTES, encode_usage

log = structlog.get_logger()

RETRY_S: Final = 0.05  # a socket that takes nothing is tried again
TICK_S: Final = 1.0
# Messages pushed in one turn of the event loop. The frames of all sessions wait meanwhile: a whole
# window of 1,000 takes 5 to 7 ms of CPU, so many take 0.3 ms.
BURST_MAX: Final = 50


class UsageSender:
    """Numbers messages and pushes them to accountd. ``start`` before use, ``close`` at the end."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        *,
        usage_endpoint: str,
        subscriber: Subscriber,
        accountd: RpcClient,
        balances: Balances,
        manager: SpoolManager | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # The same ZeroMQ context, with a socket that does not wait.
        plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(context)
        self._socket = plain.socket(zmq.PUSH)
        transport.configure(self._socket)
        # Messages wait in the outbox, not in a queue of a connection that does not stand.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._watermarks = Watermarks(
            context, subscriber, pushed_by=self._socket, accountd=accountd, balances=balances,
            changed=self.push,
        )  # fmt: skip
        self._socket.connect(usage_endpoint)
        self._spool_manager = manager
        self._in_memory: Producer | None = None
        self.messages_sent = 0  # resends included
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        if manager is None:
            self._volatile()
        else:
            self._watermarks.follow(manager.own)

    def start(self) -> None:
        """Begin to listen for watermarks, and to look for spools that nobody owns."""
        self._watermarks.start()
        if self._spool_manager is not None:
            self._spool_manager.start(self._watermarks, released=self.push)
        self._tick()

    # --- for sessions -----------------------------------------------------------------------------

    @property
    def sends_at_once(self) -> bool:
        """Whether every response must be sent by itself: it is in memory only."""
        return self._spool_manager is not None and self._spool_manager.is_failing

    def note(self, single: UsageBatch) -> int:
        """Note one metered response before its event is forwarded.

        The answer is its number in the journal; 0 when it is in memory only.
        """
        if self._spool_manager is None:
            return 0
        return self._spool_manager.note(encode_usage(single))

    def send(
        self,
        message: UsageMessage,
        covers: Sequence[int] = (),
        on_sealed: OnSealed = ignore_sealed,
    ) -> None:
        """Take responsibility for ``message``, which covers the noted responses ``covers``.

        ``on_sealed`` is called when it has its number, now or later.
        """
        payload = encode_usage(message)
        if self._spool_manager is not None and (covers or not self._spool_manager.is_failing):
            self._spool_manager.seal(payload, covers, on_sealed)
        else:
            self._volatile().seal(payload, now=time.time(), on_sealed=on_sealed)
        self.push()

    # --- health -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Messages that are not known to be durable."""
        return sum(len(p.outbox) + p.unsealed for p in self._producers())

    @property
    def not_ready_reason(self) -> str:
        """Why no new sessions can be taken; empty when they can."""
        if self.is_full:
            return "outbox full"
        return "spool cannot be written" if self.sends_at_once else ""

    @property
    def is_full(self) -> bool:
        """Whether the bound of what may wait in memory is reached.

        What an accountd that was restored from a backup must be sent again lies in the spool.
        """
        waiting = sum(p.outbox.in_memory + p.unsealed for p in self._producers())
        return waiting >= OUTBOX_BATCHES_MAX

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_outbox_batches", "gauge",
                "Messages that are not known to be durable.", self.__len__,
            ),
            Metric(
                "rts_gateway_messages_sent", "counter",
                "Usage messages pushed to accountd, resends included.",
                lambda: self.messages_sent,
            ),
            Metric(
                "rts_gateway_resends", "counter",
                "Times that sending began again at the watermark.",
                lambda: sum(p.outbox.resends for p in self._producers()),
            ),
            Metric(
                "rts_gateway_watermarks_ignored", "counter",
                "Watermarks that were stale or beyond what was sent.",
                lambda: self._watermarks.ignored,
            ),
            Metric(
                "rts_gateway_spool_failing", "gauge",
                "1 while the spool cannot be written: no new sessions, usage in memory only.",
                lambda: int(self.sends_at_once),
            ),
            Metric(
                "rts_gateway_spool_bytes", "gauge", "Bytes in the spool that this process owns.",
                lambda: sum(p.spool.size for p in self._producers() if p.spool is not None),
            ),
            Metric(
                "rts_gateway_spools_adopted", "counter",
                "Journals taken over from processes that ended.",
                lambda: self._spool_manager.adoptions if self._spool_manager is not None else 0,
            ),
        ]  # fmt: skip

    # --- the end ----------------------------------------------------------------------------------

    async def close(self, deadline_s: float) -> int:
        """Say that nothing follows, and wait until all of it is durable, at most ``deadline_s``.

        The answer is how many messages are not: with a spool the next gateway sends them.
        """
        ours = self._ours()
        for producer in ours:
            self._end(producer)
        self.push()
        try:
            async with asyncio.timeout(deadline_s):
                while not all(producer.is_settled for producer in ours):
                    await self._watermarks.next_change(TICK_S)
        except TimeoutError:
            pass
        for timer in (self._timer, self._ticker):
            if timer is not None:
                timer.cancel()
        await self._watermarks.close()
        self._socket.close(linger=0)
        if self._spool_manager is not None:
            await self._spool_manager.close()
        return sum(len(producer.outbox) + producer.unsealed for producer in ours)

    # --- helpers ----------------------------------------------------------------------------------

    def push(self) -> None:
        """Send whatever is to be sent now, and wake up again when there will be more."""
        if self._socket.closed:
            return
        now, wakes_at = self._loop.time(), None
        for producer in self._producers():
            outbox = producer.outbox
            if outbox.wakes_at is not None and now >= outbox.wakes_at:
                self._watermarks.ask()  # overdue: perhaps only the announcements do not arrive
            if (pause_s := self._push_outbox(outbox, now)) is not None:
                wakes_at = now + pause_s
                break
            if outbox.wakes_at is not None:
                wakes_at = min(wakes_at or outbox.wakes_at, outbox.wakes_at)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if wakes_at is None else self._loop.call_at(wakes_at, self.push)

    def _push_outbox(self, outbox: Outbox, now: float) -> float | None:
        """Push what is to be sent now; the seconds until there can be more, None when it is all."""
        for _ in range(BURST_MAX):
            if (frames := outbox.next_frames(now)) is None:
                return None
            try:
                self._socket.send_multipart(frames, zmq.DONTWAIT)
            except zmq.Again:
                return RETRY_S
            outbox.sent(now)
            self.messages_sent += 1
        return 0.0

    def _producers(self) -> Iterator[Producer]:
        if self._spool_manager is not None:
            yield from self._spool_manager.producers()
        if self._in_memory is not None:
            yield self._in_memory

    def _ours(self) -> list[Producer]:
        own = [self._spool_manager.own] if self._spool_manager is not None else []
        return own + ([self._in_memory] if self._in_memory is not None else [])

    def _end(self, producer: Producer) -> None:
        try:
            producer.end(now=time.time())
        except OSError as exc:
            log.error("spool cannot be written", detail=str(exc), unsealed=producer.unsealed)

    def _volatile(self) -> Producer:
        if self._in_memory is None:
            outbox = Outbox(secrets.token_bytes(PRODUCER_BYTES), chance=random.random)
            self._in_memory = Producer(outbox)
            self._watermarks.follow(self._in_memory)
            log.info("producer started", producer=outbox.producer.hex(), spool=False)
        return self._in_memory

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        if self._spool_manager is not None:
            self._spool_manager.tick()
        self.push()
