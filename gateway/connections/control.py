"""What an open WebSocket connection says beside its data: pongs, pings, and how it closes. Pure.

``Connection`` makes one when the opening handshake is done, gives it the peer's control frames,
and writes what ``take`` returns. The rules are those of ``websockets``, whose protocol object
takes 4 kB for each connection, most of it to parse frames that are not parsed here; a property test
compares the two. Masks and close codes are still its own.

The closing handshake is a table (``TRANSITIONS``)::

    OPEN ──▶ CLOSING ──▶ CLOSED
      └──────────────────────▶┘
"""

from enum import Enum, auto
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Close
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode as WebSocketOpcode

from gateway.connections.close import NO_STATUS
from gateway.frames import Frame, Opcode, spoken
from shared.state_machine import advance

_PROTOCOL_ERROR: Final = 1002
_INVALID_DATA: Final = 1007
# What ``take`` returns for the end of our direction.
END: Final = b""


class ClosePhase(Enum):
    """How far the closing handshake is (RFC 6455 section 7.1)."""

    OPEN = auto()
    CLOSING = auto()  # our close frame was sent
    CLOSED = auto()  # nothing more comes from the peer


TRANSITIONS: Final = {
    ClosePhase.OPEN: {ClosePhase.CLOSING, ClosePhase.CLOSED},
    ClosePhase.CLOSING: {ClosePhase.CLOSED},
    ClosePhase.CLOSED: set[ClosePhase](),
}


class Control:
    """The control frames of one connection. ``is_server``: the peer is a client."""

    __slots__ = ("_has_sent_end", "_is_server", "_phase", "_unsent", "closed_by")

    def __init__(self, *, is_server: bool) -> None:
        self._is_server = is_server
        self._phase = ClosePhase.OPEN
        self._unsent: list[bytes] = []
        self._has_sent_end = False
        # The peer's close frame, when that was a valid one.
        self.closed_by: Close | None = None

    @property
    def is_open(self) -> bool:
        """Whether no close was sent and the peer is there."""
        return self._phase is ClosePhase.OPEN

    @property
    def expects_end(self) -> bool:
        """Whether the peer has to end the connection soon: it got our close."""
        return self._phase is ClosePhase.CLOSING

    def take(self) -> list[bytes]:
        """What is to be written now; ``END`` for the end of our direction."""
        unsent, self._unsent = self._unsent, []
        return unsent

    # --- what is said -----------------------------------------------------------------------------

    def text(self, message: bytes) -> None:
        """Send a message."""
        self._send(WebSocketOpcode.TEXT, message)

    def end_message(self) -> None:
        """Finish a message in fragments."""
        self._send(WebSocketOpcode.CONT, b"")

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._send(WebSocketOpcode.PING, b"")

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; ``reason`` fits. ``NO_STATUS``: without a code."""
        assert self.is_open
        self._close(b"" if code == NO_STATUS else Close(code, reason).serialize())

    def fail(self, code: int, reason: str) -> None:
        """The peer broke the protocol (section 7.1.7): close, and a server waits for nothing."""
        if self.is_open:
            self._close(Close(code, reason).serialize())
        if self._is_server:
            self._end()

    # --- what is heard ----------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """A control frame of the peer, whose header was checked."""
        if frame.opcode == Opcode.PONG:
            return
        payload = frame.raw[frame.start :]
        if self._is_server:
            payload = _unmasked(payload, frame.raw[frame.start - 4 : frame.start])
        if frame.opcode == Opcode.PING:
            self._send(WebSocketOpcode.PONG, payload)
            return
        try:
            self.closed_by = Close.parse(payload)
        except ProtocolError as exc:
            self.fail(_PROTOCOL_ERROR, str(exc))
        except UnicodeDecodeError as exc:
            self.fail(_INVALID_DATA, f"{exc.reason} at position {exc.start}")
        else:
            if self.is_open:
                self._close(payload)
            if self._is_server:  # section 7.1.1: a client waits for the server's end
                self._end()

    def receive_end(self) -> None:
        """The peer's direction has ended."""
        self._end()
        if self._phase is not ClosePhase.CLOSED:
            self._move(ClosePhase.CLOSED)

    # --- helpers ----------------------------------------------------------------------------------

    def _close(self, payload: bytes) -> None:
        self._send(WebSocketOpcode.CLOSE, payload)
        self._move(ClosePhase.CLOSING)

    def _end(self) -> None:
        if not self._has_sent_end:
            self._has_sent_end = True
            self._unsent.append(END)

    def _send(self, opcode: WebSocketOpcode, payload: bytes) -> None:
        self._unsent.append(
            spoken(opcode, payload).raw
            if self._is_server
            else WebSocketFrame(opcode, payload).serialize(mask=True)
        )

    def _move(self, phase: ClosePhase) -> None:
        self._phase = advance(TRANSITIONS, self._phase, phase)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """The payload of a control frame, of 125 bytes at most."""
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
