"""What was configured and said in a session, in one form for every provider. Pure.

The form is OpenAI's GA: the session object, and the items of the conversation. Audio is not kept:
of what was spoken the transcript is. A conversation outlives the provider's connection; another
provider is told it by ``translate.to_gemini`` or ``translate.to_openai``.
"""

from typing import Any, Final

from msgspec import Struct, field, json

# Of a long conversation the newest part is kept: the providers drop the oldest part, too.
ITEMS_MAX: Final = 400
BYTES_MAX: Final = 256 * 1024
# An item larger than that is kept without the content that makes it large (an image), and of the
# output of a function only the beginning.
ITEM_BYTES_MAX: Final = 64 * 1024

Item = dict[str, Any]


class Conversation(Struct):
    """``session`` is the configuration in effect. ``items`` are complete ones, oldest first.
    ``revision`` rises with each change of them.
    """

    session: dict[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    bytes_kept: int = 0
    revision: int = 0

    def add(self, item: Item) -> None:
        """Append a complete item, without its audio; the oldest give way where it is too much."""
        self.insert(item, len(self.items))

    def insert(self, item: Item, place: int) -> None:
        """The same before the item at ``place``."""
        self.revision += 1
        kept = without_audio(item)
        self.items.insert(place, kept)
        self.bytes_kept += _size(kept)
        while len(self.items) > ITEMS_MAX or (self.bytes_kept > BYTES_MAX and len(self.items) > 1):
            self.bytes_kept -= _size(self.items.pop(0))

    def has(self, item_id: str) -> bool:
        """Whether an item is kept."""
        return self.place_of(item_id) is not None

    def place_of(self, item_id: str) -> int | None:
        """Where an item stands; None where it is not kept."""
        places = (place for place, item in enumerate(self.items) if item.get("id") == item_id)
        return next(places, None)

    def replace(self, item: Item) -> None:
        """More is known of an item (a transcript that came late): it changes where it stands. One
        that is not kept stays away.
        """
        for place, kept in enumerate(self.items):
            if kept.get("id") == item["id"]:
                self.revision += 1
                self.items[place] = without_audio(item)
                self.bytes_kept += _size(self.items[place]) - _size(kept)

    def remove(self, item_id: str) -> None:
        """The client deleted an item."""
        for item in [item for item in self.items if item.get("id") == item_id]:
            self.items.remove(item)
            self.revision += 1
            self.bytes_kept -= _size(item)


def without_audio(item: Item) -> Item:
    """``item`` as it is kept: no audio, and nothing that is larger than ``ITEM_BYTES_MAX``."""
    output = item.get("output")
    if isinstance(output, str) and len(output) > ITEM_BYTES_MAX:
        item = {**item, "output": output[:ITEM_BYTES_MAX]}
    content = item.get("content")
    if not isinstance(content, list):
        return item
    parts = [
        {name: value for name, value in part.items() if name != "audio"}
        for part in content
        if isinstance(part, dict)
    ]
    return {**item, "content": [part for part in parts if _size(part) <= ITEM_BYTES_MAX]}


def _size(value: dict[str, Any]) -> int:
    return len(json.encode(value))
