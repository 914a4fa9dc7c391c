"""Plain HTTP answers; the connection is closed after each. Pure."""

import email.utils
import http
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

from shared.errors import RealtimeSwitchError

JSON: Final = "application/json"
# For answers that depend on a key or a balance: no cache keeps them, no browser guesses their type.
PRIVATE: Final = MappingProxyType(
    {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
)
_NO_HEADERS: Final = MappingProxyType[str, str]({})


class BrokenOffError(RealtimeSwitchError):
    """The rest of a download cannot be produced."""


@dataclass(frozen=True, slots=True)
class Download:
    """An answer of any length, produced piece by piece at the pace of the client.

    ``pieces`` raises ``BrokenOffError`` when it cannot go on; the connection is then closed without
    the end of the body, which the client notices.
    """

    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Reversible:
    """The answer to a request that changed something. ``undo`` is called when the client has left
    before it could be sent: the call that was made for it is hung up.
    """

    response: Response
    undo: Callable[[], None] = lambda: None


def download(
    pieces: AsyncGenerator[bytes, None],
    media_type: str,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Download:
    """An answer whose body are ``pieces``."""
    return Download(_general({"Content-Type": media_type, **headers}), pieces)


def response(
    status: int, content: bytes, media_type: str, headers: Mapping[str, str] = _NO_HEADERS
) -> Response:
    """An answer with ``content`` as its body."""
    described = {"Content-Type": media_type, "Content-Length": str(len(content)), **headers}
    return _complete(status, content, described)


def not_modified(headers: Mapping[str, str]) -> Response:
    """304: the client's copy is current (RFC 9110 section 15.4.5: no body, no length)."""
    return _complete(304, b"", headers)


def json_response(status: int, body: object, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    """An answer in JSON."""
    return response(status, json.dumps(body).encode(), JSON, headers)


def _complete(status: int, content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(status, http.HTTPStatus(status).phrase, Headers(_general(headers)), content)


def _general(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {"Date": email.utils.formatdate(usegmt=True), "Connection": "close", **headers}
