"""A journal's store in memory, for tests."""

import errno
from dataclasses import dataclass, field


@dataclass
class MemoryStore:
    """Segments in memory, on a disk that may be full: then a part may stay, or no file come."""

    files: dict[int, bytes] = field(default_factory=dict)
    space: int | None = None  # how many bytes of the next record fit; None is all of it

    def segments(self) -> list[tuple[int, float]]:
        """See ``Store``."""
        return [(number, 0.0) for number in sorted(self.files)]

    def append(self, segment: int, data: bytes) -> None:
        """See ``Store``."""
        if self.space is not None:
            if self.space:
                self.files[segment] = self.files.get(segment, b"") + data[: self.space]
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files[segment] = self.files.get(segment, b"") + data

    def read(self, segment: int) -> bytes:
        """See ``Store``."""
        return self.files[segment]

    def read_at(self, segment: int, start: int, size: int) -> bytes:
        """See ``Store``."""
        if segment not in self.files:
            raise FileNotFoundError
        return self.files[segment][start : start + size]

    def remove(self, segment: int) -> None:
        """See ``Store``."""
        if segment not in self.files:
            raise FileNotFoundError
        del self.files[segment]
