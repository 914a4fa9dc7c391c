"""How single fields of the client's configuration are read. Pure.

A reader takes the value that is in effect, the one that is given, and its path, and returns the
value that is in effect then. It raises ``RefusedError``, or says in ``ignored`` what has no effect
on anything that is said. A value of null leaves most fields as they are, because SDKs write it for
what was not set.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from gateway.translate.audio import openai_format, openai_format_object
from gateway.translate.to_gemini.refusals import (
    RefusedError,
    invalid,
    missing,
    unknown,
    unsupported,
)


class Reading(Struct):
    """One event of the client while it is read: what of it has no effect, and what may change.

    With ``is_lenient`` what would be refused has no effect, each setting by itself: the client has
    configured it at another provider, and says nothing now that could be answered.
    """

    model: str
    has_spoken: bool = False
    is_lenient: bool = False
    ignored: list[str] = field(default_factory=list)

    def refuse(self, refusal: RefusedError, path: str) -> None:
        """Raise ``refusal``, or note what has no effect."""
        if not self.is_lenient:
            raise refusal
        self.ignored.append(path)


Reader = Callable[[Reading, Any, Any, str], Any]

OUTPUT_TOKENS_MAX: Final = 4_096
_MODALITIES: Final = (["audio"], ["text"])
_EAGERNESS: Final = ("low", "medium", "high", "auto")
_MS_MAX: Final = 60_000


def fields(table: Mapping[str, Reader]) -> Reader:
    """An object whose fields are read by ``table``; those that are not given stay as they are."""

    def read(reading: Reading, current: Any, given: Any, path: str) -> Any:
        if given is None:
            return current
        if not isinstance(given, dict):
            raise invalid(path, "an object")
        merged = dict(current or {})
        for name, value in given.items():
            reader = table.get(name)
            try:
                if reader is None:
                    raise unknown(f"{path}.{name}")
                merged[name] = reader(reading, merged.get(name), value, f"{path}.{name}")
            except RefusedError as refusal:
                reading.refuse(refusal, f"{path}.{name}")
        return merged

    return read


def checked(is_valid: Callable[[Any], bool], expected: str) -> Reader:
    """A value that is taken as it is given, if it is valid; ``expected`` says what would be."""

    def read(_reading: Reading, current: Any, given: Any, path: str) -> Any:
        if given is None:
            return current
        if not is_valid(given):
            raise invalid(path, expected)
        return given

    return read


text: Final = checked(lambda given: isinstance(given, str), "a string")
# Exactly one.
modalities: Final = checked(lambda given: given in _MODALITIES, "['audio'] or ['text']")


def without_effect(reading: Reading, _current: Any, given: Any, path: str) -> None:
    """Something that changes nothing that is said: accepted, and null from then on."""
    if given not in (None, [], False):
        reading.ignored.append(path)


def server_only(_reading: Reading, current: Any, _given: Any, _path: str) -> Any:
    """What the server says, and a client that returns the whole session repeats."""
    return current


def not_supported(_reading: Reading, _current: Any, given: Any, path: str) -> None:
    """Something that would change what the client gets."""
    if given is not None:
        raise unsupported(path)


def model(reading: Reading, _current: Any, given: Any, path: str) -> str:
    """The model never changes in a session; some SDKs name one in every update."""
    if given not in (None, reading.model):
        reading.ignored.append(path)
    return reading.model


def kind_of_session(_reading: Reading, current: Any, given: Any, path: str) -> Any:
    """``realtime``; a session that only transcribes needs another provider."""
    if given == "transcription":
        raise unsupported(path, "Only sessions of the type 'realtime' are possible.")
    if given != "realtime":
        raise invalid(path, "'realtime'")
    return current


def output_tokens(_reading: Reading, _current: Any, given: Any, path: str) -> Any:
    """``inf``, or a number."""
    if given in (None, "inf"):
        return "inf"
    if type(given) is not int or not 1 <= given <= OUTPUT_TOKENS_MAX:
        raise invalid(path, f"an integer from 1 to {OUTPUT_TOKENS_MAX}, or 'inf'")
    return given


def tools(reading: Reading, current: Any, given: Any, path: str) -> Any:
    """Functions; a server that the provider would have to call (MCP) is refused."""
    if given is None:
        return current
    if not isinstance(given, list):
        raise invalid(path, "an array")
    known = []
    for number, tool in enumerate(given):
        where = f"{path}[{number}]"
        try:
            _check_tool(tool, where)
        except RefusedError as refusal:
            reading.refuse(refusal, where)
        else:
            known.append(tool)
    return known


def _check_tool(tool: Any, where: str) -> None:
    if not isinstance(tool, dict):
        raise invalid(where, "an object")
    if tool.get("type") == "mcp":
        raise unsupported(f"{where}.type", "The provider calls no MCP servers.")
    if tool.get("type") != "function":
        raise invalid(f"{where}.type", "'function'")
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise missing(f"{where}.name")
    if not isinstance(tool.get("parameters", {}), dict | None):
        raise invalid(f"{where}.parameters", "a JSON schema")


def tool_choice(_reading: Reading, current: Any, given: Any, path: str) -> Any:
    """``auto``, or ``none``, for which no tool is declared; Live knows no others."""
    if given is None:
        return current
    if given in ("auto", "none"):
        return given
    if given == "required" or isinstance(given, dict):
        raise unsupported(path, "Use 'auto' or 'none'.")
    raise invalid(path, "'auto', 'none' or 'required'")


def truncation(reading: Reading, current: Any, given: Any, path: str) -> Any:
    """``auto`` or ``disabled``; by how much is truncated is the provider's choice."""
    if given is None:
        return current
    if isinstance(given, dict):
        reading.ignored.append(path)
        return "auto"
    if given not in ("auto", "disabled"):
        raise invalid(path, "'auto' or 'disabled'")
    return given


