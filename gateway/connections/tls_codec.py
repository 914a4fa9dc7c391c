"""TLS without a socket: records from TCP in, plain bytes out, and back.

``TlsConnection`` owns one for each connection. It wraps the standard library's ``SSLObject`` with
its two buffers in memory. Encrypting and decrypting are one call each, because they are on the way
of every frame. What TLS has to say by itself (handshake messages, alerts, the answer to a key
update) waits in ``outgoing``.
"""

import contextlib
import ssl
from collections.abc import Iterable
from typing import Final

_READ_BYTES: Final = 256 * 1024


class TlsCodec:
    """One side of one TLS connection."""

    __slots__ = ("_incoming", "_tls", "failure", "has_end", "outgoing")

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """As a client to ``server_hostname``, as a server when there is none."""
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self.outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self.has_end = False  # the peer's close_notify is here
        self.failure: ssl.SSLError | None = None  # why the rest cannot be decrypted

    def handshake(self, data: bytes) -> bool:
        """Go on with the handshake; whether it is done. Raises ``SSLError`` when it failed."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes that ``data`` completes; look at ``has_end`` and ``failure`` then."""
        incoming, tls = self._incoming, self._tls
        incoming.write(data)
        chunks: list[bytes] = []
        try:
            # Asking what is pending spares most reads that only raise SSLWantReadError.
            while incoming.pending or tls.pending():
                chunk = tls.read(_READ_BYTES)
                if not chunk:  # close_notify
                    self.has_end = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self.failure = exc
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def encrypt(self, parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """The records that hold ``parts``, after any handshake or alert records that are
        pending.
        """
        for part in parts:
            self._tls.write(part)  # all of it: the buffer behind it has no bound of its own
        return self.outgoing.read()

    def close_notify(self) -> None:
        """Say that nothing more will be written."""
        # SSLWantReadError: ``unwrap`` would also wait for the peer's close_notify; ours is written.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
