"""The functions that were called, and which of them are not answered yet. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import MsgspecError, json

CALLS_MAX: Final = 128  # beyond that the oldest are taken for answered


class Calls:
    """The calls of one session that are not answered, oldest first. ``are_due`` says that the model
    waits for an answer: those that the client told of as history wait for none.
    """

    __slots__ = ("_names", "_waiting")

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._waiting: set[str] = set()

    @property
    def are_due(self) -> bool:
        """Whether the model waits for an answer."""
        return bool(self._waiting)

    @property
    def waiting(self) -> set[str]:
        """The ids of the calls for whose answers the model waits."""
        return set(self._waiting)

    @property
    def known(self) -> tuple[tuple[str, str, bool], ...]:
        """The id and the name of each, and whether the model waits for its answer."""
        return tuple((key, name, key in self._waiting) for key, name in self._names.items())

    def add(self, call_id: str, name: str, *, waits: bool) -> None:
        """A call was made; ``waits``: by the model, in this session."""
        self._names[call_id] = name
        if waits:
            self._waiting.add(call_id)
        if len(self._names) > CALLS_MAX:
            self._forget(next(iter(self._names)))

    def answer(self, call_id: str | None, name: str | None) -> str | None:
        """The id of the call that is answered: the one that is given, or else, for clients of
        Vertex AI, the oldest of that name. None where there is no such call.
        """
        if not call_id:
            call_id = next((key for key, value in self._names.items() if value == name), None)
        if call_id is not None:
            self._forget(call_id)
        return call_id

    def _forget(self, call_id: str) -> None:
        self._names.pop(call_id, None)
        self._waiting.discard(call_id)


def function_call(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item of the type ``function_call`` as Gemini's function call; None where it is none, or
    not complete.
    """
    call_id, name = item.get("call_id"), item.get("name")
    if item.get("type") != "function_call":
        return None
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    return {"id": call_id, "name": name, "args": _arguments(item.get("arguments"))}


def _arguments(text: object) -> dict[str, Any]:
    """The arguments, which the model wrote: what is no object has no place in Gemini's call."""
    try:
        found = json.decode(text) if isinstance(text, str) and text else {}
    except (MsgspecError, ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}
