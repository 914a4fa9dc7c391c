"""Errors: what each says, and what a command exits with."""

import pytest

from shared import errors
from shared.errors import ExitCode, OperatorError, PeerError, RealtimeSwitchError, cause_of

EXITS = [
    (errors.ConfigError, ExitCode.UNUSABLE),
    (errors.DatabaseUnusableError, ExitCode.UNUSABLE),
    (errors.AlreadyRunningError, ExitCode.ALREADY_RUNNING),
    (errors.StorageError, ExitCode.IO_ERROR),
    (errors.UnreachableError, ExitCode.NOT_NOW),
    (errors.OutdatedError, ExitCode.NOT_NOW),
    (errors.NotNowError, ExitCode.NOT_NOW),
    (errors.RefusedError, ExitCode.REFUSED),
]


@pytest.mark.parametrize(("error", "exit_code"), EXITS)
def test_a_command_exits_with_the_code_of_its_error(
    error: type[OperatorError], exit_code: ExitCode
) -> None:
    """Scripts tell by it whether to try again."""
    assert error().exit_code is exit_code


def test_an_error_says_what_was_found_and_then_what_to_do() -> None:
    """In one line; without words of its own the class's."""
    assert str(errors.StorageError("disk full", hint="make room")) == "disk full (make room)"
    assert str(errors.StorageError("disk full")) == "disk full"
    assert str(errors.StorageError()) == "The disk under the database failed."
    assert str(RealtimeSwitchError()) == "realtime-switch failed."


def test_a_peers_fault_has_a_word_and_a_close_code() -> None:
    """The client is closed with them."""
    error = PeerError(code="bad_frame", close_code=1002)
    assert (error.code, error.close_code) == ("bad_frame", 1002)
    assert str(error) == "The peer broke the protocol."


CAUSES = [
    (OSError(28, "No space left on device"), "No space left on device"),
    (OSError("no number"), "OSError"),
    (TimeoutError(), "TimeoutError"),
    (ValueError("secret"), "ValueError"),
]


@pytest.mark.parametrize(("exc", "cause"), CAUSES, ids=lambda value: str(value)[:30])
def test_a_cause_is_named_without_its_details(exc: BaseException, cause: str) -> None:
    """The operating system's words, else the kind of error: its text might hold a secret."""
    assert cause_of(exc) == cause
