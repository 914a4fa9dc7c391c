"""Takes responsibility for usage: numbers it, and sends it to accountd until it is durable there.

Nothing here waits. A metered response is noted in the journal (``note``) before its event is
forwarded; a message is sealed and sent, now or later (``send``), and sent again until a watermark
covers it. Owns the set of producers: this process's own, the adopted ones (``SpoolManager``), and,
while the spool cannot be written, one that lives in memory only. Called by
``metering.usage_recorder``.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
import zmq.asyncio

from gateway.accountd_client.rpc_client import RpcClient
from gateway.accountd_client.subscriber import Subscriber
from gateway.credit.balances import Balances
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.push_socket import Pusher
from gateway.delivery.spool_manager import SpoolManager
from gateway.delivery.watermarks import Watermarks
from gateway.limits import OUTBOX_BATCHES_MAX
from gateway.metering.batching import OnSealed, ignore_sealed
from shared.metrics import Metric
from shared.usage import UsageBatch, UsageMessage
from shared.wire import PRODUCER_BYTES, encode_usage

log = structlog.get_logger()

TICK_S: Final = 1.0


class UsageSender:
    """Seals messages and sends them to accountd. ``start`` before use, ``close`` at the end."""

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
        self._spool_manager = manager
        self._in_memory: Producer | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._pusher = Pusher(context, self._producers, overdue=self._ask)
        self._watermarks = Watermarks(
            context, subscriber, pushed_by=self._pusher.socket, accountd=accountd,
            balances=balances, changed=self._pusher.push,
        )  # fmt: skip
        self._pusher.connect(usage_endpoint)
        if manager is None:
            self._memory_producer()
        else:
            self._watermarks.follow(manager.own)

    def start(self) -> None:
        """Begin to receive watermarks, and to look for spools whose owner has ended."""
        self._watermarks.start()
        if self._spool_manager is not None:
            self._spool_manager.start(self._watermarks, released=self._pusher.push)
        self._tick()

    # --- for sessions -----------------------------------------------------------------------------

    @property
    def sends_at_once(self) -> bool:
        """Whether each response must be sent at once, because it is in memory only."""
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

        ``on_sealed`` is called with its producer and sequence, now or when the disk has recovered.
        A message that covers noted responses goes through the journal that holds them.
        """
        payload = encode_usage(message)
        if self._spool_manager is not None and (covers or not self._spool_manager.is_failing):
            self._spool_manager.seal(payload, covers, on_sealed)
        else:
            self._memory_producer().seal(payload, now=time.time(), on_sealed=on_sealed)
        self._pusher.push()

    # --- health -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Messages that are not known to be durable."""
        return sum(len(p.outbox) + p.unsealed for p in self._producers())

    @property
    def not_ready_reason(self) -> str:
        """Why no new sessions can be taken; empty when they can be."""
        if self.is_full:
            return "outbox full"
        return "spool cannot be written" if self.sends_at_once else ""

    @property
    def is_full(self) -> bool:
        """Whether as many messages wait in memory as may.

        Messages that a restored accountd must be sent again do not count: they are in the spool.
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
                lambda: self._pusher.messages_sent,
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
                lambda: sum(p.journal.size for p in self._producers() if p.journal is not None),
            ),
            Metric(
                "rts_gateway_spools_adopted", "counter",
                "Journals taken over from processes that ended.",
                lambda: self._spool_manager.adoptions if self._spool_manager is not None else 0,
            ),
        ]  # fmt: skip

    # --- the end ----------------------------------------------------------------------------------

    async def close(self, deadline_s: float) -> int:
        """Seal the end markers, and wait at most ``deadline_s`` until everything is durable.

        The answer is how many messages are not: with a spool the next gateway sends them.
        """
        ours = self._ours()
        for producer in ours:
            self._end(producer)
        self._pusher.push()
        try:
            async with asyncio.timeout(deadline_s):
                while not all(producer.is_durable for producer in ours):
                    await self._watermarks.next_change(TICK_S)
        except TimeoutError:
            pass
        if self._ticker is not None:
            self._ticker.cancel()
        await self._watermarks.close()
        self._pusher.close()
        if self._spool_manager is not None:
            await self._spool_manager.close()
        return sum(len(producer.outbox) + producer.unsealed for producer in ours)

    # --- helpers ----------------------------------------------------------------------------------

    def _producers(self) -> Iterator[Producer]:
        if self._spool_manager is not None:
            yield from self._spool_manager.producers()
        if self._in_memory is not None:
            yield self._in_memory

    def _ours(self) -> list[Producer]:
        own = [self._spool_manager.own] if self._spool_manager is not None else []
        return own + ([self._in_memory] if self._in_memory is not None else [])

    def _ask(self) -> None:
        self._watermarks.ask()

    def _end(self, producer: Producer) -> None:
        try:
            producer.end(now=time.time())
        except OSError as exc:
            log.error("spool cannot be written", detail=str(exc), unsealed=producer.unsealed)

    def _memory_producer(self) -> Producer:
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
        self._pusher.push()
