"""The connection to a provider: dialling it and the opening handshake of a WebSocket client.

``dial`` is called for sessions (``door.session_opener``) and for the sidebands of calls. It
promises an ``Upstream`` whose handshake is done, or ``ProviderUnavailableError`` within ``DIAL_S``
per try. The key is sent to the configured origin alone, and no error text holds it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.connections.close import TRY_AGAIN_LATER
from gateway.connections.connection import Connection, Discard, Sink
from gateway.connections.dialing import open_socket
from gateway.connections.provider_errors import (
    ProviderRedirectsError,
    ProviderUnavailableError,
    error_for,
)
from gateway.connections.tls import TlsConnection
from gateway.limits import DIAL_S, HANDSHAKE_BYTES_MAX
from shared.errors import cause_of

_HEAD_END: Final = b"\r\n\r\n"
_PORTS: Final = {"http": 80, "https": 443}


class Upstream(Connection):
    """A connection to a provider; ``opened`` is done when its handshake is."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        sink: Sink,
        on_open: Callable[["Upstream"], None],
    ) -> None:
        """``on_open`` is called before the provider's first frame reaches ``sink``.

        A handshake that fails is reported by ``opened`` alone; ``sink`` is not called then.
        """
        uri = parse_uri(url)
        self._client_protocol = ClientProtocol(uri)
        super().__init__(self._client_protocol, expects_mask=False, sink=Discard())
        self._sink_when_open = sink
        self._headers = headers
        self._on_open = on_open
        self._head = bytearray()
        self._is_framed = False
        self.opened: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: ask for the upgrade."""
        super().connection_made(transport)
        request = self._client_protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._client_protocol.send_request(request)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        cause = f": {cause_of(exc)}" if exc else ""
        broken = f"the connection broke during the handshake{cause}"
        self._fail_opening(ProviderUnavailableError(broken, close_code=TRY_AGAIN_LATER))

    def _receive_handshake(self, data: bytes) -> None:
        """Take the head of the provider's answer; what follows a refusal is dropped."""
        if self.opened.done():
            return
        # Only the head goes to the protocol object: what follows it in the same read may be frames
        # already, and those are for our scanner.
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0 and len(self._head) <= HANDSHAKE_BYTES_MAX:
            return
        cut = end + len(_HEAD_END) if end >= 0 else len(self._head)
        head, rest = bytes(self._head[:cut]), bytes(self._head[cut:])
        self._head.clear()
        self._protocol.receive_data(head)
        if self._protocol.state is State.OPEN:
            self._protocol.events_received()
            self.sink = self._sink_when_open
            self._is_framed = True
            self._on_open(self)
            self.opened.set_result(None)
            if rest:
                self.data_received(rest)
        else:
            self._fail_opening(error_for(head))
            self.abort()

    def _fail_opening(self, failure: ProviderUnavailableError) -> None:
        if not self.opened.done():
            self.opened.set_exception(failure)


async def dial(
    url: str,
    headers: Mapping[str, str],
    *,
    sink: Sink,
    on_open: Callable[[Upstream], None],
    tls: ssl.SSLContext,
) -> Upstream:
    """Connect within ``DIAL_S``; raises ``ProviderUnavailableError``, whose text names no key.

    A redirect is followed once, to the same origin only: the key goes to nobody else.
    """
    try:
        return await _dial_once(url, headers, sink=sink, on_open=on_open, tls=tls)
    except ProviderRedirectsError as exc:
        there = _same_origin(url, exc.location)
        if there is None:
            raise
    return await _dial_once(there, headers, sink=sink, on_open=on_open, tls=tls)


async def _dial_once(
    url: str,
    headers: Mapping[str, str],
    *,
    sink: Sink,
    on_open: Callable[[Upstream], None],
    tls: ssl.SSLContext,
) -> Upstream:
    connection: Upstream | None = None
    transport: asyncio.Transport | None = None

    def make() -> asyncio.Protocol:
        nonlocal connection
        connection = Upstream(url, headers, sink=sink, on_open=on_open)
        return (
            TlsConnection(connection, tls, server_hostname=uri.host) if uri.secure else connection
        )

    try:
        uri = parse_uri(url)
        async with asyncio.timeout(DIAL_S):
            raw = await open_socket(uri.host, uri.port)
            connect = asyncio.get_running_loop().create_connection
            transport, _ = await connect(make, sock=raw)
            assert connection is not None
            await connection.opened
            return connection
    except TimeoutError:
        silent = f"no answer within {DIAL_S:g} s"
        raise ProviderUnavailableError(silent, close_code=TRY_AGAIN_LATER) from None
    except (OSError, InvalidURI, InvalidHandshake) as exc:
        raise ProviderUnavailableError(f"cannot connect: {cause_of(exc)}") from exc
    finally:
        if connection is not None and not _has_opened(connection):
            connection.opened.cancel()
            connection.abort()
            if transport is not None:  # the connection gets its transport when TLS is open
                transport.abort()


def _has_opened(connection: Upstream) -> bool:
    return (
        connection.opened.done()
        and not connection.opened.cancelled()
        and connection.opened.exception() is None
    )


def _same_origin(url: str, location: str) -> str | None:
    """Where ``location`` leads from ``url``, when that is the same scheme, host and port."""
    web = url.replace("ws", "http", 1)
    try:
        parts = urlsplit(urljoin(web, location))
        before = urlsplit(web)
        origins = [(x.scheme, x.hostname, x.port or _PORTS.get(x.scheme)) for x in (parts, before)]
    except ValueError:
        return None
    there = parts._replace(fragment="").geturl().replace("http", "ws", 1)
    return there if origins[0] == origins[1] else None
