"""Runs a gateway: opens everything in order, waits for a signal, closes everything in reverse."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from gateway import background_tasks, build
from gateway.accountd_link import AccountdLink
from gateway.callers.callers import Callers
from gateway.callers.key_rates import KeyRates
from gateway.calls.api import CallApi
from gateway.calls.calls import Calls
from gateway.config import GatewayConfig
from gateway.connections.listener import Listener
from gateway.door import translators
from gateway.door.admission import Admission
from gateway.door.gatekeeper import Gatekeeper
from gateway.door.provider_reports import ProviderReports
from gateway.door.session_opener import Opener
from gateway.door.signing import Signing
from gateway.endpoints.api import Api
from gateway.endpoints.console import Console
from gateway.endpoints.minting import Minting
from gateway.endpoints.pages import Pages
from gateway.limits import GATEWAY_DRAIN_S
from gateway.listeners import Listeners
from gateway.metering.totals import Totals
from gateway.providers.catalog import open_providers
from gateway.providers.lifetimes import Lifetimes
from gateway.readiness import Readiness
from gateway.server import GatewayServer
from gateway.session_registry import Registry
from shared.errors import ExitCode
from shared.metrics import Metric, Metrics
from shared.ops_server import OpsServer
from shared.provider_kinds import is_further

log = structlog.get_logger()

# How long another thread may keep the event loop from running. Python's 5 ms made every frame that
# late while the journal of a killed neighbour was read; with this it is 0.7 ms.
SWITCH_INTERVAL_S: Final = 0.0005
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


async def run(config: GatewayConfig) -> ExitCode:
    """Serve until SIGTERM or SIGINT; everything that was metered is handed over before the end."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signing = Signing(config.ephemeral_secrets) if config.ephemeral_secrets else None
    sockets = Listeners.bind(config)
    log.info("starting", modules="compiled" if build.is_compiled() else "python")
    _note_unserved(config)
    link = AccountdLink.open(config)
    totals, lifetimes = Totals(), Lifetimes(config.models.lifetimes)
    calls = Calls(
        balances=link.balances, usage=link.usage, recalls=link.recalls, totals=totals,
        lifetimes=lifetimes,
    )  # fmt: skip
    registry = Registry(
        calls=calls, totals=totals, usage=link.usage, connections_max=config.connections_max
    )
    gateway, reports, metrics = _open_gateway(
        config, link, calls=calls, registry=registry, lifetimes=lifetimes, signing=signing
    )
    metrics += [*registry.metrics(), *totals.metrics(), *calls.metrics(), *link.metrics()]
    reloads = [part for part in (sockets.certificate, signing) if part is not None]
    if sockets.certificate is not None:
        metrics += sockets.certificate.metrics()
    ops = _open_ops(config, gateway, metrics)
    _reload_on_hangup(loop, [part.reload for part in reloads])
    if config.may_translate:
        translators.preload()
    # What is loaded by now stays. A full collection would look at each of its 48,000 objects: 31 ms
    # in which no frame is relayed, and a twentieth of the CPU where many sessions begin and end.
    gc.collect()
    gc.freeze()
    listeners = sockets.accept(gateway, registry, config.proxies)
    address = f" ops={ops.address}" if ops else ""
    print(f"ready gateway {sockets}{address}", flush=True)  # noqa: T201 - for scripts
    await stop.wait()

    log.info("stopping")
    gateway.readiness.is_stopping = True
    if config.reuse_port:  # a neighbour on the same port takes new clients at once
        _close(listeners)
    await gateway.stop(GATEWAY_DRAIN_S)
    await reports.close()
    _close(listeners)
    undelivered = await link.hand_over()
    await calls.close()
    await link.close()
    if ops is not None:
        await asyncio.to_thread(ops.close)
    await link.terminate()
    if undelivered:
        fate = "the next gateway sends it" if config.spool_dir else "lost: there is no spool"
        log.error("usage not delivered", batches=undelivered, fate=fate)
    log.info("stopped")
    _ignore_signals(loop)
    return ExitCode.NOT_NOW if undelivered or background_tasks.have_failed() else ExitCode.DONE


def _open_gateway(
    config: GatewayConfig,
    link: AccountdLink,
    *,
    calls: Calls,
    registry: Registry,
    lifetimes: Lifetimes,
    signing: Signing | None,
) -> tuple[GatewayServer, ProviderReports, list[Metric]]:
    """Everything that answers clients, what tells of it, and its numbers."""
    readiness = Readiness(link.accountd, link.usage)
    admission = Admission(
        link.accountd, signing, KeyRates(per_s=config.sessions_per_key_s),
        allows_keys_in_urls=config.allows_keys_in_urls,
    )  # fmt: skip
    callers = Callers(config.proxies, each_max=config.connections_per_address)
    minting = Minting(
        admission, config.models, signing=signing,
        demo_key=config.demo_key, demo_hosts=config.demo_hosts,
    )  # fmt: skip
    console = Console(link.accountd)
    providers = open_providers(config.providers)
    opener = Opener(
        balances=link.balances, usage=link.usage, handles=link.handles,
        providers=providers, table=config.models, lifetimes=lifetimes,
        conversations=link.conversations, recalls=link.recalls,
        keeps_sessions=config.keeps_sessions,
    )  # fmt: skip
    call_api = CallApi(
        admission=admission, opener=opener, calls=calls, leases=link.leases, handles=link.handles,
        providers=providers, table=config.models,
    )  # fmt: skip
    gatekeeper = Gatekeeper(
        admission=admission, opener=opener, handles=link.handles,
        providers=providers, table=config.models, readiness=readiness,
        standing=opener.dialer.standing,
    )  # fmt: skip
    by_path = (console.by_path() if config.serves_page else {}) | minting.by_path()
    gateway = GatewayServer(
        readiness=readiness,
        callers=callers,
        gatekeeper=gatekeeper,
        opener=opener,
        calls=calls,
        leases=link.leases,
        registry=registry,
        providers=providers,
        pages=Pages.load(filter(is_further, providers)) if config.serves_page else Pages(),
        api=Api(by_path, by_pattern=minting.by_pattern() | call_api.by_pattern()),
        stop_close_code=config.drain_close_code,
    )
    reports = ProviderReports(
        link.accountd, opener.dialer, opener.roster, config.models, calls=calls.by_provider
    )
    reports.start()
    return (
        gateway,
        reports,
        [*callers.metrics(), *minting.metrics(), *console.metrics(), *opener.metrics()],
    )


def _reload_on_hangup(
    loop: asyncio.AbstractEventLoop, reloads: Sequence[Callable[[], None]]
) -> None:
    """SIGHUP reads the certificate and the secrets anew, for clients that come after it."""

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


def _close(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        listener.close()


def _open_ops(
    config: GatewayConfig, gateway: GatewayServer, metrics: Iterable[Metric]
) -> OpsServer | None:
    if config.ops_listen is None:
        return None
    return OpsServer(
        config.ops_listen,
        live=gateway.readiness.live,
        ready=gateway.readiness.ready,
        metrics=Metrics(metrics),
    )


def _note_unserved(config: GatewayConfig) -> None:
    """Log which providers of the models file no session can go to."""
    names = [provider.name for provider in config.providers]
    for name, models in config.models.unserved(names).items():
        log.warning(
            "provider without a key", provider=name, models=", ".join(models)[:200],
            hint="set its key, or take it out of the models file: no session goes there",
        )  # fmt: skip
