"""Learns what is durable: from announcements, and by asking accountd when those do not arrive.

accountd is asked at the start, when the connection to it is new, when a message is overdue, and
when a watermark was ignored. Owns the monitor of the PUSH socket, which tells of new connections.
Called by ``usage_sender`` and ``spool_manager``; each watermark goes to its producer and to
``balances``.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from gateway import background_tasks
from gateway.accountd_client.rpc_client import RpcClient
from gateway.accountd_client.subscriber import Subscriber
from gateway.credit.balances import Balances
from gateway.delivery.outbox import AckOutcome
from gateway.delivery.producer import Producer
from shared.announcements import Watermark, decode_watermark, watermark_topic
from shared.errors import UnreachableError

log = structlog.get_logger()

ASK_AGAIN_S: Final = 1.0
# Producers in one request; accountd answers for no more at once.
ASKED_MAX: Final = 1_000
_IGNORED: Final = (AckOutcome.STALE, AckOutcome.FORGED)


class Watermarks:
    """Watermarks of the producers that are followed.

    ``changed`` is called when there may be something to send.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        subscriber: Subscriber,
        *,
        pushed_by: "zmq.Socket[Any]",
        accountd: RpcClient,
        balances: Balances,
        changed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscriber = subscriber
        self._accountd = accountd
        self._balances = balances
        self._changed = changed
        self._producers: dict[bytes, Producer] = {}
        self._wants_answer = asyncio.Event()
        self._arrived = asyncio.Event()
        self._reported: tuple[bytes, int, int] | None = None
        self.ignored = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._pushed_by = pushed_by
        address = f"inproc://push-{id(self)}"
        pushed_by.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.connect(address)

    def start(self) -> None:
        """Begin to ask, and to watch the connection."""
        self._tasks = [
            background_tasks.start(self._watch_connection()),
            background_tasks.start(self._ask_when_wanted()),
        ]

    async def close(self) -> None:
        """Stop both."""
        await background_tasks.stop(self._tasks)
        self._pushed_by.disable_monitor()
        self._monitor.close(linger=0)

    def follow(self, producer: Producer) -> None:
        """Receive the watermarks of ``producer``; accountd is asked for the first one at once."""
        self._producers[producer.outbox.producer] = producer
        self._subscriber.subscribe(watermark_topic(producer.outbox.producer), self._announced)
        self.ask()

    def unfollow(self, producer: Producer) -> None:
        """Everything of ``producer`` is durable and its journal removed."""
        if self._producers.pop(producer.outbox.producer, None) is not None:
            self._subscriber.unsubscribe(watermark_topic(producer.outbox.producer))

    def ask(self) -> None:
        """Ask accountd soon instead of waiting for its next announcement; at most once a second."""
        self._wants_answer.set()

    async def next_change(self, seconds: float) -> None:
        """Wait for the next watermark, at most so long."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    # --- tasks ------------------------------------------------------------------------------------

    async def _watch_connection(self) -> None:
        while True:
            event = parse_monitor_message(await self._monitor.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                for producer in self._producers.values():
                    producer.outbox.reconnected()
                self.ask()
                self._changed()

    async def _ask_when_wanted(self) -> None:
        while True:
            await self._wants_answer.wait()
            self._wants_answer.clear()
            known = list(self._producers.values())
            for start in range(0, len(known), ASKED_MAX):
                try:
                    await self._ask_about(known[start : start + ASKED_MAX])
                except UnreachableError:
                    self._wants_answer.set()
            await asyncio.sleep(ASK_AGAIN_S)

    async def _ask_about(self, producers: list[Producer]) -> None:
        epochs = [producer.outbox.epoch for producer in producers]
        names = [producer.outbox.producer for producer in producers]
        seen = [producer.outbox.seen_durable for producer in producers]
        epoch, throughs = await self._accountd.sync(names, seen)
        # An answer counts only if no other boot of accountd has announced itself since the request:
        # otherwise a boot that is gone may have written it.
        self._apply(
            [
                Watermark(name, epoch, through)
                for producer, name, through, before in zip(
                    producers, names, throughs, epochs, strict=True
                )
                if producer.outbox.epoch == before
            ],
            is_answer=True,
        )

    # --- helpers ----------------------------------------------------------------------------------

    def _announced(self, frames: list[bytes]) -> None:
        self._apply([decode_watermark(frames)], is_answer=False)

    def _apply(self, watermarks: Iterable[Watermark], *, is_answer: bool) -> None:
        for watermark in watermarks:
            producer = self._producers.get(watermark.producer)
            if producer is None:
                continue
            before = producer.outbox.acknowledged
            try:
                outcome = producer.acknowledge(
                    watermark, monotonic=self._loop.time(), now=time.time(), is_answer=is_answer
                )
            except OSError as exc:
                log.error("spool cannot be written", detail=str(exc), unsealed=producer.unsealed)
                continue
            if outcome not in _IGNORED:
                outbox = producer.outbox
                if is_answer:
                    self._balances.answered(outbox.epoch)
                self._balances.acknowledged(outbox.producer, outbox.acknowledged)
            self._report(outcome, watermark, before)
        self._arrived.set()
        self._changed()

    def _report(self, outcome: AckOutcome, watermark: Watermark, before: int) -> None:
        fields = {
            "producer": watermark.producer.hex(),
            "epoch": watermark.epoch,
            "applied_through": watermark.applied_through,
        }
        match outcome:
            case AckOutcome.REGRESSED:
                log.error("accountd lost what was durable", was=before, **fields)
            case AckOutcome.NEW_EPOCH:
                log.info("accountd was started anew", **fields)
            case AckOutcome.STALE | AckOutcome.FORGED:
                self.ask()
                self.ignored += 1
                ignored = (watermark.producer, watermark.epoch, watermark.applied_through)
                if ignored != self._reported:  # announcements repeat themselves
                    self._reported = ignored
                    log.warning("watermark ignored", reason=outcome.name.lower(), **fields)
