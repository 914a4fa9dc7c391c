"""Opening handshakes in their usual form, without a parser for each connection. Pure.

``websockets`` owns the rules (RFC 6455 section 4); its protocol objects cost a seventh of a
session's opening. Here one pattern recognises what nearly every peer sends: lines of printable
ASCII, and each header that matters once, in a plain form. Everything else, right or wrong, is left
to ``websockets``: the answer is then None, or false. tests/property/gateway/connections holds that
both say the same. ``request_reader`` asks about clients, ``upstream`` about providers.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Final, NamedTuple

from websockets.datastructures import Headers
from websockets.headers import build_host
from websockets.http11 import Request
from websockets.uri import WebSocketURI, parse_uri
from websockets.utils import accept_key

from gateway.http.exchange import REALTIME_SUBPROTOCOL

# ``websockets`` has limits of its own, above these: 128 headers and 8 KiB a line.
_HEAD_BYTES_MAX: Final = 8_000
_HEADERS_MAX: Final = 100
_FIELDS: Final = rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\x20-\x7e]*\r\n)+\r\n"
_REQUEST: Final = re.compile(rb"GET [\x21-\x7e]+ HTTP/1\.1\r\n" + _FIELDS)
_SWITCHING: Final = re.compile(rb"HTTP/1\.1 101 [\x20-\x7e]*\r\n" + _FIELDS)
_INTERIM: Final = re.compile(rb"HTTP/1\.1 1(?!01)[0-9][0-9][ \r]")
# 16 bytes in base64; the last character has no bits to spare.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_NAMES: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+(?:, ?[-!#$%&'*+.^_`|~0-9a-zA-Z]+)*")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_CONNECTIONS: Final = frozenset({"upgrade", "keep-alive, upgrade"})
# Of a provider's answer; any other of these is not usual.
_EXPECTED: Final = frozenset({"connection", "upgrade", "sec-websocket-accept"})
_UNUSUAL: Final = frozenset(
    {
        "sec-websocket-extensions", "sec-websocket-protocol", "transfer-encoding",
        "content-length",
    }
)  # fmt: skip
# They hold no key. A provider's differ by model, so few are usual. One with an id in its query (a
# call's, an attached session's) comes once: it costs as much as without this, and pushes one out.
_uri_of = functools.lru_cache(maxsize=64)(parse_uri)
_host_of = functools.lru_cache(maxsize=64)(build_host)


class Asked(NamedTuple):
    """A client's usual handshake, which may be accepted."""

    request: Request
    key: str
    subprotocol: str | None


# --- with a client -------------------------------------------------------------------------------


def read_request(head: bytes) -> Asked | None:
    """What a whole head asks for, when it can be accepted; None: ``websockets`` is to decide."""
    if len(head) > _HEAD_BYTES_MAX or _REQUEST.fullmatch(head) is None:
        return None
    first, *lines = head[:-4].decode("ascii").split("\r\n")
    if len(lines) > _HEADERS_MAX:
        return None
    headers = Headers()
    for name, value in _split(lines):
        headers.set_insecure(name, value)
    if "Transfer-Encoding" in headers or "Content-Length" in headers:
        return None
    connection, upgrade = headers.get_all("Connection"), headers.get_all("Upgrade")
    keys, versions = headers.get_all("Sec-WebSocket-Key"), headers.get_all("Sec-WebSocket-Version")
    offered = headers.get_all("Sec-WebSocket-Protocol")
    is_usual = (
        len(connection) == len(upgrade) == len(keys) == 1
        and connection[0].lower() in _CONNECTIONS
        and upgrade[0].lower() == "websocket"
        and _KEY.fullmatch(keys[0]) is not None
        and versions == ["13"]
        and len(headers.get_all("Origin")) <= 1
        and all(_NAMES.fullmatch(value) is not None for value in offered)
    )
    if not is_usual:
        return None
    names = {name.strip(" ") for value in offered for name in value.split(",")}
    subprotocol = REALTIME_SUBPROTOCOL if REALTIME_SUBPROTOCOL in names else None
    return Asked(Request(first[4:-9], headers), keys[0], subprotocol)


def acceptance(asked: Asked, *, wall_s: int) -> bytes:
    """The answer that accepts. ``wall_s``: seconds since the epoch."""
    chosen = f"Sec-WebSocket-Protocol: {asked.subprotocol}\r\n" if asked.subprotocol else ""
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {_date(wall_s)}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(asked.key)}\r\n{chosen}\r\n"
    ).encode()


# --- with a provider -----------------------------------------------------------------------------


def uri_of(url: str) -> WebSocketURI:
    """The parts of ``url``. Raises ``InvalidURI``."""
    return _uri_of(url)


def request_of(uri: WebSocketURI, headers: Mapping[str, str], key: str) -> bytes | None:
    """What asks ``uri`` for the upgrade; None: ``websockets`` is to say it."""
    if uri.username is not None or not all(map(_VALUE.fullmatch, headers.values())):
        return None
    own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"GET {uri.resource_name} HTTP/1.1\r\nHost: {_host_of(uri.host, uri.port, uri.secure)}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\n{own}\r\n"
    ).encode("ascii")


def accepts(head: bytes, key: str) -> bool:
    """Whether the head of a provider's answer accepts, in the usual form; false: ``websockets`` is
    to decide.
    """
    if len(head) > _HEAD_BYTES_MAX or _SWITCHING.fullmatch(head) is None:
        return False
    lines = head[:-4].decode("ascii").split("\r\n")
    if len(lines) > _HEADERS_MAX:
        return False
    found: dict[str, str] = {}
    for name, value in _split(lines[1:]):
        lower = name.lower()
        if lower in _UNUSUAL or lower in found:
            return False
        if lower in _EXPECTED:
            found[lower] = value
    return (
        len(found) == len(_EXPECTED)
        and found["connection"].lower() in _CONNECTIONS
        and found["upgrade"].lower() == "websocket"
        and found["sec-websocket-accept"] == accept_key(key)
    )


def end_of_interim(answer: bytes | bytearray) -> int:
    """How many bytes of a provider's answer are interim ones (100, 103), which a client skips (RFC
    9110 section 15.2).
    """
    end = 0
    while _INTERIM.match(answer, end) and (blank := answer.find(b"\r\n\r\n", end)) >= 0:
        end = blank + 4
    return end


# --- helpers -------------------------------------------------------------------------------------


def _split(lines: Iterable[str]) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in lines)
    return [(name, value.strip(" ")) for name, _, value in pairs]


@functools.lru_cache(maxsize=1)
def _date(wall_s: int) -> str:
    return formatdate(wall_s, usegmt=True)
