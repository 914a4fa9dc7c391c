"""The spool disk of a host: folders with locks, segments, a page cache, and ways to fail."""

import errno
import random
from dataclasses import dataclass, field

from gateway.delivery.journal_format import HEADER_BYTES

from .clock import Process


@dataclass(slots=True)
class File:
    """One segment: what was written, and how many bytes of it are synced."""

    data: bytearray = field(default_factory=bytearray)
    durable: int = 0
    written_at: float = 0.0


@dataclass(slots=True)
class Folder:
    """The segments of one producer, and the process that holds its lock."""

    producer: bytes
    owner: Process | None
    files: dict[int, File] = field(default_factory=dict)
    is_damaged: bool = False


class Disk:
    """All folders of one host."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.folders: dict[bytes, Folder] = {}
        self.is_full = False
        self.unreadable_chance = 0.0

    def create(self, producer: bytes, owner: Process) -> Folder:
        """The folder of a new producer."""
        assert producer not in self.folders
        folder = self.folders[producer] = Folder(producer, owner)
        return folder

    def orphans(self) -> list[Folder]:
        """Folders whose lock is free."""
        return [f for f in self.folders.values() if f.owner is None or not f.owner.is_alive]

    def lose_power(self) -> None:
        """Cut each file at a random byte behind what is synced, often near its start or end."""
        for folder in self.folders.values():
            for number, file in list(folder.files.items()):
                whole, luck = len(file.data), self.rng.random()
                nearly = max(file.durable, whole - 60) if luck < 0.3 else file.durable
                file.durable = file.durable if luck > 0.8 else self.rng.randint(nearly, whole)
                del file.data[file.durable :]
                if not file.durable and self.rng.random() < 0.5:
                    del folder.files[number]

    def damage(self) -> Folder | None:
        """Flip a byte in the middle of a journal: before the last whole record of a segment,

        or anywhere in one that others follow.
        """
        wide = [
            (folder, number, end)
            for folder in self.folders.values()
            for number, file in sorted(folder.files.items())
            if (end := _middle(folder, number, bytes(file.data))) > 0
        ]
        if not wide:
            return None
        folder, number, end = self.rng.choice(wide)
        folder.files[number].data[self.rng.randrange(end)] ^= 1 << self.rng.randrange(8)
        folder.is_damaged = True
        return folder


def _middle(folder: Folder, number: int, segment: bytes) -> int:
    """How many bytes of a segment are in the middle of the journal."""
    if any(n > number and len(file.data) > 60 for n, file in folder.files.items()):
        return len(segment)
    at = last = HEADER_BYTES
    while at + 12 <= len(segment):
        size = 12 + int.from_bytes(segment[at + 4 : at + 8], "big")
        if at + size > len(segment):
            break
        last, at = at, at + size
    return last if last > HEADER_BYTES else 0


class SimStore:
    """The ``Store`` of one folder, whose lock one process holds."""

    def __init__(self, disk: Disk, folder: Folder, process: Process) -> None:
        self.disk = disk
        self.folder = folder
        self._process = process
        folder.owner = process

    def segments(self) -> list[tuple[int, float]]:
        """See ``Store``."""
        return [(number, file.written_at) for number, file in sorted(self.folder.files.items())]

    def append(self, segment: int, data: bytes) -> None:
        """See ``Store``. A full disk may leave a part of the record, or not even make the file."""
        self._process.step()
        if self.disk.is_full:
            self._fail(segment, data)
        file = self._file(segment)
        file.data += data
        file.written_at = self._process.clock.wall
        self._process.step()

    def read(self, segment: int) -> bytes:
        """See ``Store``."""
        return bytes(self._existing(segment).data)

    def read_at(self, segment: int, start: int, size: int) -> bytes:
        """See ``Store``. Some disks cannot read for a moment."""
        if self.disk.rng.random() < self.disk.unreadable_chance:
            raise OSError(errno.EIO, "Input/output error")
        return bytes(self._existing(segment).data[start : start + size])

    def remove(self, segment: int) -> None:
        """See ``Store``."""
        self._process.step()
        self._existing(segment)
        del self.folder.files[segment]

    def written(self) -> dict[int, int]:
        """The size of every segment now: what an fsync that begins now makes durable."""
        return {number: len(file.data) for number, file in self.folder.files.items()}

    def synced(self, written: dict[int, int]) -> None:
        """An fsync has returned that began when so much was ``written``."""
        for number, size in written.items():
            file = self.folder.files.get(number)
            if file is not None:
                file.durable = max(file.durable, size)

    def close(self) -> None:
        """Give up the lock."""
        self.folder.owner = None

    def delete(self) -> None:
        """Remove the folder, which holds no segment."""
        assert not self.folder.files
        self.close()
        del self.disk.folders[self.folder.producer]

    def _existing(self, segment: int) -> File:
        file = self.folder.files.get(segment)
        if file is None:
            raise FileNotFoundError(segment)
        return file

    def _file(self, segment: int) -> File:
        return self.folder.files.setdefault(segment, File())

    def _fail(self, segment: int, data: bytes) -> None:
        luck = self.disk.rng.random()
        if luck < 0.4:
            self._file(segment).data += data[: self.disk.rng.randrange(len(data))]
        elif luck < 0.6:
            self._file(segment)
        raise OSError(errno.ENOSPC, "No space left on device")
