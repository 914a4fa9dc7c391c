"""The progress of a long command: one line on a terminal, written over and over; else nothing."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

_BETWEEN_S: Final = 0.1  # two writings
_CLEAR: Final = "\r\x1b[2K"  # to the beginning of the line, and erase it
_COLUMNS_MAX: Final = 120


class TerminalProgress:
    """Shows what is being done, how much of it, and for how long. Leave it to erase the line."""

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._is_shown = self._stream.isatty()
        self._began = clock()
        self._shown_at = float("-inf")
        self._what, self._share = "", 0.0

    def __enter__(self) -> "TerminalProgress":
        """Begin."""
        return self

    def __exit__(self, *_exc: Any) -> None:
        """Erase the line."""
        self.clear()

    def tell(self, what: str, share: float | None) -> None:
        """Show ``what``, of which ``share`` is done (0 to 1); None: as before, time passes."""
        if share is not None:
            self._what, self._share = what, share
        now = self._clock()
        if self._is_shown and now - self._shown_at >= _BETWEEN_S:
            self._shown_at = now
            minutes, seconds = divmod(int(now - self._began), 60)
            line = f"{self._share:4.0%}  {minutes}:{seconds:02}  {self._what}"
            self._stream.write(f"{_CLEAR}{line[:_COLUMNS_MAX]}")
            self._stream.flush()

    def clear(self) -> None:
        """Erase the line, so that others can be printed."""
        if self._is_shown and self._shown_at > float("-inf"):
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown_at = float("-inf")