def audio_format(_reading: Reading, current: Any, given: Any, path: str) -> Any:
    """One of OpenAI's three."""
    if given is None:
        return current
    try:
        return openai_format_object(openai_format(given))
    except ValueError as error:
        raise RefusedError("invalid_value", str(error), path) from None


def transcription(reading: Reading, _current: Any, given: Any, path: str) -> Any:
    """Whether the user's speech is transcribed; how, the provider decides."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise invalid(path, "an object")
    reading.ignored += [f"{path}.{name}" for name, value in given.items() if value is not None]
    return {}


def voice(reading: Reading, current: Any, given: Any, path: str) -> Any:
    """A voice's name; it cannot change once it was heard."""
    if given is None:
        return current
    if isinstance(given, dict):
        raise unsupported(path, "The provider knows no custom voices of OpenAI.")
    if not isinstance(given, str):
        raise invalid(path, "a string")
    if given != current and reading.has_spoken:
        message = "Cannot update a conversation's voice if assistant audio is present."
        raise RefusedError("cannot_update_voice", message, path)
    return given


def speed(_reading: Reading, _current: Any, given: Any, path: str) -> float:
    """The provider speaks at one speed."""
    if given not in (None, 1):
        raise unsupported(path)
    return 1.0


def turn_detection(reading: Reading, current: Any, given: Any, path: str) -> Any:
    """Null: the client says when the user's turn is over. Another type begins with its defaults."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise invalid(path, "an object")
    kind = given.get("type", (current or {}).get("type", "server_vad"))
    if not isinstance(kind, str) or kind not in _DETECTION:
        raise invalid(f"{path}.type", "'server_vad' or 'semantic_vad'")
    defaults, table = _DETECTION[kind]
    before = current if current and current.get("type") == kind else defaults
    return fields(table)(reading, before, given, path)


def _detection_kind(_reading: Reading, _current: Any, given: Any, _path: str) -> Any:
    return given


def _creates_response(_reading: Reading, _current: Any, given: Any, path: str) -> bool:
    if given is False:
        raise unsupported(path, "The provider answers all speech that it detects.")
    if given not in (None, True):
        raise invalid(path, "a boolean")
    return True


SERVER_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Final = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_BOTH: Final[Mapping[str, Reader]] = {
    "type": _detection_kind,
    "create_response": _creates_response,
    "interrupt_response": checked(lambda given: isinstance(given, bool), "a boolean"),
}
_MILLISECONDS: Final = checked(
    lambda given: type(given) is int and 0 <= given <= _MS_MAX, f"an integer from 0 to {_MS_MAX}"
)
_THRESHOLD: Final = checked(
    lambda given: type(given) in (int, float) and 0 <= given <= 1, "a number from 0 to 1"
)
_DETECTION: Final[Mapping[str, tuple[Mapping[str, Any], Mapping[str, Reader]]]] = {
    "server_vad": (
        SERVER_VAD,
        {
            **_BOTH,
            "threshold": _THRESHOLD,
            "prefix_padding_ms": _MILLISECONDS,
            "silence_duration_ms": _MILLISECONDS,
            "idle_timeout_ms": not_supported,
        },
    ),
    "semantic_vad": (
        _SEMANTIC_VAD,
        {
            **_BOTH,
            "eagerness": checked(
                lambda given: given in _EAGERNESS, "'low', 'medium', 'high' or 'auto'"
            ),
        },
    ),
}
