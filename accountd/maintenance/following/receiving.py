"""The standby's end of a continuous copy: keeps a database file and its log as the primary's were.

A copy that has a whole base is a valid database at any instant, whoever is killed. A newer base is
built beside it (``<db>.incoming``), of its own blocks and those that differ, and takes its place
once it is whole.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from accountd.data import standby_role
from accountd.data.standby.log import StandbyLog
from accountd.data.standby_role import Role, State
from accountd.maintenance.following.messages import VERSION, Message, digest
from shared.errors import DatabaseUnusableError, RefusedError

_HASHES_AT_ONCE: Final = 256


class Receiver:
    """The files of one standby. Its caller holds the database's lock."""

    def __init__(self, path: Path, source: str, say: Callable[[str], None]) -> None:
        """Take up what is there; refuses a file that is nobody's copy, or was promoted."""
        self._path, self._incoming = path, Path(f"{path}.incoming")
        self._say = say
        self._role = _role_of(path, source)
        finish_swap(path)
        self._role = standby_role.read(path) or self._role
        self._log = StandbyLog(Path(f"{path}-wal"))
        self._database = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._is_copying = False
        self.is_live = False  # whether everything up to ``complete_as_of`` is here
        self.complete_as_of: float | None = None  # the primary's clock
        self.received = 0  # bytes of the log, by this connection
        self.left = 0  # bytes of the log that the primary has and has not sent
        self.progress: tuple[int, int] | None = None  # blocks of a copy

    @property
    def has_base(self) -> bool:
        """Whether this standby can be promoted."""
        return self._role.has_base

    def begin(self) -> None:
        """A connection was made: nothing has come by it yet."""
        self.received, self.left, self.is_live = 0, 0, False
        self._is_copying, self.progress = False, None
        self._reopen()

    def handle(self, messages: list[Message]) -> Iterator[tuple[Any, ...]]:
        """Take what came, and answer; frames are on the disk when they are confirmed."""
        for message in messages:
            yield from self._take(message)
        self._log.sync()
        if messages:
            yield ("confirm", self.received)

    def close(self) -> None:
        """Close the files."""
        self._log.close()
        os.close(self._database)

    # --- messages ---------------------------------------------------------------------------------

    def _take(self, message: Message) -> Iterator[tuple[Any, ...]]:
        match message:
            case ["frames", offset, data, left]:
                self._log.append(offset, data)
                self.received += len(data)
                self.left = left
            case ["complete", as_of]:
                self._complete(as_of)
            case ["log", raw]:
                self._fold()
                self._log.start(raw)
            case ["hello", version, *_]:
                yield self._position(version)
            case ["resume"]:
                self._say("goes on where it stopped")
            case ["failed", reason]:
                raise RefusedError(f"the primary's end: {reason}")
            case _:
                yield from self._take_copy(message)

    def _take_copy(self, message: Message) -> Iterator[tuple[Any, ...]]:
        match message:
            case ["copy", block_bytes, size]:
                yield from self._begin_copy(block_bytes, size)
            case ["blocks", size]:
                os.ftruncate(self._database, size)
            case ["block", offset, data]:
                os.pwrite(self._database, data, offset)
            case ["copying", done, blocks]:
                self.progress = (done, blocks)
            case ["copied"]:
                self._swap()
            case _:
                raise RefusedError(f"the primary's end says {message[0]!r}", hint="update both")

    def _complete(self, as_of: float) -> None:
        """All that was committed before ``as_of`` has come."""
        self._log.sync()
        self.left = 0
        if not self._is_copying:
            self.complete_as_of, self.is_live = as_of, True

    def _position(self, version: int) -> tuple[Any, ...]:
        if version != VERSION:
            raise RefusedError(
                f"the primary's end speaks version {version}, expected {VERSION}",
                hint="install one release on both hosts",
            )
        offset, checksum = self._log.committed
        return "position", self._role.has_base, self._log.salts, offset, checksum, self._role.folded

    def _fold(self) -> None:
        """The primary has started its log over: what came by the old one belongs in the file."""
        salts = self._log.salts
        if salts is None:
            return
        self._log.fold(self._database)
        if not self._is_copying:
            self._role = replace(self._role, folded=salts)
            standby_role.write(self._path, self._role)
        self._log.clear()

    # --- a new base -------------------------------------------------------------------------------

    def _begin_copy(self, block_bytes: int, size: int) -> Iterator[tuple[Any, ...]]:
        """Say what is here of each block, and have a file of it to which the others are added."""
        self._say(f"copies the database, {size / 1e6:,.0f} MB")
        if not self._role.has_base:
            standby_role.write(self._path, self._role)
        self.close()
        self._is_copying = True
        is_begun = self._incoming.exists()
        basis = os.open(self._incoming if is_begun else self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._database = os.open(self._incoming, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        Path(f"{self._incoming}-wal").unlink(missing_ok=True)
        self._log = StandbyLog(Path(f"{self._incoming}-wal"))
        try:
            hashes: list[bytes] = []
            offset = 0
            while data := os.pread(basis, block_bytes, offset):
                if not is_begun:
                    os.pwrite(self._database, data, offset)
                hashes.append(digest(data))
                offset += block_bytes
                if len(hashes) == _HASHES_AT_ONCE:
                    yield "hashes", hashes
                    hashes = []
        finally:
            os.close(basis)
        yield "hashes", hashes
        yield ("hashed",)

    def _swap(self) -> None:
        """The new base and its log are whole: they take the place of the old ones."""
        os.fsync(self._database)
        self._log.sync()
        self.close()
        old = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        log = StandbyLog(Path(f"{self._path}-wal"))
        if self._role.has_base:
            log.fold(old)
        log.clear()
        log.close()
        os.close(old)
        self._role = replace(self._role, state=State.SWAPPING, folded=None)
        standby_role.write(self._path, self._role)
        finish_swap(self._path)
        self._role = replace(self._role, state=State.FOLLOWING)
        self._is_copying, self.progress = False, None
        self._reopen(is_closed=True)
        self._say("has a whole copy, and follows")

    def _reopen(self, *, is_closed: bool = False) -> None:
        if not is_closed:
            self.close()
        self._log = StandbyLog(Path(f"{self._path}-wal"))
        self._database = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def finish_swap(path: Path) -> None:
    """Bring to its end a swap that was begun. The new file first: its log says which it is."""
    role = standby_role.read(path)
    if role is None or role.state is not State.SWAPPING:
        return
    for suffix in ("", "-wal"):
        incoming = Path(f"{path}.incoming{suffix}")
        if incoming.exists():
            incoming.replace(f"{path}{suffix}")
    standby_role.sync_folder(path.parent)
    standby_role.write(path, replace(role, state=State.FOLLOWING))


def _role_of(path: Path, source: str) -> Role:
    role = standby_role.read(path)
    if role is None:
        if path.exists() and path.stat().st_size:
            raise DatabaseUnusableError(
                f"{path} is no standby", hint="name another file: following would overwrite it"
            )
        return Role(State.COPYING, source)
    if role.state is State.PROMOTED:
        raise DatabaseUnusableError(
            f"{path} was promoted: it is the primary now",
            hint="follow into another file; this one is never overwritten",
        )
    return replace(role, source=source)
