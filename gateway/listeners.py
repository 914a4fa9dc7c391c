"""The sockets on which clients arrive: bound before anything else is opened, closed at the end."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from gateway.config import OFF, GatewayConfig
from gateway.connections.certificate import CertificateReloader
from gateway.connections.listener import Listener
from gateway.connections.tls import TlsConnection
from gateway.session_registry import Registry
from shared.config import Address
from shared.errors import ConfigError


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

    def accept(
        self, make_connection: Callable[[], asyncio.Protocol], registry: Registry
    ) -> list[Listener]:
        """Accept clients as long as ``session_registry`` has a place for them."""
        makers: list[tuple[socket.socket, Callable[[], asyncio.Protocol]]] = []
        if self.plain is not None:
            makers.append((self.plain, make_connection))
        if self.tls is not None and (certificate := self.certificate) is not None:
            makers.append((self.tls, lambda: TlsConnection(make_connection(), certificate.context)))
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
