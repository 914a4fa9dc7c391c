"""The daemon: one poll loop that writes, and a thread that reads requests.

Each turn of the loop takes up to ``GROUP_MESSAGES_MAX`` from the usage socket without waiting,
applies the whole group in one transaction, announces what is durable now, and then serves a bounded
number of the requests that ``rpc_thread`` hands over. While one group commits the next gathers by
itself, so group commit needs no timer.

A group that cannot be committed, because the disk is full or another program locks the database, is
held and tried again once a second. Meanwhile the loop answers requests, and new usage waits in
ZeroMQ and in the gateways' outboxes.
"""

import contextlib
import gc
import math
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Final

import structlog
import zmq

from accountd.clock import now_iso
from accountd.config import AccountdConfig
from accountd.data import database, file_modes
from accountd.data.database import Trouble
from accountd.ledger.key_spending import day_of
from accountd.notifications.announcer import Announcer
from accountd.rpc import Rpc
from accountd.rpc_thread import RpcThread
from accountd.services import Services, open_services
from shared import zmq_sockets
from shared.errors import ExitCode
from shared.metrics import Metric, Metrics
from shared.ops_server import Health, OpsServer
from shared.requests import warned

log = structlog.get_logger()

# 5,000 rows commit in a few hundred milliseconds; more would keep requests waiting.
GROUP_MESSAGES_MAX: Final = 5_000
REQUESTS_PER_TURN_MAX: Final = 200
POLL_S: Final = 1.0
RETRY_S: Final = 1.0
FINISH_S: Final = 5.0
FINISH_QUIET_MS: Final = 100
HEARTBEAT_STALE_S: Final = 10.0
LAST_USED_S: Final = 5.0


