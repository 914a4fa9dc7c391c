"""Runs a gateway: opens everything in order, waits for a signal, closes everything in reverse."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import zmq.asyncio

from gateway import tasks
from gateway.calls.api import CallApi
from gateway.calls.calls import Calls
from gateway.config import OFF, GatewayConfig
from gateway.connections import certificate
from gateway.connections.accepting import Listener
from gateway.connections.tls import TlsConnection
from gateway.control.rpc_client import RpcClient
from gateway.control.subscriber import Subscriber
from gateway.credit.balances import Balances
from gateway.delivery.sender import UsageSender
from gateway.delivery.spool_manager import SpoolManager
from gateway.door.admission import Admission
from gateway.door.opener import Opener
from gateway.door.signing import Signing
from gateway.endpoints.api import Api
from gateway.endpoints.console import Console
from gateway.endpoints.minting import Minting
from gateway.endpoints.pages import Pages
from gateway.handles.ownership import Handles
from gateway.limits import GATEWAY_DRAIN_S
from gateway.metering.totals import Totals
from gateway.providers.catalog import open_providers
from gateway.providers.lifetimes import Lifetimes
from gateway.server import Gateway
from shared.config import Address
from shared.errors import ConfigError, ExitCode
from shared.metrics import Metric, Metrics
from shared.ops import OpsServer
from shared.transport import LINGER_MS

log = structlog.get_logger()

# How long another thread may keep the event loop from running. Python's 5 ms made every frame that
# late while the journal of a killed neighbour was read; with this it is 0.7 ms.
SWITCH_INTERVAL_S: Final = 0.0005
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Doors:
    """Where clients come in: sockets that are bound, and the certificate of the one with TLS."""

    plain: socket.socket | None
    tls: socket.socket | None
    reloader: certificate.CertificateReloader | None

    def serve(self, gateway: Gateway) -> list[Listener]:
        """Let clients in."""
        makers: list[tuple[socket.socket, Callable[[], asyncio.Protocol]]] = []
        if self.plain is not None:
            makers.append((self.plain, gateway.make_connection))
        if self.tls is not None and (reloader := self.reloader) is not None:
            makers.append(
                (self.tls, lambda: TlsConnection(gateway.make_connection(), reloader.context))
            )
        listeners = [Listener(to, make, has_place=gateway.has_place) for to, make in makers]
        for listener in listeners:
            gateway.on_departure.append(listener.wake)
            listener.start()
        return listeners


async def run(config: GatewayConfig) -> ExitCode:
    """Serve until SIGTERM or SIGINT; everything that was metered is handed over before the end."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signing = Signing(config.ephemeral_secrets) if config.ephemeral_secrets else None
    doors = _open_doors(config)
    manager = _open_spool(config)
    context = zmq.asyncio.Context()
    accountd = RpcClient(context, config.rpc_endpoint, grant_cache_s=config.grant_cache_s)
    accountd.start()
    subscriber = Subscriber(context, config.events_endpoint)
    balances = Balances(subscriber, accountd, near_responses=config.near_empty_responses)
    usage = UsageSender(
        context,
        usage_endpoint=config.usage_endpoint,
        subscriber=subscriber,
        accountd=accountd,
        balances=balances,
        manager=manager,
    )
    usage.start()
    subscriber.start()
    balances.start()
    handles = Handles(accountd, allows_unknown=config.allows_unknown_handles)
    handles.start()
    totals = Totals()
    lifetimes = Lifetimes(config.models.lifetimes)
    calls = Calls(balances=balances, usage=usage, totals=totals, lifetimes=lifetimes)
    gateway, answering = _open_gateway(
        config,
        accountd=accountd,
        balances=balances,
        usage=usage,
        handles=handles,
        calls=calls,
        totals=totals,
        lifetimes=lifetimes,
        signing=signing,
    )
    parts = [*answering, *accountd.metrics(), *balances.metrics(), *usage.metrics()]
    ops = _open_ops(
        config, gateway, [*parts, *(doors.reloader.metrics() if doors.reloader else [])]
    )
    _reload_on_hangup(loop, [part.reload for part in (doors.reloader, signing) if part is not None])
    listeners = doors.serve(gateway)
    _announce(doors, ops)
    await stop.wait()

    log.info("draining")
    gateway.is_draining = True
    if config.reuse_port:  # a neighbour on the same port takes new clients at once
        _close(listeners)
    await gateway.drain(GATEWAY_DRAIN_S)
    _close(listeners)
    unsettled = await usage.close(LINGER_MS / 1000)
    await handles.close()
    await calls.close()
    await balances.stop()
    await subscriber.close()
    await accountd.close()
    if ops is not None:
        await asyncio.to_thread(ops.close)
    await asyncio.to_thread(context.term)
    if unsettled:
        fate = "the next gateway sends it" if manager else "lost: there is no spool"
        log.error("usage not delivered", batches=unsettled, fate=fate)
    log.info("stopped")
    _ignore_signals(loop)
    return ExitCode.NOT_NOW if unsettled or tasks.have_failed() else ExitCode.DONE


