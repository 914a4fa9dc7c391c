"""What a provider replays of a conversation, held against what is kept of it. Pure.

xAI replays the items that it has, in their order. What is kept and was not replayed never reached
it, and is told. An answer behind all that is known is one of which nobody heard: its question is
asked again, so it is taken out. What stands before something known is older than what is kept.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from gateway.translate.conversation import Item
from gateway.translate.to_openai.replay import items_to_create


class Missing(Struct, frozen=True):
    """An item to tell. ``previous_id`` is what it stands behind, as the provider calls it; empty
    where it comes last.
    """

    item: Item
    previous_id: str


class Replayed:
    """Of one connection."""

    __slots__ = ("_names", "_unheard", "has_asked", "has_known")

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # the provider's, by what items are called here
        self._unheard: list[str] = []  # answers behind all that is known
        self.has_known = False  # something was replayed that is known here
        self.has_asked = False  # and something of which the client has not heard that it arrived

    def is_known(self, name: str, provider_id: str) -> None:
        """An item that is called ``name`` here was replayed."""
        self._names[name] = provider_id
        self._unheard, self.has_known = [], True

    def is_unheard(self, provider_id: str) -> None:
        """An answer was replayed that is not kept."""
        self._unheard.append(provider_id)

    def alike(self, item: Item, kept: Iterable[Item]) -> str:
        """What the kept item is called that says the same, and was not replayed; empty: none."""
        looks = _look(item)
        for known in kept if looks else ():
            name = known.get("id")
            if isinstance(name, str) and name not in self._names and _look(known) == looks:
                return name
        return ""

    def unheard(self) -> list[str]:
        """What is to be taken out, as the provider calls it."""
        return self._unheard

    def missing(self, kept: Iterable[Item]) -> list[Missing]:
        """What is to be told of ``kept``, in the order in which to tell it: of what stands behind
        one item the last comes first, as the provider may give each a name of its own.
        """
        told: list[Missing] = []
        gap: list[Item] = []
        previous_id = "root"
        for item in items_to_create(kept):
            name = str(item.get("id", ""))
            if name in self._names:
                told += [Missing(missing, previous_id) for missing in reversed(gap)]
                gap, previous_id = [], self._names[name]
            else:
                gap.append(item)
        return [*told, *(Missing(item, "") for item in gap)]


def is_answer(item: Item) -> bool:
    """Whether the model made the item."""
    return item.get("role") == "assistant" or item.get("type") == "function_call"


def _look(item: Item) -> tuple[Any, ...]:
    """What two items have in common that are the same; empty where nothing tells."""
    kind, content = item.get("type"), item.get("content")
    if kind != "message":
        return (kind, item.get("call_id")) if item.get("call_id") else ()
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    words = "".join(str(part.get("text") or part.get("transcript") or "") for part in parts)
    return (item.get("role"), words) if words else ()
