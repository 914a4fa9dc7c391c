"""The end of a continuous copy that stands beside the primary: ``accountd ship``.

Reads the database file and its log, and sends them over standard output. The daemon knows nothing
of it. A copy of the file is made while commits go on and checkpoints change it: everything that
changes meanwhile is in the log, which is sent from before the first block on, in the order of
reading. So the file is right once the log is applied up to where it stood behind the last block.
"""

import os
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import structlog

from accountd.data import database
from accountd.data.standby.source import (
    ROTATION_BYTES,
    MissedError,
    Piece,
    ReplacedError,
    WalSource,
)
from accountd.data.wal_header import HEADER_BYTES
from accountd.maintenance.following.channel import Channel, ClosedError
from accountd.maintenance.following.messages import VERSION, DamagedError, Message, digest
from shared.errors import ExitCode, NotNowError, OperatorError

log = structlog.get_logger()

POLL_S: Final = 0.05
BLOCK_BYTES: Final = 64 * 1024
# What is read of the database file before the log is looked at again.
_BLOCKS_AT_ONCE: Final = 32
_QUEUED_BYTES_MAX: Final = 4 * 1024 * 1024
# A standby that has not confirmed so much holds up the log: it is left behind and copied anew.
UNCONFIRMED_BYTES_MAX: Final = 32 * 1024 * 1024
SILENCE_S: Final = 10.0
_AGAIN_S: Final = 0.2  # after a rotation that an older reader prevented


class Shipper:
    """Sends one database over one channel."""

    def __init__(self, source: WalSource, channel: Channel) -> None:
        """Take an open source and a channel on which nothing was said."""
        self._source, self._channel = source, channel
        self._is_silent = True  # nothing is sent before the standby has said what it has
        self._hashes: list[bytes] = []
        self._next_block: int | None = None  # None: no copy is being made
        self._blocks = 0
        self._sent = 0  # bytes of the log
        self._confirmed = 0
        self._salts: Any = None
        self._position = HEADER_BYTES
        self._rotate_at = 0.0

    def run(self) -> None:
        """Ship until the other end is gone (``ClosedError``) or too slow (``NotNowError``)."""
        source, channel = self._source, self._channel
        header = source.first_header()
        channel.send(
            "hello", VERSION, source.salt, header.page_bytes if header else 0, source.database_bytes
        )
        due = time.monotonic()
        while True:
            is_busy = self._next_block is not None or channel.queued_bytes
            for message in channel.pump(0.001 if is_busy else due - time.monotonic()):
                self._hear(message)
            self._check_patience()
            if self._is_silent or channel.queued_bytes > _QUEUED_BYTES_MAX:
                continue
            if self._next_block is not None:
                self._copy_some()
            if time.monotonic() >= due:
                due = time.monotonic() + POLL_S
                if not self._ship():
                    due = time.monotonic()

    def _hear(self, message: Message) -> None:
        match message:
            case ["position", has_base, salts, offset, checksum, folded]:
                self._begin(has_base, salts, offset, checksum, folded)
            case ["hashes", hashes]:
                self._hashes += hashes
            case ["hashed"]:
                self._start_copy()
            case ["confirm", received]:
                self._confirmed = received
            case _:
                raise ClosedError

    def _begin(self, has_base: bool, salts: Any, offset: int, checksum: Any, folded: Any) -> None:
        """Go on where the standby stands, if that can be proven, or copy the file anew."""
        source = self._source
        header = source.first_header()
        is_known = salts is not None and source.has(tuple(salts), offset, tuple(checksum))
        # Every log has the first salt of the one before it, plus one.
        is_next = (
            folded is not None
            and header is not None
            and salts is None
            and header.salts[0] == (folded[0] + 1) & 0xFFFFFFFF
        )
        log.info("standby asks", has_base=has_base, resumes=is_known or is_next)
        if has_base and is_known:
            source.start_at(tuple(salts), offset)
            self._salts, self._position = tuple(salts), offset
        elif has_base and is_next:
            source.start_at(None, HEADER_BYTES)
        else:
            self._channel.send("copy", BLOCK_BYTES, source.database_bytes)
            return
        self._channel.send("resume")
        self._is_silent = False

    def _start_copy(self) -> None:
        self._source.start_at(None, HEADER_BYTES)
        self._salts = None
        self._next_block, self._is_silent = 0, False
        self._blocks = -(-self._source.database_bytes // BLOCK_BYTES)
        self._channel.send("blocks", self._source.database_bytes)

    def _copy_some(self) -> None:
        """Send the next blocks that differ."""
        assert self._next_block is not None
        last = min(self._next_block + _BLOCKS_AT_ONCE, self._blocks)
        for number in range(self._next_block, last):
            data = self._source.read_database(number * BLOCK_BYTES, BLOCK_BYTES)
            is_there = number < len(self._hashes) and self._hashes[number] == digest(data)
            if not is_there:
                self._channel.send("block", number * BLOCK_BYTES, data)
        self._next_block = last
        self._channel.send("copying", last, self._blocks)
        if last == self._blocks:
            while not self._ship():
                pass
            self._channel.send("copied")
            self._next_block, self._hashes = None, []

    def _ship(self) -> bool:
        """Send what was committed; whether that was all. Rotates the log when it is time."""
        as_of = time.time()
        piece = self._source.read()
        self._send(piece)
        is_all = piece is None or piece.is_end
        if is_all and piece is not None and piece.end > ROTATION_BYTES:
            now = time.monotonic()
            if now >= self._rotate_at:
                self._rotate_at = now + _AGAIN_S
                as_of = time.time()
                tail = self._source.rotate()
                self._send(tail)
                is_all = tail is None or tail.is_end
        if is_all:
            self._channel.send("complete", as_of)
        return is_all

    def _send(self, piece: Piece | None) -> None:
        if piece is None:
            return
        if piece.header.salts != self._salts:
            self._salts = piece.header.salts
            self._channel.send("log", piece.header.raw)
        if piece.data:
            self._sent += len(piece.data)
            self._channel.send("frames", piece.offset, piece.data, piece.left)

    def _check_patience(self) -> None:
        if time.monotonic() - self._channel.heard_at > SILENCE_S:
            raise NotNowError(f"the standby has said nothing for {SILENCE_S:g} s")
        if self._sent - self._confirmed > UNCONFIRMED_BYTES_MAX:
            raise NotNowError("the standby is too slow; the log is let go and copied anew")


def ship(path: Path, key: str) -> NoReturn:
    """Ship the database at ``path`` over standard output; this process ends with it."""
    reader, writer = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # nothing but messages goes to the other end
    channel = Channel(reader, writer)
    code, reason = ExitCode.NOT_NOW, ""
    try:
        Shipper(WalSource(path, key), channel).run()
    except ClosedError:
        code = ExitCode.DONE
    except ReplacedError:
        reason = f"{path} was replaced by another file"
    except MissedError:
        reason = "the log was started over before it was read"
    except OperatorError as exc:
        code, reason = exc.exit_code, str(exc)
    except Exception as exc:
        reason = str(database.translate(exc, path) or repr(exc))
        log.exception("cannot ship")
    if reason:
        _say_last(channel, reason)
    # Nothing is closed: see accountd.data.standby.source.
    os._exit(code)


def _say_last(channel: Channel, reason: str) -> None:
    channel.send("failed", reason)
    deadline = time.monotonic() + 1
    try:
        while channel.queued_bytes and time.monotonic() < deadline:
            channel.pump(0.05)
    except (ClosedError, DamagedError):
        log.warning("not shipped", reason=reason)
