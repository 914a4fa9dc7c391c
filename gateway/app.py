"""Runs a gateway: opens everything in order, waits for a signal, closes everything in reverse."""

import asyncio
import signal
import socket
import sys
from typing import Final

import structlog
import zmq.asyncio

from gateway.accounts import Accounts
from gateway.config import GatewayConfig
from gateway.limits import GATEWAY_DRAIN_S
from gateway.providers.openai import OpenAI
from gateway.server import Gateway
from gateway.spool_keeper import SpoolKeeper
from gateway.usage import UsageSender
from shared.config import Address
from shared.errors import ConfigError, ExitCode
from shared.metrics import Metrics
from shared.ops import OpsServer
from shared.transport import LINGER_MS

log = structlog.get_logger()

BACKLOG: Final = 1024
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
    listener = _listen(config)
    keeper = _open_spool(config)
    context = zmq.asyncio.Context()
    accounts = Accounts(context, config.rpc_endpoint, grant_cache_s=config.grant_cache_s)
    accounts.start()
    usage = UsageSender(
        context,
        usage_endpoint=config.usage_endpoint,
        events_endpoint=config.events_endpoint,
        accounts=accounts,
        keeper=keeper,
    )
    usage.start()
    provider = OpenAI(base_url=config.openai_base_url, api_key=config.openai_api_key)
    gateway = Gateway(accounts=accounts, usage=usage, provider=provider)
    ops = _open_ops(config, gateway, usage)
    server = await loop.create_server(gateway.make_leg, sock=listener, backlog=BACKLOG)
    _announce(listener, ops)
    await stop.wait()

    log.info("draining")
    gateway.is_draining = True
    if config.reuse_port:  # a neighbour on the same port takes new clients at once
        server.close()
    await gateway.drain(GATEWAY_DRAIN_S)
    server.close()
    unsettled = await usage.close(LINGER_MS / 1000)
    await accounts.close()
    if ops is not None:
        await asyncio.to_thread(ops.close)
    await asyncio.to_thread(context.term)
    if unsettled:
        fate = "the next gateway sends it" if keeper else "lost: there is no spool"
        log.error("usage not delivered", batches=unsettled, fate=fate)
    log.info("stopped")
    _ignore_signals(loop)
    return ExitCode.NOT_NOW if unsettled else ExitCode.DONE


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Everything is done: a second SIGTERM must not turn a clean exit into a killed process."""
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _open_spool(config: GatewayConfig) -> SpoolKeeper | None:
    if config.spool_dir is None:
        return None
    try:
        return SpoolKeeper(config.spool_dir, config.retention)
    except OSError as exc:
        raise ConfigError(
            f"GATEWAY_SPOOL_DIR: cannot write {config.spool_dir}: {exc.strerror}",
            hint="name a folder on a disk of this machine that has space",
        ) from exc


def _listen(config: GatewayConfig) -> socket.socket:
    address = config.listen
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address.host, address.port))
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"GATEWAY_LISTEN: cannot listen on {address}: {exc.strerror}",
            hint="stop what listens there, choose another address, or share the port between"
            " gateways with GATEWAY_REUSE_PORT=yes",
        ) from exc
    return listener


def _open_ops(config: GatewayConfig, gateway: Gateway, usage: UsageSender) -> OpsServer | None:
    if config.ops_listen is None:
        return None
    metrics = Metrics([*gateway.metrics(), *usage.metrics()])
    return OpsServer(config.ops_listen, live=gateway.live, ready=gateway.ready, metrics=metrics)


def _announce(listener: socket.socket, ops: OpsServer | None) -> None:
    host, port = listener.getsockname()[:2]
    line = f"ready gateway listen={Address(host, port)}"
    print(line + (f" ops={ops.address}" if ops else ""), flush=True)  # noqa: T201 - for scripts
