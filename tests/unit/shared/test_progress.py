"""One line on a terminal, written over and over; nothing elsewhere."""

import io

from shared.progress import TerminalProgress


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class Clock:
    """Time as the test has it."""

    now = 0.0

    def __call__(self) -> float:
        """The time, in s."""
        return self.now


def test_a_terminal_shows_share_time_and_step() -> None:
    """Not more often than an eye sees; at the end the line is gone."""
    stream, clock = Terminal(), Clock()
    with TerminalProgress(stream, clock=clock) as progress:
        progress.tell("copying", 0.25)
        progress.tell("copying", 0.26)  # at once
        clock.now = 61.0
        progress.tell("", None)
    erase = "\r\x1b[2K"
    assert stream.getvalue() == f"{erase} 25%  0:00  copying{erase} 26%  1:01  copying{erase}"


def test_a_pipe_gets_nothing() -> None:
    """Scripts read lines."""
    stream = io.StringIO()
    with TerminalProgress(stream, clock=Clock()) as progress:
        progress.tell("copying", 0.25)
    assert stream.getvalue() == ""
