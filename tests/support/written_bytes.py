"""A transport that keeps what is written to it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from unittest import mock


@dataclass
class WrittenBytes(asyncio.Transport):
    """Keeps what is written to it."""

    written: bytearray = field(default_factory=bytearray)

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        """Keep them."""
        self.written += b"".join(list_of_data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is none."""

    def is_closing(self) -> bool:
        """It never is."""
        return False

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Keep a mark."""
        self.written += b"<end>"

    def pause_reading(self) -> None:
        """Bytes come as the test gives them."""

    def resume_reading(self) -> None:
        """Bytes come as the test gives them."""

    def abort(self) -> None:
        """Keep a mark."""
        self.written += b"<cut>"

    def get_write_buffer_size(self) -> int:
        """Everything is taken at once."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A socket that takes any option."""
        return mock.Mock() if name == "socket" else default
