"""Reads what a client asks for: a WebSocket handshake, or a plain HTTP request with its body. Pure.

``Downstream`` feeds it the first bytes of a connection until there is an answer to give. A
handshake belongs to ``websockets``, anything else to h11 (``http.exchange``). Both get the request
alone: bytes behind a handshake's head are frames, and those are left in ``rest``.
"""

from typing import Final

from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.http.exchange import HEAD_END, Exchange, HttpRequest, is_handshake
from gateway.http.refusals import Refusal, bad_request
from gateway.limits import HANDSHAKE_BYTES_MAX

# RFC 8446 section 5.1: the first byte of a TLS connection. No HTTP method begins with it.
TLS_RECORD: Final = 22


class RequestReader:
    """One request of one client. ``protocol`` checks a handshake and is then used to accept it."""

    def __init__(self, protocol: ServerProtocol) -> None:
        self._protocol = protocol
        self._head = bytearray()
        # What frames the answer to a plain request; None while the head is incomplete, and for a
        # handshake.
        self.exchange: Exchange | None = None
        self.rest = b""

    def receive(self, data: bytes) -> Request | HttpRequest | Refusal | None:
        """The request once it is complete, why it cannot be served, or None: more has to come."""
        if self.exchange is not None:
            return self.exchange.receive(data)
        self._head += data
        if self._head[0] == TLS_RECORD:
            # A ClientHello never holds the end of a request, so the client would wait for ever.
            tls = "this port speaks plain HTTP; use http:// or ws://"
            return bad_request(tls, code="no_tls_here")
        return self._receive_head()

    def data_to_send(self) -> bytes:
        """What the client waits for before it sends its body (100 Continue)."""
        return b"" if self.exchange is None else self.exchange.data_to_send()

    def _receive_head(self) -> Request | HttpRequest | Refusal | None:
        end = self._head.find(HEAD_END)
        if end < 0 and len(self._head) <= HANDSHAKE_BYTES_MAX:
            return None
        if not 0 <= end <= HANDSHAKE_BYTES_MAX:
            too_large = f"request head over {HANDSHAKE_BYTES_MAX} bytes"
            return bad_request(too_large, code="headers_too_large")
        whole, self._head = bytes(self._head), bytearray()
        cut = end + len(HEAD_END)
        if not is_handshake(whole[:cut]):
            self.exchange = Exchange()
            return self.exchange.receive(whole)
        self.rest = whole[cut:]
        return self._check_handshake(whole[:cut])

    def _check_handshake(self, head: bytes) -> Request | Refusal:
        self._protocol.receive_data(head)
        cause = self._protocol.handshake_exc
        if cause is not None:
            return bad_request(str(cause.__cause__ or cause))
        (request,) = self._protocol.events_received()  # the head is whole
        assert isinstance(request, Request)
        return request
