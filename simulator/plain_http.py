"""Plain HTTP on the port of the WebSockets: a POST is answered, everything else is a handshake."""

import asyncio
import http
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import h11
import structlog
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response

from simulator.admission import json_response

log = structlog.get_logger()

BODY_BYTES_MAX: Final = 256 * 1024
_POST: Final = b"P"


@dataclass(frozen=True, slots=True)
class Posted:
    """A complete request."""

    target: str
    headers: Headers
    body: bytes


Answer = Callable[[Posted], Awaitable[Response]]


class Door(ServerConnection):
    """A connection whose first bytes decide: a POST is answered, all else is a handshake."""

    answer: ClassVar[Answer]

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._early: asyncio.Transport | None = None
        self._post: _Post | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._early = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._early is not None:
            early, self._early = self._early, None
            if data.startswith(_POST):
                self._post = _Post(early, type(self).answer)
            else:
                super().connection_made(early)
        if self._post is not None:
            self._post.receive(data)
        else:
            super().data_received(data)

    def eof_received(self) -> None:
        """Called by the event loop."""
        if self._is_websocket:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self._is_websocket:
            super().connection_lost(exc)

    @property
    def _is_websocket(self) -> bool:
        return self._early is None and self._post is None


def connection_class(answer: Answer) -> type[ServerConnection]:
    """The connections of a server whose POSTs are answered by ``answer``."""
    return type("AnsweringDoor", (Door,), {"answer": staticmethod(answer)})


class _Post:
    """One POST: its answer closes the connection."""

    def __init__(self, transport: asyncio.Transport, answer: Answer) -> None:
        self._transport = transport
        self._answer = answer
        self._h11 = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the request."""
        try:
            self._h11.receive_data(data)
            self._read()
        except h11.RemoteProtocolError:
            self._transport.abort()

    def _read(self) -> None:
        while self._task is None:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_BYTES_MAX:
                    self._transport.abort()
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._task = asyncio.get_running_loop().create_task(self._serve())
            else:
                return

    async def _serve(self) -> None:
        assert self._head is not None
        headers = Headers((n.decode(), v.decode("latin-1")) for n, v in self._head.headers)
        posted = Posted(self._head.target.decode(), headers, bytes(self._body))
        try:
            response = await self._answer(posted)
        except Exception:
            log.exception("answer failed")
            response = json_response(http.HTTPStatus.INTERNAL_SERVER_ERROR, {"error": {}})
        if not self._transport.is_closing():
            self._transport.write(response.serialize())
            self._transport.close()
