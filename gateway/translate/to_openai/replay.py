"""A conversation as the items of which another connection is told it. Pure.

Audio is not kept, so what was spoken becomes text: of the user ``input_text``, of the model
``output_text``. What cannot be said in text (speech that nobody transcribed) is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.translate.base import ID_CHARS_MAX
from gateway.translate.conversation import Item

Part = dict[str, Any]


def items_to_create(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, each once, in the form in which a client may create them."""
    seen: set[str] = set()
    for item in items:
        make = _ITEMS.get(str(item.get("type")))
        made = make(item) if make is not None else None
        item_id = item.get("id")
        if made is None or item_id in seen:
            continue
        if isinstance(item_id, str):
            seen.add(item_id)
            if 0 < len(item_id) <= ID_CHARS_MAX:
                made = {"id": item_id, **made}
        yield made


def _message(item: Item) -> Item | None:
    role = item.get("role")
    if role not in ("user", "assistant", "system"):
        return None
    parts = item.get("content")
    made = [
        part
        for found in (parts if isinstance(parts, list) else ())
        if isinstance(found, dict) and (part := _part(found, role)) is not None
    ]
    return {"type": "message", "role": role, "content": made} if made else None


def _part(part: Mapping[str, Any], role: str) -> Part | None:
    if part.get("type") == "input_image":
        url = part.get("image_url")
        is_fit = role == "user" and isinstance(url, str)
        return {"type": "input_image", "image_url": url} if is_fit else None
    words = part.get("text") or part.get("transcript")
    if not isinstance(words, str) or not words:
        return None
    return {"type": "output_text" if role == "assistant" else "input_text", "text": words}


def _with_texts(*names: str) -> Callable[[Item], Item | None]:
    """Keeps these fields, all of which have to be texts."""

    def make(item: Item) -> Item | None:
        if not all(isinstance(item.get(name), str) for name in names):
            return None
        return {name: item[name] for name in names}

    return make


_ITEMS: Final[Mapping[str, Callable[[Item], Item | None]]] = {
    "message": _message,
    "function_call": _with_texts("type", "call_id", "name", "arguments"),
    "function_call_output": _with_texts("type", "call_id", "output"),
}
