"""The first bytes of a connection from a proxy that speaks the PROXY protocol.

``listeners`` puts one before the protocol of each such connection, TLS or not. It takes the header,
tells who the client is, and steps out of the way: the event loop then calls the protocol directly.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from gateway.callers import proxy_header
from gateway.callers.proxy_header import ProxyHeaderError
from gateway.limits import HANDSHAKE_S

log = structlog.get_logger()


class ProxyPrelude(asyncio.Protocol):
    """Reads the header, then hands the transport over."""

    def __init__(self, protocol: asyncio.Protocol, on_client: Callable[[str | None], bool]) -> None:
        """``on_client`` is told the client's address, None where the proxy asks for itself; false:
        the connection is cut.
        """
        self._protocol = protocol
        self._on_client = on_client
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the header has the time that a handshake has."""
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._received += data
        try:
            header = proxy_header.read(bytes(self._received[: proxy_header.BYTES_MAX]))
        except ProxyHeaderError as exc:
            log.warning("proxy refused", reason=str(exc))
            self._transport.abort()
            return
        if header is None:
            return
        self._stop_timer()
        if not self._on_client(header.client):
            self._transport.abort()
            return
        self._transport.set_protocol(self._protocol)
        self._protocol.connection_made(self._transport)
        if rest := bytes(self._received[header.size :]):
            self._protocol.data_received(rest)

    @property
    def is_connected(self) -> bool:
        """Whether the client is there."""
        return self._transport is not None

    def abort(self) -> None:
        """Cut the connection now, whoever has it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop where the connection ends before the header."""
        self._stop_timer()
        self._protocol.connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
