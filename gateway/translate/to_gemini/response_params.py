"""What a client asks for in ``response.create``. Pure.

Gemini knows settings for a session only. So what differs from the session's is refused, and what
is the same is accepted.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.translate.to_gemini import session_fields as read
from gateway.translate.to_gemini.reading import Json
from gateway.translate.to_gemini.refusals import invalid, unknown, unsupported
from gateway.translate.to_gemini.session_fields import Reader, Reading

# Compared with the session's.
_AS_SESSION: Final[Mapping[str, Reader]] = {
    "output_modalities": read.modalities,
    "tools": read.tools,
    "tool_choice": read.tool_choice,
    "max_output_tokens": read.output_tokens,
    "audio": read.fields(
        {"output": read.fields({"format": read.audio_format, "voice": read.voice})}
    ),
}
_IGNORED: Final = ("parallel_tool_calls", "reasoning", "temperature")
_OWN: Final = ("instructions", "metadata")


def instructions_in(given: Json, session: Json, reading: Reading) -> str:
    """The instructions in ``response.create``'s ``response``, empty where there are none; raises
    ``RefusedError``.
    """
    for name, value in given.items():
        path = f"response.{name}"
        if name in _AS_SESSION:
            _check_same(name, value, session, reading)
        elif name in _REFUSED:
            _REFUSED[name](value, path)
        elif name in _IGNORED:
            read.without_effect(reading, None, value, path)
        elif name not in _OWN:
            raise unknown(path)
    metadata = given.get("metadata")
    if not isinstance(metadata, dict | None):
        raise invalid("response.metadata", "an object")
    text: str = read.text(reading, "", given.get("instructions"), "response.instructions")
    return text


def _check_same(name: str, value: Any, session: Json, reading: Reading) -> None:
    path = f"response.{name}"
    if name == "max_output_tokens" and value is None:
        return
    found = _AS_SESSION[name](reading, session[name], value, path)
    if found != session[name]:
        raise unsupported(path, "It can only be set for the session.")


def _conversation(value: Any, path: str) -> None:
    if value == "none":
        raise unsupported(path, "All responses are part of the conversation.")
    if value not in (None, "auto"):
        raise invalid(path, "'auto'")


def _nothing(value: Any, path: str) -> None:
    if value is not None:
        raise unsupported(path)


_REFUSED: Final[Mapping[str, Callable[[Any, str], None]]] = {
    "conversation": _conversation,
    "input": _nothing,
    "prompt": _nothing,
}