def _open_gateway(
    config: GatewayConfig,
    *,
    accountd: RpcClient,
    balances: Balances,
    usage: UsageSender,
    handles: Handles,
    calls: Calls,
    totals: Totals,
    lifetimes: Lifetimes,
    signing: Signing | None,
) -> tuple[Gateway, list[Metric]]:
    """Everything that answers clients, and its numbers."""
    admission = Admission(accountd, signing)
    minting = Minting(
        admission,
        config.models,
        signing=signing,
        demo_key=config.demo_key,
        demo_hosts=config.demo_hosts,
    )
    console = Console(accountd)
    paths = console.by_path() if config.serves_page else {}
    providers = open_providers(config.providers)
    opener = Opener(
        balances=balances,
        usage=usage,
        handles=handles,
        providers=providers,
        table=config.models,
        lifetimes=lifetimes,
    )
    call_api = CallApi(
        admission=admission,
        opener=opener,
        calls=calls,
        handles=handles,
        providers=providers,
        table=config.models,
    )
    gateway = Gateway(
        accountd=accountd,
        admission=admission,
        opener=opener,
        calls=calls,
        totals=totals,
        usage=usage,
        handles=handles,
        providers=providers,
        table=config.models,
        pages=Pages.load() if config.serves_page else Pages(),
        api=Api(paths | minting.by_path(), by_pattern=minting.by_pattern() | call_api.by_pattern()),
        drain_close_code=config.drain_close_code,
    )
    parts = (gateway, totals, calls, handles, minting, console)
    return gateway, [metric for part in parts for metric in part.metrics()]


def _reload_on_hangup(
    loop: asyncio.AbstractEventLoop, reloads: Sequence[Callable[[], None]]
) -> None:
    """SIGHUP reads the certificate and the secrets anew, for those that come after it."""

    def reload() -> None:
        for each in reloads:
            each()

    if reloads:
        loop.add_signal_handler(signal.SIGHUP, reload)


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Everything is done: a second SIGTERM must not turn a clean exit into a killed process."""
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _open_spool(config: GatewayConfig) -> SpoolManager | None:
    if config.spool_dir is None:
        return None
    try:
        return SpoolManager(config.spool_dir, config.retention)
    except OSError as exc:
        raise ConfigError(
            f"GATEWAY_SPOOL_DIR: cannot write {config.spool_dir}: {exc.strerror}",
            hint="name a folder on a disk of this machine that has space",
        ) from exc


def _open_doors(config: GatewayConfig) -> Doors:
    reloader = (
        None
        if config.tls is None
        else certificate.CertificateReloader(config.tls.cert, config.tls.key)
    )
    plain = tls = None
    if config.listen is not None:
        plain = _listen("GATEWAY_LISTEN", config.listen, shares=config.reuse_port)
    if config.tls is not None:
        tls = _listen("GATEWAY_TLS_LISTEN", config.tls.listen, shares=config.reuse_port)
    return Doors(plain, tls, reloader)


def _listen(name: str, address: Address, *, shares: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address.host, address.port))
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"{name}: cannot listen on {address}: {exc.strerror}",
            hint="stop what listens there, choose another address, or share the port between"
            " gateways with GATEWAY_REUSE_PORT=yes",
        ) from exc
    return listener


def _close(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        listener.close()


def _open_ops(
    config: GatewayConfig, gateway: Gateway, metrics: Iterable[Metric]
) -> OpsServer | None:
    if config.ops_listen is None:
        return None
    return OpsServer(
        config.ops_listen, live=gateway.live, ready=gateway.ready, metrics=Metrics(metrics)
    )


def _announce(doors: Doors, ops: OpsServer | None) -> None:
    line = f"ready gateway listen={_address(doors.plain) if doors.plain else OFF}"
    line += f" tls={_address(doors.tls)}" if doors.tls else ""
    print(line + (f" ops={ops.address}" if ops else ""), flush=True)  # noqa: T201 - for scripts


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)
