"""Every error of the project, sorted by whose fault it is. Pure.

* ``PeerError``: a client or provider misbehaved. Carries a short code and a WebSocket close code.
* ``OperatorError``: the machine or its configuration is at fault. Carries an exit code and a hint
  that says what to run. The command-line programs print both and exit with the code.
* Anything else that escapes is a bug of ours and keeps its traceback.

What is *expected* (a duplicate batch, a refused key) is a return value, not an exception.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command (sysexits.h where it has a fitting one)."""

    DONE = 0
    REFUSED = 1  # refused, or a check found something wrong
    USAGE = 2  # wrong use of a command line
    ALREADY_RUNNING = 73  # EX_CANTCREAT: another daemon owns the database
    IO_ERROR = 74  # EX_IOERR
    NOT_NOW = 75  # EX_TEMPFAIL: unreachable, busy, something left unacknowledged
    UNUSABLE = 78  # EX_CONFIG: configuration or database cannot be used


def cause_of(exc: BaseException) -> str:
    """What happened, in the operating system's words where it has some, else the error's name."""
    return getattr(exc, "strerror", None) or type(exc).__name__


class RealtimeSwitchError(Exception):
    """realtime-switch failed."""

    def __init__(self, message: str = "") -> None:
        """Take ``message``, or the first line of the class's docstring in its place."""
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class PeerError(RealtimeSwitchError):
    """The peer broke the protocol.

    ``code`` is a short machine-readable word, ``close_code`` the WebSocket close code (RFC 6455
    section 7.4.1) that answers it.
    """

    def __init__(self, message: str = "", *, code: str, close_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


class OperatorError(RealtimeSwitchError):
    """The configuration or the machine does not allow this.

    ``hint`` says what to run or change; ``exit_code`` is what the process exits with.
    """

    exit_code = ExitCode.UNUSABLE

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        """One line: what was found, then what to do."""
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class ConfigError(OperatorError):
    """The configuration cannot be used."""


class DatabaseUnusableError(OperatorError):
    """The database cannot be used."""


class AlreadyRunningError(OperatorError):
    """Another daemon owns this database."""

    exit_code = ExitCode.ALREADY_RUNNING


class StorageError(OperatorError):
    """The disk under the database failed."""

    exit_code = ExitCode.IO_ERROR


class UnreachableError(OperatorError):
    """accountd did not answer."""

    exit_code = ExitCode.NOT_NOW


class OutdatedError(UnreachableError):
    """accountd is of an earlier release and does not know what it was asked."""


class NotNowError(OperatorError):
    """Not now; try again later."""

    exit_code = ExitCode.NOT_NOW


class RefusedError(OperatorError):
    """The request was refused."""

    exit_code = ExitCode.REFUSED
