"""Paced voice sessions and an echoing provider, cheap enough to measure a relay with.

A client sends a frame every 20 ms, as a microphone does; the provider answers each at once with a
frame of the same size, so that a round trip measures the relay. Once a second of each session the
provider reports a response's usage. Frames are prepared bytes; neither side decodes one.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from gateway.frames import unmask

FRAME_S: Final = 0.02
AUDIO: Final = base64.b64encode(bytes(960)).decode()  # 20 ms of 24 kHz 16-bit mono
FRAMES_PER_RESPONSE: Final = 50
OPEN_S: Final = 10.0
TOKENS: Final = {"input_tokens": 30, "output_tokens": 70, "total_tokens": 100}
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NO_MASK: Final = b"\0\0\0\0"  # a mask of zeros leaves the payload as it is


def frame(opcode: int, payload: bytes, *, is_masked: bool) -> bytes:
    """A whole WebSocket frame of less than 64 KiB."""
    mask_bit = 0x80 if is_masked else 0
    size = len(payload)
    head = (
        struct.pack("!BB", 0x80 | opcode, mask_bit | size)
        if size < 126
        else struct.pack("!BBH", 0x80 | opcode, mask_bit | 126, size)
    )
    return head + (_NO_MASK if is_masked else b"") + payload


def event(kind: str, **fields: Any) -> bytes:
    """A realtime event."""
    return json.dumps({"type": kind, **fields}).encode()


SAID: Final = event("input_audio_buffer.append", audio=AUDIO)
SPOKEN: Final = frame(TEXT, SAID, is_masked=True)


def echo_of(audio_bytes: int) -> bytes:
    """The provider's answer to a frame, with so many bytes of base64."""
    delta = (AUDIO * (audio_bytes // len(AUDIO) + 1))[:audio_bytes]
    return frame(TEXT, event("response.output_audio.delta", delta=delta), is_masked=False)


def payload_of(unmasked: bytes) -> bytes:
    """What is in a frame that a server sends."""
    return unmasked[4 if unmasked[1] == 126 else 2 :]


ECHO: Final = echo_of(len(AUDIO))


class Peer(asyncio.Protocol):
    """One end of a connection: parses frames and answers pings."""

    is_client = False

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_head = False
        self.transport: asyncio.Transport | None = None
        self.close_code: int | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's class is no subclass of it

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the event loop."""
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._buffer += data
        if not self._has_head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._has_head = self.is_open = True
            self.greeted(head)
        for opcode, payload in self._frames():
            self._take(opcode, payload)

    def greeted(self, head: bytes) -> None:
        """The head of the other side's handshake has arrived."""
        raise NotImplementedError

    def heard(self, payload: bytes) -> None:
        """A text message has arrived."""

    def write(self, data: bytes) -> None:
        """Send frames."""
        assert self.transport is not None
        self.transport.write(data)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.heard(payload)
        elif opcode == PING:
            self.write(frame(PONG, payload, is_masked=self.is_client))
        elif opcode == CLOSE and self.is_open:
            self.is_open = False
            self.close_code = int.from_bytes(payload[:2], "big")
            self.write(frame(CLOSE, payload[:2], is_masked=self.is_client))
            if not self.is_client and self.transport is not None:
                self.transport.close()  # RFC 6455 section 7.1.1: the server ends the connection

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 4:
            size, start = buffer[at + 1] & 0x7F, at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
            is_masked = buffer[at + 1] & 0x80
            start += 4 if is_masked else 0
            if len(buffer) < start + size:
                break
            payload = bytes(buffer[start : start + size])
            if is_masked and (mask := bytes(buffer[start - 4 : start])) != _NO_MASK:
                payload = unmask(payload, mask)  # a relay that masks anew
            yield buffer[at] & 0x0F, payload
            at = start + size
        del buffer[:at]


class Provider(Peer):
    """The provider's end of one session."""

    _numbers = itertools.count(1)

    def __init__(self, ledger: dict[str, int], echo: bytes = ECHO) -> None:
        """``ledger`` gets the tokens of every reported response, by its id. Each frame is answered
        with ``echo``.
        """
        super().__init__()
        self._echo = echo
        self._ledger = ledger
        self.frames_heard = 0
        self.frames_changed = 0  # on their way here

    def greeted(self, head: bytes) -> None:
        """Accept every handshake; another request (LiteLLM looks for models) is told 404."""
        keys = [
            line.partition(b":")[2].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        ]
        if not keys:
            self.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        key = keys[0]
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def heard(self, payload: bytes) -> None:
        """Echo; report usage once a second."""
        if not payload.startswith(b'{"type": "input_audio_buffer.append"'):
            return
        self.frames_heard += 1
        self.frames_changed += payload != SAID
        if self.frames_heard % FRAMES_PER_RESPONSE:
            self.write(self._echo)
            return
        response = {"id": f"resp_{next(self._numbers)}", "status": "completed", "usage": TOKENS}
        self._ledger[str(response["id"])] = TOKENS["total_tokens"]
        done = frame(TEXT, event("response.done", response=response), is_masked=False)
        self.write(self._echo + done)


class Voice(Peer):
    """A client that sends a frame every 20 ms.

    ``measured`` is called with the time at which a frame was sent and the seconds to its echo.
    """

    is_client = True

    def __init__(
        self, target: str, measured: Callable[[float, float], None], *, key: str | None = None
    ) -> None:
        """``key`` goes into a header; without it, ``target`` has one or needs none."""
        super().__init__()
        self._target = target
        self._header = f"Authorization: Bearer {key}\r\n" if key else ""
        self._measured = measured
        self._loop = asyncio.get_running_loop()
        self._unanswered: deque[float] = deque()
        self._is_talking = False
        self.let_in: asyncio.Future[bool] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self.write(
            f"GET {self._target} HTTP/1.1\r\nHost: bench\r\n{self._header}Upgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def greeted(self, head: bytes) -> None:
        """Note whether the gateway accepted the handshake (101)."""
        self.let_in.set_result(b" 101 " in head.split(b"\r\n")[0])

    @property
    def unanswered(self) -> int:
        """The number of frames whose echo has not arrived."""
        return len(self._unanswered)

    def talk(self, *, delay_s: float) -> None:
        """Begin to send frames after ``delay_s``."""
        self._is_talking = True
        self._loop.call_later(delay_s, self._say, self._loop.time() + delay_s)

    def fall_silent(self) -> None:
        """Send no more frames."""
        self._is_talking = False

    def leave(self) -> None:
        """Close the connection."""
        if self.is_open:
            self.write(frame(CLOSE, (1000).to_bytes(2, "big"), is_masked=True))

    def heard(self, payload: bytes) -> None:
        """An echo ends the measurement of its frame."""
        if payload.startswith(b'{"type": "response.output_audio.delta"'):
            sent_at = self._unanswered.popleft()
            self._measured(sent_at, time.monotonic() - sent_at)

    def _say(self, due: float) -> None:
        if not self._is_talking or not self.is_open:
            return
        self._unanswered.append(time.monotonic())  # the loop's clock (uvloop) counts milliseconds
        self.write(SPOKEN)
        self._loop.call_at(due + FRAME_S, self._say, due + FRAME_S)


async def connect(address: str, target: str, measured: Callable[[float, float], None]) -> Voice:
    """Open a session; raises when the gateway refuses it."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, voice = await loop.create_connection(lambda: Voice(target, measured), host, int(port))
    async with asyncio.timeout(OPEN_S):
        assert await voice.let_in
    return voice


async def provide(
    ledger: dict[str, int], made: list[Provider] | None = None, *, echo: bytes = ECHO
) -> tuple[asyncio.Server, str]:
    """A provider that answers with ``echo``, and its HOST:PORT. ``made`` gets the provider's end of
    each session.
    """
    loop = asyncio.get_running_loop()

    def accept() -> Provider:
        one = Provider(ledger, echo)
        if made is not None:
            made.append(one)
        return one

    server = await loop.create_server(accept, "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
