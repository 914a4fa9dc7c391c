"""Reads what a Gemini client writes: its messages, and their fields one by one. Pure.

Names may be camelCase or snake_case at every depth, as protobuf's JSON accepts them; keys below a
few fields belong to the application and stay as they are. What is malformed, or of a wrong type, is
the client's fault, and ends the session with 1007 as Gemini does it. What is well formed and not
read by anyone is named, so that it can be logged (``Fields.unread``).

Source: the reference of ``BidiGenerateContentClientMessage`` (ai.google.dev/api/live).
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import MsgspecError, json

from gateway.translate.base import Close

T = TypeVar("T")

INVALID: Final = 1007
KINDS: Final = ("setup", "clientContent", "realtimeInput", "toolResponse", "contextUpdate")
# Keys below these fields are the application's.
_OPAQUE: Final = frozenset(
    {"response", "args", "properties", "parametersJsonSchema", "responseJsonSchema", "labels"}
)
# Deeper nesting has no use, and would exceed Python's recursion limit.
DEPTH_MAX: Final = 64
# What a close frame can hold (RFC 6455, 5.5: 125 bytes, two of them for the code).
REASON_BYTES_MAX: Final = 123
NAME_CHARS_MAX: Final = 64
_UNDERSCORE: Final = re.compile(r"_([a-z0-9])")
_INDEX: Final = re.compile(r"\[\d+\]")
_INTEGER: Final = re.compile(r"-?\d{1,18}")


class ClientFaultError(Exception):
    """The client's message cannot be served: the text says what was found, and where."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Request contains an invalid argument. {what}")

    @property
    def close(self) -> Close:
        """How the client is closed."""
        return Close(INVALID, short(str(self)))


def short(reason: str) -> str:
    """``reason``, cut to what a close frame can hold."""
    return reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")


def read(message: bytes) -> tuple[str, "Fields"]:
    """The kind of a message and its content. Raises ``ClientFaultError``."""
    try:
        found = json.decode(message)
    except (MsgspecError, ValueError, RecursionError):
        raise ClientFaultError("Invalid JSON payload received.") from None
    if not isinstance(found, dict):
        raise ClientFaultError("Invalid JSON payload received: expected an object.")
    named = _camel(found, DEPTH_MAX, is_ours=True)
    unknown = next((name for name in named if name not in KINDS), None)
    if unknown is not None:
        raise ClientFaultError(f"Unknown name {unknown[:NAME_CHARS_MAX]!r}.")
    if len(named) != 1:
        raise ClientFaultError(f"Found {len(named)} messages in one, expected one.")
    ((kind, body),) = named.items()
    return kind, Fields.of(body, kind)


class Fields:
    """An object in a client's message. ``path`` is where it stands (``setup.tools[0]``).

    Absent and null are one. The readers raise ``ClientFaultError`` for a value of another type.
    """

    __slots__ = ("_inner", "_read", "_values", "path")

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self._read: set[str] = set()
        self._inner: list[Fields] = []
        self.path = path

    @classmethod
    def of(cls, value: object, path: str) -> "Fields":
        """``value``, which has to be an object."""
        if value is not None and not isinstance(value, dict):
            raise wrong(path, value, "an object")
        return cls(value or {}, path)

    @property
    def values(self) -> dict[str, Any]:
        """All of it, as it is; nothing counts as read by that."""
        return dict(self._values)

    def has(self, name: str) -> bool:
        """Whether the field is there; it counts as read."""
        self._read.add(name)
        return name in self._values

    def value(self, name: str) -> Any:
        """The field, whatever it is; None where it is absent."""
        self._read.add(name)
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """A text."""
        return self._of_type(name, str, "a string")

    def flag(self, name: str) -> bool:
        """A boolean; False where it is absent."""
        return self._of_type(name, bool, "a boolean") or False

    def integer(self, name: str, low: int, high: int) -> int | None:
        """An integer from ``low`` to ``high``; also as text, in which protobuf's JSON writes one of
        64 bits.
        """
        value = self.value(name)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            raise wrong(self.at(name), value, f"an integer from {low} to {high}")
        return value

    def inner(self, name: str) -> "Fields":
        """An object; an empty one where it is absent."""
        return self._keep(Fields.of(self.value(name), self.at(name)))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object of the application's, as it is; an empty one where it is absent."""
        return Fields.of(self.value(name), self.at(name))._values

    def objects(self, name: str) -> list["Fields"]:
        """A list of objects. A single object counts as a list of one, as in protobuf's JSON."""
        value = self.value(name)
        if isinstance(value, dict):
            return [self.inner(name)]
        if value is not None and not isinstance(value, list):
            raise wrong(self.at(name), value, "a list")
        return [
            self._keep(Fields.of(part, f"{self.at(name)}[{number}]"))
            for number, part in enumerate(value or ())
        ]

    def at(self, name: str) -> str:
        """Where the field stands."""
        return f"{self.path}.{name}"

    def unread(self) -> list[str]:
        """Where the fields stand that nobody read, here and in the objects that were read."""
        own = [
            _INDEX.sub("", self.at(name[:NAME_CHARS_MAX]))
            for name in self._values
            if name not in self._read
        ]
        return [*own, *(path for fields in self._inner for path in fields.unread())]

    def _keep(self, fields: "Fields") -> "Fields":
        self._inner.append(fields)
        return fields

    def _of_type(self, name: str, kind: type[T], expected: str) -> T | None:
        value = self.value(name)
        if value is not None and not isinstance(value, kind):
            raise wrong(self.at(name), value, expected)
        return value


def wrong(path: str, value: object, expected: str) -> ClientFaultError:
    """The fault of a value that is not what was expected. The value itself is named by its type
    alone where it may be long or private.
    """
    is_short = isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) < 24)
    found = repr(value) if is_short else f"a {type(value).__name__}"
    return ClientFaultError(f"{path}: found {found}, expected {expected}.")


def _camel(value: Any, depth: int, *, is_ours: bool) -> Any:
    """``value`` with its names in camelCase where they are not the application's."""
    if depth < 0:
        raise ClientFaultError(f"Expected at most {DEPTH_MAX} levels.")
    if isinstance(value, list):
        return [_camel(part, depth - 1, is_ours=is_ours) for part in value]
    if not isinstance(value, dict):
        return value
    if not is_ours:
        return {name: _camel(part, depth - 1, is_ours=False) for name, part in value.items()}
    named = {_UNDERSCORE.sub(_upper, name): part for name, part in value.items()}
    return {
        name: _camel(part, depth - 1, is_ours=name not in _OPAQUE) for name, part in named.items()
    }


def _upper(found: re.Match[str]) -> str:
    return found[1].upper()
