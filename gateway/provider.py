"""The leg to a provider: dialling it and the opening handshake of a WebSocket client."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.leg import Leg, Nobody, Sink
from gateway.limits import DIAL_S, HANDSHAKE_BYTES_MAX
from gateway.tls import TlsConnection
from shared.errors import PeerError, cause_of

_HEAD_END: Final = b"\r\n\r\n"


# Refusals that may pass: too many requests, and a provider that is busy or being restarted.
_PASSING_STATUS: Final = ("429", "502", "503", "504")
TRY_AGAIN_LATER: Final = 1013


class ProviderUnavailableError(PeerError):
    """The provider could not be reached or refused the connection."""

    def __init__(self, message: str = "", *, close_code: int = 1011) -> None:
        super().__init__(message, code="provider_unavailable", close_code=close_code)


class ProviderLeg(Leg):
    """A connection to a provider; ``opened`` is done when its handshake is."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        sink: Sink,
        on_open: Callable[["ProviderLeg"], None],
    ) -> None:
        """``on_open`` is called before the provider's first frame reaches ``sink``.

        ``sink`` hears of nothing before: a handshake that fails is told by ``opened`` alone.
        """
        uri = parse_uri(url)
        self._client_protocol = ClientProtocol(uri)
        super().__init__(self._client_protocol, expects_mask=False, sink=Nobody())
        self._sink_when_open = sink
        self._headers = headers
        self._on_open = on_open
        self._head = bytearray()
        self.opened: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: ask for the upgrade."""
        super().connection_made(transport)
        request = self._client_protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._client_protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: the handshake first, frames after it."""
        if self._protocol.state is not State.CONNECTING:
            super().data_received(data)
        elif not self.opened.done():
            self._receive_head(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        cause = f": {cause_of(exc)}" if exc else ""
        broken = f"the connection broke during the handshake{cause}"
        self._fail_opening(ProviderUnavailableError(broken, close_code=TRY_AGAIN_LATER))

    def _receive_head(self, data: bytes) -> None:
        # Only the head goes to the protocol object: what follows it in the same read may already
        # be frames, which are ours to scan.
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
            self._on_open(self)
            self.opened.set_result(None)
            if rest:
                super().data_received(rest)
        else:
            self._fail_opening(_refused(head))
            self.abort()

    def _fail_opening(self, failure: ProviderUnavailableError) -> None:
        if not self.opened.done():
            self.opened.set_exception(failure)


async def dial(
    url: str,
    headers: Mapping[str, str],
    *,
    sink: Sink,
    on_open: Callable[[ProviderLeg], None],
    tls: ssl.SSLContext,
) -> ProviderLeg:
    """Connect within ``DIAL_S``; raises ``ProviderUnavailableError``, whose text names no key."""
    leg: ProviderLeg | None = None
    transport: asyncio.Transport | None = None

    def make() -> asyncio.Protocol:
        nonlocal leg
        leg = ProviderLeg(url, headers, sink=sink, on_open=on_open)
        return TlsConnection(leg, tls, server_hostname=uri.host) if uri.secure else leg

    try:
        uri = parse_uri(url)
        async with asyncio.timeout(DIAL_S):
            connect = asyncio.get_running_loop().create_connection
            transport, _ = await connect(make, uri.host, uri.port)
            assert leg is not None
            await leg.opened
            return leg
    except TimeoutError:
        silent = f"no answer within {DIAL_S:g} s"
        raise ProviderUnavailableError(silent, close_code=TRY_AGAIN_LATER) from None
    except (OSError, InvalidURI, InvalidHandshake) as exc:
        raise ProviderUnavailableError(f"cannot connect: {cause_of(exc)}") from exc
    finally:
        if leg is not None and not _has_opened(leg):
            leg.opened.cancel()
            leg.abort()
            if transport is not None:  # the leg does not know it before TLS is there
                transport.abort()


def _has_opened(leg: ProviderLeg) -> bool:
    return leg.opened.done() and not leg.opened.cancelled() and leg.opened.exception() is None


def _refused(head: bytes) -> ProviderUnavailableError:
    """By the status line alone; the body might quote a part of the provider key."""
    words = head.split(b"\r\n", 1)[0].split()
    code = words[1].decode(errors="replace")[:3] if len(words) > 1 else "no status"
    close_code = TRY_AGAIN_LATER if code in _PASSING_STATUS else 1011
    return ProviderUnavailableError(f"refused the connection: {code}", close_code=close_code)
