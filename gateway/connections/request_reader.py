"""Reads what a client asks for: a WebSocket handshake, or a plain HTTP request with its body. Pure.

``Downstream`` feeds it the first bytes of a connection until there is an answer to give. A
handshake belongs to ``handshakes`` and ``websockets``, anything else to h11 (``http.exchange``).
They get the request alone: bytes behind a handshake's head are frames, and those are left in
``rest``.
"""

import re
from collections.abc import Sequence
from typing import Final

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.connections import handshakes
from gateway.connections.handshakes import Asked
from gateway.http.exchange import (
    HEAD_END,
    REALTIME_SUBPROTOCOL,
    Exchange,
    HttpRequest,
    is_handshake,
)
from gateway.http.refusals import Refusal, bad_request, wrong_version
from gateway.limits import HANDSHAKE_BYTES_MAX, HEADERS_MAX

# RFC 8446 section 5.1: the first byte of a TLS connection. No HTTP method begins with it.
TLS_RECORD: Final = 22
SWITCHING: Final = 101
_TARGET: Final = re.compile(rb"[A-Z]+ ([\x21-\x7e]+) HTTP/")


class RequestReader:
    """One request of one client."""

    __slots__ = ("_asked", "_head", "_protocol", "exchange", "rest", "target")

    def __init__(self) -> None:
        self._asked: Asked | None = None  # a handshake in the usual form
        self._protocol: _Handshake | None = None  # one in another form
        self._head = bytearray()
        # What frames the answer to a plain request; None while the head is incomplete, and for a
        # handshake.
        self.exchange: Exchange | None = None
        self.rest = b""
        self.target = ""  # of what is no handshake, once its first line has come

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

    def acceptance(self, *, wall_s: int) -> bytes | Refusal:
        """The answer that accepts the handshake, or why it cannot be accepted. ``wall_s``: seconds
        since the epoch.
        """
        if self._asked is not None:
            return handshakes.acceptance(self._asked, wall_s=wall_s)
        assert self._protocol is not None
        response = self._protocol.accept(self._protocol.request)
        if self._protocol.request.headers.get_all("Sec-WebSocket-Version") != ["13"]:
            return wrong_version()
        if response.status_code != SWITCHING:
            return bad_request(f"not a WebSocket handshake: {self._protocol.handshake_exc}")
        return response.serialize()

    def close(self) -> None:
        """The request was answered.

        The parser of a protocol object is a generator that refers to it, a circle that only the
        collector would find.
        """
        if self._protocol is not None:
            self._protocol.parser.close()

    def _receive_head(self) -> Request | HttpRequest | Refusal | None:
        end = self._head.find(HEAD_END)
        if end < 0 and len(self._head) <= HANDSHAKE_BYTES_MAX:
            return None
        if not 0 <= end <= HANDSHAKE_BYTES_MAX:
            self.target = _target_in(self._head)
            too_large = f"request head over {HANDSHAKE_BYTES_MAX} bytes"
            return bad_request(too_large, code="headers_too_large")
        whole, self._head = bytes(self._head), bytearray()
        cut = end + len(HEAD_END)
        head, rest = whole[:cut], whole[cut:]
        self._asked = handshakes.read_request(head)
        if self._asked is None and not is_handshake(head):
            self.target = _target_in(head)
            if head.count(b"\n") > HEADERS_MAX + 2:  # the first line, and the empty one
                too_many = f"found more than {HEADERS_MAX} headers"
                return bad_request(too_many, code="headers_too_large")
            self.exchange = Exchange()
            return self.exchange.receive(whole)
        self.rest = rest
        return self._asked.request if self._asked is not None else self._check_handshake(head)

    def _check_handshake(self, head: bytes) -> Request | Refusal:
        self._protocol = protocol = _Handshake()
        protocol.receive_data(head)
        cause = protocol.handshake_exc
        if cause is not None:
            return bad_request(str(cause.__cause__ or cause))
        (request,) = protocol.events_received()  # the head is whole
        assert isinstance(request, Request)
        protocol.request = request
        return request


def _target_in(head: bytes | bytearray) -> str:
    found = _TARGET.match(head)
    return "" if found is None else found[1].decode("ascii")


class _Handshake(ServerProtocol):
    """The rules of an opening handshake with a client."""

    request: Request

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """``realtime`` if it is offered, as browsers need an answer. A browser offers its key as a
        subprotocol, too, and that is never sent back.
        """
        name = Subprotocol(REALTIME_SUBPROTOCOL)
        return name if name in subprotocols else None
