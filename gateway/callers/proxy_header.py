"""The PROXY protocol's header, version 2, with which a proxy begins a connection. Pure.

Strict: what is not exactly such a header ends the connection, because what follows would be taken
for a client's. Version 1 (a line of text), datagrams and Unix sockets are refused. Source: haproxy,
doc/proxy-protocol.txt, section 2.2. Fed by ``proxy_prelude``.
"""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family, length
# The addresses take 36 bytes at most; a proxy may add what it knows of TLS (SNI, a certificate's
# name), a few hundred.
BYTES_MAX: Final = 2_048
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED: Final = 0x00
# Family and protocol: how long the addresses are, and how long the client's.
_TCP: Final = {0x11: (12, 4), 0x21: (36, 16)}
_TLV_HEAD: Final = struct.Struct("!BH")


class ProxyHeaderError(ValueError):
    """What was found in place of a header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """``size`` bytes that say where the client is; ``client`` is None where the proxy asks for
    itself (a health check), or does not say.
    """

    size: int
    client: str | None


def read(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of ``data``; None while more has to come. Raises
    ``ProxyHeaderError``.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise ProxyHeaderError("found no PROXY protocol header, expected version 2")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"found version and command {command:#04x}, expected 0x20 or 0x21")
    size = _FIXED.size + length
    if size > BYTES_MAX:
        raise ProxyHeaderError(f"found a header of {size} bytes, expected at most {BYTES_MAX}")
    if len(data) < size:
        return None
    body = data[_FIXED.size : size]
    return ProxyHeader(size, None if command == _LOCAL else _client(family, body))


def _client(family: int, body: bytes) -> str | None:
    if family == _UNSPECIFIED:
        return None
    if family not in _TCP:
        raise ProxyHeaderError(f"found the family {family:#04x}, expected TCP over IPv4 or IPv6")
    addresses, width = _TCP[family]
    if len(body) < addresses:
        raise ProxyHeaderError(f"found {len(body)} bytes of addresses, expected {addresses}")
    _check_rest(body[addresses:])
    return str(ipaddress.ip_address(body[:width]))


def _check_rest(rest: bytes) -> None:
    """What the proxy adds is not looked at, but each part must end where it says, and the last one
    with the header.
    """
    at = 0
    while at < len(rest):
        if len(rest) - at < _TLV_HEAD.size:
            raise ProxyHeaderError("found a part that is cut off")
        at += _TLV_HEAD.size + _TLV_HEAD.unpack_from(rest, at)[1]
    if at != len(rest):
        raise ProxyHeaderError("found a part that is cut off")
