"""The sockets on which clients arrive: bound before anything else is opened, closed at the end."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.callers.client_address import Telling, TrustedProxies
from gateway.callers.proxy_prelude import ProxyPrelude
from gateway.config import OFF, GatewayConfig
from gateway.connections.certificate import CertificateReloader
from gateway.connections.downstream import Downstream
from gateway.connections.listener import Listener
from gateway.connections.tls import TlsConnection
from gateway.session_registry import Registry
from shared.config import Address
from shared.errors import ConfigError


class Door(Protocol):
    """Who decides about connections that arrive (``server``)."""

    def make_connection(self, host: str) -> Downstream | None:
        """For a client, or a proxy, that connects from ``host``; None where it is to be cut."""

    def client_told(self, connection: Downstream, client: str | None) -> bool:
        """A trusted proxy has said whose ``connection`` it passes on, None: its own; false where it
        is to be cut.
        """


@dataclass(frozen=True, slots=True)
class Listeners:
    """One socket for plain TCP, one for TLS with its certificate; either may be absent."""

    plain: socket.socket | None
    tls: socket.socket | None
    certificate: CertificateReloader | None

    @classmethod
    def bind(cls, config: GatewayConfig) -> "Listeners":
        """Load the certificate and bind the sockets. Raises ``ConfigError``."""
        certificate = None
        if config.tls is not None:
            certificate = CertificateReloader(config.tls.cert, config.tls.key)
        plain = tls = None
        if config.listen is not None:
            plain = _bind("GATEWAY_LISTEN", config.listen, shares=config.reuse_port)
        if config.tls is not None:
            tls = _bind("GATEWAY_TLS_LISTEN", config.tls.listen, shares=config.reuse_port)
        return cls(plain, tls, certificate)

    def accept(self, gateway: Door, registry: Registry, proxies: TrustedProxies) -> list[Listener]:
        """Accept clients as long as ``session_registry`` has a place for them."""

        def plain(host: str) -> asyncio.Protocol | None:
            client = gateway.make_connection(host)
            return None if client is None else prefaced(client, client.as_protocol(), host)

        def tls(host: str) -> asyncio.Protocol | None:
            assert self.certificate is not None
            client = gateway.make_connection(host)
            if client is None:
                return None
            secure = TlsConnection(client.as_protocol(), self.certificate.context)
            client.carrier = secure
            return prefaced(client, secure, host)

        def prefaced(client: Downstream, protocol: asyncio.Protocol, host: str) -> asyncio.Protocol:
            if proxies.telling is not Telling.PROXY_V2 or not proxies.has(host):
                return protocol
            prelude = ProxyPrelude(protocol, lambda told: gateway.client_told(client, told))
            client.carrier = prelude
            return prelude

        makers: list[tuple[socket.socket, Callable[[str], asyncio.Protocol | None]]] = []
        if self.plain is not None:
            makers.append((self.plain, plain))
        if self.tls is not None:
            makers.append((self.tls, tls))
        listeners = [
            Listener(to, make, has_capacity=registry.has_capacity_for_client) for to, make in makers
        ]
        for listener in listeners:
            registry.on_client_gone.append(listener.wake)
            listener.start()
        return listeners

    def __str__(self) -> str:
        """Where they listen, for the line that says that the gateway is ready."""
        plain = str(_address(self.plain)) if self.plain else OFF
        return f"listen={plain}" + (f" tls={_address(self.tls)}" if self.tls else "")


def _bind(name: str, address: Address, *, shares: bool) -> socket.socket:
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


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)
