"""Two pipes with messages in them, read and written without ever waiting for the other end."""

import contextlib
import fcntl
import os
import select
import time
from collections import deque
from typing import Final

from accountd.maintenance.following.messages import Decoder, Message, encode

_READ_BYTES: Final = 1024 * 1024
_PIPE_BYTES: Final = 1024 * 1024  # Linux: 64 KiB unless asked, a turn of both ends for each


class ClosedError(Exception):
    """The other end is gone."""


class Channel:
    """Messages over two descriptors, which are made non-blocking."""

    def __init__(self, reader: int, writer: int) -> None:
        """Take over both descriptors."""
        self._reader, self._writer = reader, writer
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError):  # a socket, or the limit of an unprivileged user
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._decoder = Decoder()
        self._waiting: deque[memoryview] = deque()
        self.queued_bytes = 0
        self.heard_at = time.monotonic()

    def send(self, name: str, *values: object) -> None:
        """Queue a message; ``pump`` writes it."""
        data = memoryview(encode(name, *values))
        self._waiting.append(data)
        self.queued_bytes += len(data)

    def pump(self, seconds: float, *, wakeup: int | None = None) -> list[Message]:
        """Write what can be written and answer with what has arrived, after ``seconds`` at most.

        Returns at once when something arrived, or when ``wakeup`` is readable. Raises
        ``ClosedError``, and what the decoder raises.
        """
        readers = [self._reader] if wakeup is None else [self._reader, wakeup]
        readable, writable, _ = select.select(
            readers, [self._writer] if self._waiting else [], [], max(seconds, 0)
        )
        if writable:
            self._write()
        return self._read() if self._reader in readable else []

    def flush(self) -> None:
        """Write what can be written now."""
        if self._waiting:
            self._write()

    def _read(self) -> list[Message]:
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise ClosedError from exc
        if not data:
            raise ClosedError
        self.heard_at = time.monotonic()
        return list(self._decoder.feed(data))

    def _write(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            try:
                count = os.write(self._writer, first)
            except BlockingIOError:
                return
            except OSError as exc:
                raise ClosedError from exc
            self.queued_bytes -= count
            if count < len(first):
                self._waiting[0] = first[count:]
                return
            self._waiting.popleft()
