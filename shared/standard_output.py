"""Standard output that says whose error it was: the command's, or that of where its answer goes.

A command that has done its work, and whose answer then meets a full disk, has not failed at its
work. Used by ``config.run``.
"""

import io
import os
import sys
from typing import Any


class _Descriptor(io.FileIO):
    """Descriptor 1, which remembers the error that it gave."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """As ``FileIO``."""
        try:
            return super().write(data)
        except OSError as exc:
            self.failure = exc
            raise


class StandardOutput:
    """``sys.stdout``, where it is that of the process."""

    def __init__(self) -> None:
        """Write through a descriptor of ours from now on."""
        self._descriptor: _Descriptor | None = None
        found = sys.stdout
        if not isinstance(found, io.TextIOWrapper) or found is not sys.__stdout__:
            return  # closed, or another one's
        found.flush()
        self._descriptor = _Descriptor(found.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(self._descriptor), encoding=found.encoding, errors=found.errors,
            line_buffering=found.line_buffering,
        )  # fmt: skip

    def flush(self) -> None:
        """Write what waits. Raises ``OSError``."""
        if sys.stdout is not None:
            sys.stdout.flush()

    def failed_with(self, exc: OSError) -> bool:
        """Whether this is the error that it gave."""
        return self._descriptor is not None and exc is self._descriptor.failure

    def give_up(self) -> None:
        """Write what waits nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
