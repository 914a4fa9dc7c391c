"""What the model has not been told yet, and how it is asked for an answer. Pure.

Gemini answers content with ``turnComplete``, the end of an activity, and the outputs of functions.
So what a client created is kept until it asks (``response.create``), and content that comes along
with one of the others is told before it, incomplete. Without anything to answer Gemini wants some
content: a user's ".", as a client has it that wants to be greeted.
"""

from typing import Final

from msgspec import json

from gateway.translate.to_gemini.contents import text_content
from gateway.translate.to_gemini.reading import Json

INTERRUPTION: Final[Json] = {"clientContent": {"turnComplete": False}}
_SOMETHING: Final = "."
# What a client may create before it asks for an answer: a few images, or a long conversation. Where
# there is more, the next item is refused.
PENDING_ITEMS_MAX: Final = 4_000
PENDING_BYTES_MAX: Final = 20 * 1024 * 1024


class Pending:
    """The contents of items that the model does not know. ``is_told`` says that some were told, and
    nothing was asked for since. ``beside`` is what the last question had that is no item.
    """

    def __init__(self) -> None:
        self._content_by_item: dict[str, list[Json]] = {}
        self._bytes_by_item: dict[str, int] = {}
        self._bytes = 0
        self.is_told = False
        self.beside: list[Json] = []

    def __bool__(self) -> bool:
        return bool(self._content_by_item)

    @property
    def is_full(self) -> bool:
        """Whether the client has to ask for an answer before it creates anything else."""
        has_many = len(self._content_by_item) >= PENDING_ITEMS_MAX
        return has_many or self._bytes >= PENDING_BYTES_MAX

    def add(self, item_id: str, *contents: Json) -> None:
        """The client created an item."""
        self.remove(item_id)
        self._content_by_item[item_id] = list(contents)
        self._bytes_by_item[item_id] = len(json.encode(contents))
        self._bytes += self._bytes_by_item[item_id]

    def remove(self, item_id: str) -> bool:
        """The client deleted an item; whether it is still unknown to the model."""
        self._bytes -= self._bytes_by_item.pop(item_id, 0)
        return self._content_by_item.pop(item_id, None) is not None

    def item_ids(self) -> frozenset[str]:
        """The items that the model does not know."""
        return frozenset(self._content_by_item)

    def tell(self) -> Json:
        """Everything, for which no answer is asked yet."""
        self.is_told = True
        return content_message(self._taken(), is_complete=False)

    def ask(self, instructions: str, *, is_asked_otherwise: bool) -> Json | None:
        """The message that asks for an answer to everything; None where none is needed.

        ``is_asked_otherwise``: by what is sent after it.
        """
        turns = self._taken()
        self.beside = [text_content("model", instructions)] if instructions else []
        if is_asked_otherwise:
            turns += self.beside
            return content_message(turns, is_complete=False) if turns else None
        if instructions or not (turns or self.is_told):
            self.beside.append(text_content("user", _SOMETHING))
        return content_message([*turns, *self.beside], is_complete=True)

    def answered(self) -> None:
        """The model begins to answer."""
        self.is_told = False

    def _taken(self) -> list[Json]:
        taken, self._content_by_item = self._content_by_item, {}
        self._bytes_by_item, self._bytes = {}, 0
        return [content for contents in taken.values() for content in contents]


def content_message(turns: list[Json], *, is_complete: bool) -> Json:
    """A ``clientContent``; ``is_complete`` asks for an answer."""
    content: Json = {"turns": turns} if turns else {}
    return {"clientContent": {**content, "turnComplete": is_complete}}
