"""A plain HTTP exchange without a socket: bytes in, a request out; an answer in, bytes out. Pure.

h11 parses and frames. A connection carries one request and is closed by the answer: a connection
then has one request to answer, and keeping it open would save little, because the page is loaded
once. Used by ``connections.request_reader`` and ``connections.answer_writer``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import h11
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.http11 import Request

from gateway.http.refusals import Refusal, bad_request
from gateway.limits import BODY_BYTES_MAX, CHUNKS_MAX, HANDSHAKE_BYTES_MAX

HEAD_END: Final = b"\r\n\r\n"
# Selected when a client offers it. The subprotocol that carries a key is never selected.
REALTIME_SUBPROTOCOL: Final = "realtime"
# RFC 6455 section 4.1: a GET whose Upgrade names websocket, among others perhaps, in any case.
_HANDSHAKE: Final = re.compile(rb"GET .*?\r\nupgrade:[^\r\n]*\bwebsocket\b", re.I | re.S)


def is_handshake(head: bytes) -> bool:
    """Whether a request's head asks for a WebSocket; otherwise it is plain HTTP."""
    return head.startswith(b"GET ") and _HANDSHAKE.match(head) is not None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A complete request. ``body`` is empty where there is none; ``path_parameters`` are what the
    pattern of an endpoint names in the path (``gateway.endpoints.api``).
    """

    method: str
    target: str
    headers: Headers
    body: bytes
    path_parameters: Mapping[str, str] = field(default_factory=dict)


def target_of(request: Request | HttpRequest) -> str:
    """What a request's first line names: a path, and a query perhaps."""
    return request.path if isinstance(request, Request) else request.target


class Exchange:
    """Reads one request, and frames an answer of unknown length in chunks."""

    def __init__(self) -> None:
        # The caller bounds the request's head and passes it whole; this bound is for the heads of
        # chunks.
        head_bytes_max = HANDSHAKE_BYTES_MAX + len(HEAD_END)
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes_max)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._received = 0
        self._chunks = 0
        self._to_send = b""

    @property
    def is_head(self) -> bool:
        """Whether the answer must have no body (HEAD, RFC 9110 section 9.3.2)."""
        return self._head is not None and self._head.method == b"HEAD"

    def receive(self, data: bytes) -> HttpRequest | Refusal | None:
        """The request once it is complete, a refusal of a wrong one, or None while it is not."""
        try:
            self._h11.receive_data(data)
            self._received += len(data)
            found = self._read()
            is_over = self._received > HANDSHAKE_BYTES_MAX + 2 * BODY_BYTES_MAX
            return _too_large() if found is None and is_over else found
        except h11.RemoteProtocolError as exc:
            return bad_request(str(exc))
        except InvalidHeader:  # h11 allows more than websockets, whose message holds the value
            return bad_request("found a header with a control character")

    def data_to_send(self) -> bytes:
        """What to send now: 100 Continue, for a client that waits for it before its body."""
        data, self._to_send = self._to_send, b""
        return data

    def begin(self, headers: Mapping[str, str]) -> bytes:
        """The head of an answer with status 200.

        The body follows in chunks, so that a client notices when it is incomplete (RFC 9112
        section 8). To a client of HTTP/1.0, which has no chunks, h11 sends it until the close.
        """
        pairs = list(headers.items())
        return self._framed(h11.Response(status_code=200, headers=pairs, reason=b"OK"))

    def piece(self, data: bytes) -> bytes:
        """A part of the body; not empty."""
        return self._framed(h11.Data(data=data))

    def end(self) -> bytes:
        """The end of the body."""
        return self._framed(h11.EndOfMessage())

    def _framed(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        return self._h11.send(event) or b""

    def _read(self) -> HttpRequest | Refusal | None:
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._head = event
                if _announced(event) > BODY_BYTES_MAX:
                    return _too_large()
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(
                        status_code=100, headers=[], reason=b"Continue"
                    )
                    self._to_send = self._h11.send(go_on) or b""
            elif isinstance(event, h11.Data):
                self._body += event.data
                self._chunks += event.chunk_start
                if len(self._body) > BODY_BYTES_MAX or self._chunks > CHUNKS_MAX:
                    return _too_large()
            elif isinstance(event, h11.EndOfMessage):
                return self._whole()
            else:
                return None

    def _whole(self) -> HttpRequest:
        assert self._head is not None
        pairs = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in self._head.headers
        ]
        method, target = self._head.method.decode("ascii"), self._head.target.decode("ascii")
        return HttpRequest(method, target, Headers(pairs), bytes(self._body))


def _announced(head: h11.Request) -> int:
    """``Content-Length``, 0 where there is none; h11 has checked that it is one number."""
    return int(dict(head.headers).get(b"content-length", b"0"))


def _too_large() -> Refusal:
    expected = f"expected a body of at most {BODY_BYTES_MAX} bytes in {CHUNKS_MAX} chunks"
    return Refusal(413, "body_too_large", expected)
