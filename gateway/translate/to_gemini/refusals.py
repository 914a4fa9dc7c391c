"""Why an event of the client is refused. Pure.

A refused event has no effect at all; the client gets an ``error`` event, and the session goes on.
"""

from typing import Any, Final

UNSUPPORTED: Final = "unsupported_by_provider"


class RefusedError(Exception):
    """The client's event cannot be applied.

    ``code`` is one of OpenAI's, or ``unsupported_by_provider`` where Gemini has no word for what is
    asked. ``param`` is the field that is meant, e.g. ``session.prompt``.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def unsupported(param: str, why: str = "") -> RefusedError:
    """A field that changes what the client gets, and that Gemini has no word for."""
    reason = why or "The provider has no counterpart for it."
    return RefusedError(UNSUPPORTED, f"Unsupported parameter: '{param}'. {reason}", param)


def invalid(param: str, expected: str) -> RefusedError:
    """A value that is none of those that OpenAI allows."""
    return RefusedError(
        "invalid_value", f"Invalid value for '{param}': expected {expected}.", param
    )


def unknown(param: str) -> RefusedError:
    """A field that OpenAI does not know either."""
    return RefusedError("unknown_parameter", f"Unknown parameter: '{param}'.", param)


def missing(param: str) -> RefusedError:
    """A field without which an event means nothing."""
    message = f"Missing required parameter: '{param}'."
    return RefusedError("missing_required_parameter", message, param)


def error_details(refusal: RefusedError, client_event_id: str | None) -> dict[str, Any]:
    """The ``error`` of an error event."""
    return {
        "type": "invalid_request_error",
        "code": refusal.code,
        "message": str(refusal),
        "param": refusal.param,
        "event_id": client_event_id,
    }