class Daemon:
    """The poll loop, with its sockets, its group and its threads."""

    def __init__(self, config: AccountdConfig, services: Services, *, epoch: int) -> None:
        self._ledger = services.ledger
        self._accounts = services.accounts
        self._recalls = services.recalls
        self._authorizations = services.authorizations
        self._rate_card = services.rate_card
        self._low_credit = services.low_credit
        self._handles = services.handles
        self._conversations = services.conversations
        self._retentions = (
            services.handles.retention,
            services.conversations.retention,
            *services.retentions,
        )
        self._providers = services.providers
        self._live_sessions = services.live_sessions
        self._wal = services.wal
        self._backups = services.backups
        self._custody = services.custody
        self._context = zmq.Context()
        self._usage = self._bind(zmq.PULL, config.usage_endpoint)
        requests = self._bind(zmq.ROUTER, config.rpc_endpoint)
        self._events = self._bind(zmq.XPUB, config.events_endpoint)
        self._announcer = Announcer(
            self._events,
            epoch=epoch,
            read_balances=services.balances,
            rates=lambda: services.rate_card.rates.version,
        )
        self._rpc = Rpc(services, self._announcer, epoch=epoch)
        self._requests = RpcThread(requests, at_once=self._rpc.at_once, reports=self._rpc.reports)
        self._group: list[list[bytes]] = []
        self._retry_at = 0.0
        self._heartbeat_at = time.monotonic()
        self._last_used_at = time.monotonic()
        self._trouble: Trouble | None = None
        self.is_stopping = False
        self.must_reload = False
        self._epoch = epoch
        self._counts = services.counts

    def live(self) -> Health:
        """Whether the loop has turned within ``HEARTBEAT_STALE_S`` (``/healthz``)."""
        age_s = time.monotonic() - self._heartbeat_at
        return Health(age_s < HEARTBEAT_STALE_S, f"last turn {age_s:.0f} s ago")

    def ready(self) -> Health:
        """Whether usage can be applied (``/readyz``)."""
        if self._trouble is not None:
            return Health(False, self._trouble.value)
        return Health(False, "stopping") if self.is_stopping else self.live()

    def metrics(self) -> Metrics:
        """The numbers of this boot, for ``/metrics``."""
        return Metrics(
            [
                *self._counts.metrics(),
                Metric(
                    "rts_accountd_waiting", "gauge",
                    "1 while usage cannot be written (disk full, database locked).",
                    lambda: int(self._trouble is not None),
                ),
                Metric(
                    "rts_accountd_live_accounts", "gauge",
                    "Accounts whose balance gateways listen for.",
                    lambda: self._announcer.accounts,
                ),
                Metric("rts_accountd_epoch", "gauge", "This boot's number.", lambda: self._epoch),
                *self._handles.metrics(),
                *self._conversations.metrics(),
                *self._providers.metrics(),
                *self._live_sessions.metrics(),
                *self._wal.metrics(),
                *self._backups.metrics(),
                *self._custody.metrics(),
                *self._low_credit.metrics(),
            ]
        )  # fmt: skip

    @property
    def holds_usage(self) -> bool:
        """Whether usage was received that could not be committed yet."""
        return bool(self._group)

    def run(self, wakeup: int) -> None:
        """Run the loop until ``is_stopping``; ``wakeup`` becomes readable when a signal came."""
        self._custody.tick(now=time.monotonic())  # before an audit is answered
        self._requests.start()
        while not self.is_stopping:
            self._heartbeat_at = time.monotonic()
            if wakeup in self._poll(wakeup):
                os.read(wakeup, 64)
            self._reload()
            self._apply()
            self._announcer.repeat(now=time.monotonic())
            self._serve()
            self._low_credit.tick(now=time.monotonic())
            for retention in self._retentions:
                retention.tick(now=time.monotonic())
            self._wal.tick(now=time.monotonic())
            self._backups.tick()
            self._custody.tick(now=time.monotonic())
            self._announcer.announce_holders(self._conversations.take_taken_over())
            self._announcer.receive()
            self._announcer.begin_day(day_of(time.time_ns() // 1_000_000))
            self._announcer.changed(self._accounts.take_changed())
            self._announcer.announce_changed()
            self._write_last_used()
        self._backups.stop()
        self._requests.stop()
        self._finish()
        self._low_credit.stop()

    def close(self) -> None:
        """Close sockets and threads. Called when no usage is queued any more."""
        self._backups.stop()  # also when the loop has failed
        self._requests.close()
        self._usage.close()
        self._events.close()
        self._context.term()

    def _poll(self, wakeup: int) -> set[Any]:
        """Wait for a message, a signal or a timer; returns the sockets that are readable."""
        poller = zmq.Poller()
        for source in (self._requests.wakeup, self._events, wakeup):
            poller.register(source, zmq.POLLIN)
        now, wait_s = time.monotonic(), POLL_S
        if self.holds_usage:  # later usage has to wait, so it need not wake the poll
            wait_s = min(wait_s, max(0.0, self._retry_at - now))
        else:
            poller.register(self._usage, zmq.POLLIN)
        repeat_s = self._announcer.wait_s(now=now)
        if repeat_s is not None:
            wait_s = min(wait_s, repeat_s)
        # Rounded up: a wait of 0.4 ms as 0 ms would make the loop poll without a pause.
        return {source for source, _ in poller.poll(math.ceil(wait_s * 1000))}

    def _reload(self) -> None:
        if self.must_reload:
            # Cleared before the reload, so that a signal during it causes another one.
            self.must_reload = False
            before = self._rate_card.rates
            self._rate_card.reload()
            if self._rate_card.rates is not before:
                self._announcer.rates_changed()
                self._counts.rates_changed()

    # --- usage ------------------------------------------------------------------------------------

    def _apply(self) -> None:
        """Apply the usage that has arrived. A group that cannot be committed is held."""
        if self.holds_usage and time.monotonic() < self._retry_at:
            return
        if not self._group:
            self._group = _receive(self._usage, GROUP_MESSAGES_MAX)
        if not self._group:
            return
        try:
            decision = self._ledger.apply(self._group, now=now_iso())
        except Exception as exc:
            trouble = database.passing_trouble(exc)
            if trouble is None:
                raise
            self._wait_for(trouble)
            return
        if self._trouble is not None:
            log.info("usage is applied again", was=self._trouble.value)
            self._trouble = None
        self._group = []
        self._announcer.announce(decision, now=time.monotonic())
        self._custody.applied((p, w.applied_through) for p, w in decision.windows.items())
        self._wal.used(now=time.monotonic())
        self._counts.count(decision, rate_card=self._rate_card.rates.version)

    def _wait_for(self, trouble: Trouble) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if self._trouble is not trouble:
            self._trouble = trouble
            log.error(trouble.value, waiting=len(self._group), hint=trouble.hint)

    def _finish(self) -> None:
        """Commit the held group and the usage that has arrived. Gateways send later usage again."""
        deadline = time.monotonic() + FINISH_S
        self._retry_at = 0.0  # try a held group once more, at once
        while time.monotonic() < deadline:
            self._apply()
            if self._trouble is not None:
                log.error("usage not applied", why=self._trouble.value, held=len(self._group))
                return
            # ZeroMQ's thread may still be reading messages from the kernel.
            if not self._group and not self._usage.poll(FINISH_QUIET_MS):
                break
        self._write_last_used(now=True)

    # --- requests ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        changes = []
        for address, request in self._requests.requests(REQUESTS_PER_TURN_MAX):
            reply = self._rpc.answer(request)
            # Before the answer: whoever has it may kill this process, and gateways have heard.
            self._announcer.announce_recalls(self._recalls.take())
            if self._custody.has_changed():
                changes.append((address, reply))
            else:
                self._requests.reply(address, reply)
        if changes:
            warning = self._custody.keep()  # likewise, and the disk under the database may fail
            for address, reply in changes:
                self._requests.reply(address, warned(reply, warning))
        if self._requests.failure is not None:
            raise self._requests.failure

    def _write_last_used(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._last_used_at > LAST_USED_S:
            self._last_used_at = time.monotonic()
            try:
                self._authorizations.write_last_used()
            except Exception as exc:
                if database.passing_trouble(exc) is None:
                    raise

    def _bind(self, kind: int, endpoint: str) -> "zmq.Socket[Any]":
        socket = self._context.socket(kind)
        zmq_sockets.configure(socket)
        zmq_sockets.bind(socket, endpoint)
        return socket


def run(config: AccountdConfig) -> ExitCode:
    """Serve until SIGTERM or SIGINT; usage that arrived before is committed."""
    with database.errors_translated(config.database.path):
        return _run(config)


def _run(config: AccountdConfig) -> ExitCode:
    path = config.database.path
    with database.open_for_serving(path, config.database.key) as opened, _signals() as wakeup:
        for line in file_modes.open_to_others(path):
            log.warning("database open to others", found=line)
        services = open_services(config, opened.database.connection())
        services.custody.begin()
        # Committed before a socket opens: every announcement carries the epoch of this boot.
        epoch = services.ledger.begin_epoch(now_ns=time.time_ns())
        services.recalls.begin(epoch=epoch)
        services.custody.serve(epoch=epoch)
        daemon = Daemon(config, services, epoch=epoch)
        _listen_to_signals(daemon)
        ops = _open_ops(config, daemon)
        # What was loaded stays. A full collection that looks at it stops every thread for 40 ms.
        gc.collect()
        gc.freeze()
        log.info("rate card", version=config.rates.version, entries=len(config.rates.entries))
        print(  # noqa: T201 - for scripts
            f"ready accountd db={path} usage={config.usage_endpoint} rpc={config.rpc_endpoint}"
            f" events={config.events_endpoint}" + (f" ops={ops.address}" if ops else ""),
            flush=True,
        )
        try:
            daemon.run(wakeup)
        finally:
            if ops is not None:
                ops.close()
            daemon.close()
        services.custody.end()
        log.info("stopped")
        return ExitCode.NOT_NOW if daemon.holds_usage else ExitCode.DONE


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable when a signal came, which ends the wait of the poll."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    previous = signal.set_wakeup_fd(writer)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)


def _listen_to_signals(daemon: Daemon) -> None:
    def stop(_number: int, _frame: object) -> None:
        daemon.is_stopping = True

    def reload(_number: int, _frame: object) -> None:
        daemon.must_reload = True

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _open_ops(config: AccountdConfig, daemon: Daemon) -> OpsServer | None:
    if config.ops_listen is None:
        return None
    return OpsServer(
        config.ops_listen, live=daemon.live, ready=daemon.ready, metrics=daemon.metrics()
    )


def _receive(socket: "zmq.Socket[Any]", at_most: int) -> list[list[bytes]]:
    """The messages that have arrived, at most ``at_most``, without waiting."""
    messages: list[list[bytes]] = []
    receive, without_waiting = socket.recv, int(zmq.DONTWAIT)
    try:
        while len(messages) < at_most:
            # 40 % faster than ``recv_multipart``, which asks the socket after each frame. Arguments
            # by name and a flag that is no integer would take a sixth of the time.
            frame = receive(without_waiting, False)
            frames = [frame.bytes]
            while frame.more:
                frame = receive(without_waiting, False)
                frames.append(frame.bytes)
            messages.append(frames)
    except zmq.Again:
        pass
    return messages
