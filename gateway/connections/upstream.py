"""The connection to a provider: dialling it and the opening handshake of a WebSocket client.

``dial`` is called for sessions (``door.session_opener``) and for the sidebands of calls. It
promises an ``Upstream`` whose handshake is done, or ``ProviderUnavailableError`` within ``DIAL_S``
per try. The key is sent to the configured origin alone, and no error text holds it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urljoin, urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.protocol import State
from websockets.uri import WebSocketURI
from websockets.utils import generate_key

from gateway.connections import handshakes
from gateway.connections.close import TRY_AGAIN_LATER
from gateway.connections.connection import Connection
from gateway.connections.dialing import connect
from gateway.connections.provider_errors import (
    ProviderRedirectsError,
    ProviderUnavailableError,
    error_for,
)
from gateway.connections.sink import Discard, Sink
from gateway.connections.tls import TlsConnection
from gateway.limits import DIAL_S, HANDSHAKE_BYTES_MAX
from shared.errors import cause_of

_HEAD_END: Final = b"\r\n\r\n"
_PORTS: Final = {"http": 80, "https": 443}


class Upstream(Connection):
    """A connection to a provider; ``opened`` is done when its handshake is, and then forgotten."""

    __slots__ = ("_opening", "opened")

    def __init__(
        self,
        uri: WebSocketURI,
        headers: Mapping[str, str],
        *,
        sink: Sink,
        on_open: Callable[["Upstream"], None],
    ) -> None:
        """``on_open`` is called before the provider's first frame reaches ``sink``.

        A handshake that fails is reported by ``opened`` alone; ``sink`` is not called then.
        """
        super().__init__(expects_mask=False, sink=Discard())
        self._opening: _Opening | None = _Opening(uri, headers, sink, on_open)
        self._is_framed = False
        self.opened: asyncio.Future[None] | None = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: ask for the upgrade."""
        super().connection_made(transport)
        assert self._opening is not None
        transport_write = cast(asyncio.Transport, transport).write
        transport_write(self._opening.request())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        cause = f": {cause_of(exc)}" if exc else ""
        broken = f"the connection broke during the handshake{cause}"
        self._fail_opening(ProviderUnavailableError(broken, close_code=TRY_AGAIN_LATER))

    def _receive_handshake(self, data: bytes) -> None:
        """Take the head of the provider's answer; what follows a refusal is dropped."""
        opening = self._opening
        if opening is None or self.opened is None or self.opened.done():
            return
        # Only the head goes to the protocol object: what follows it in the same read may be frames
        # already, and those are for our scanner.
        opening.head += data
        del opening.head[: handshakes.end_of_interim(opening.head)]
        end = opening.head.find(_HEAD_END)
        if end < 0 and len(opening.head) <= HANDSHAKE_BYTES_MAX:
            return
        cut = end + len(_HEAD_END) if end >= 0 else len(opening.head)
        head, rest = bytes(opening.head[:cut]), bytes(opening.head[cut:])
        self._opening = None
        if opening.is_accepted_by(head):
            self.sink = opening.sink
            self._is_framed = True
            opening.on_open(self)
            self.opened.set_result(None)
            self.opened = None
            if rest:
                self.data_received(rest)
        else:
            self._fail_opening(error_for(head))
            self.abort()

    def _fail_opening(self, failure: ProviderUnavailableError) -> None:
        if self.opened is not None and not self.opened.done():
            self.opened.set_exception(failure)


@dataclass(slots=True)
class _Opening:
    """What is of use until the handshake is done."""

    uri: WebSocketURI
    headers: Mapping[str, str]
    sink: Sink
    on_open: Callable[[Upstream], None]
    key: str = field(default_factory=generate_key)
    head: bytearray = field(default_factory=bytearray)  # of the answer

    def request(self) -> bytes:
        """What asks for the upgrade."""
        usual = handshakes.request_of(self.uri, self.headers, self.key)
        if usual is not None:
            return usual
        protocol = self._protocol()
        protocol.parser.close()
        request = protocol.connect()
        for name, value in self.headers.items():
            request.headers[name] = value
        return request.serialize()

    def is_accepted_by(self, head: bytes) -> bool:
        """Whether the provider's answer upgrades the connection."""
        if handshakes.accepts(head, self.key):
            return True
        if head.split(None, 2)[1:2] != [b"101"]:  # RFC 6455 section 4.2.2: another is a refusal
            return False
        protocol = self._protocol()
        protocol.receive_data(head)
        protocol.parser.close()
        if protocol.handshake_exc is not None:
            protocol.handshake_exc.__traceback__ = None  # it refers to the protocol object
        return protocol.state is State.OPEN

    def _protocol(self) -> ClientProtocol:
        """The rules of the handshake, for one that has not the usual form. Close its parser: it
        refers to the protocol object, which refers to it.
        """
        protocol = ClientProtocol(self.uri)
        protocol.key = self.key
        return protocol


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
        connection = Upstream(uri, headers, sink=sink, on_open=on_open)
        protocol = connection.as_protocol()
        return TlsConnection(protocol, tls, server_hostname=uri.host) if uri.secure else protocol

    try:
        uri = handshakes.uri_of(url)
        async with asyncio.timeout(DIAL_S):
            transport = await connect(make, uri.host, uri.port)
            assert connection is not None
            if connection.opened is not None:
                await connection.opened
            return connection
    except TimeoutError:
        silent = f"no answer within {DIAL_S:g} s"
        raise ProviderUnavailableError(silent, close_code=TRY_AGAIN_LATER) from None
    except (OSError, InvalidURI, InvalidHandshake) as exc:
        raise ProviderUnavailableError(f"cannot connect: {cause_of(exc)}") from exc
    finally:
        if connection is not None and connection.opened is not None:
            connection.opened.cancel()
            connection.abort()
            if transport is not None:  # the connection gets its transport when TLS is open
                transport.abort()
        # What is raised refers to this frame, and the connection to what is raised: a circle that
        # holds the session.
        connection = transport = None


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
