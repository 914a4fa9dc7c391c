"""What is said becomes items of the conversation, in the order in which it was said. Pure.

An item is known before it is complete: what the user said is transcribed while the model answers,
and an answer takes its time. So an item has its *place* as soon as it is known, and goes into the
conversation when it is complete and no incomplete one stands before it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from gateway.translate.conversation import Conversation, Item

PLACES_MAX: Final = 64  # beyond that what is incomplete gives way
# A transcript comes during the answer, or shortly after it. After so many answers it has failed.
ANSWERS_MAX: Final = 2
# What a client says for the place before all items.
ROOT: Final = "root"
# The fields of an item that are kept.
_KEPT: Final = (
    "id", "type", "role", "status", "content", "name", "call_id", "arguments", "output",
)  # fmt: skip


class Place(Struct):
    """Where an item will stand. ``words`` are what is known of it so far, ``answers`` how many
    answers ended since.
    """

    role: str
    item: Item | None = None
    words: list[str] = field(default_factory=list)
    answers: int = 0


class Record:
    """Writes ``conversation``."""

    __slots__ = ("_conversation", "_places")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._places: dict[str, Place] = {}

    @property
    def has_unheard(self) -> bool:
        """Whether the user said something that is not transcribed, and not answered."""
        return any(_is_unheard(place) for place in self._places.values())

    def is_unheard(self, item_id: str) -> bool:
        """Whether that is so of an item."""
        place = self._places.get(item_id)
        return place is not None and _is_unheard(place)

    def has(self, item_id: str) -> bool:
        """Whether an item has its place, here or in the conversation."""
        return item_id in self._places or self._conversation.has(item_id)

    def add(self, item: Item) -> None:
        """An item that is complete, and new."""
        item_id = str(item.get("id", len(self._places)))
        self._places[item_id] = Place(role="", item=_kept(item))
        self.settle()

    def add_after(self, item: Item, former_id: str) -> None:
        """The same where the client chose its place: behind the item ``former_id``, or before all
        others (``ROOT``). One that is not known is no place: it comes last.
        """
        kept, item_id = _kept(item), str(item.get("id"))
        place = -1 if former_id == ROOT else self._conversation.place_of(former_id)
        if place is not None:
            self._conversation.insert(kept, place + 1)
            return
        before = self._places
        self._places = {}
        for name, known in before.items():
            self._places[name] = known
            if name == former_id:
                self._places[item_id] = Place(role="", item=kept)
        self._places.setdefault(item_id, Place(role="", item=kept))
        self.settle()

    def expect(self, item_id: str, role: str) -> None:
        """An item has its place, and will be complete later."""
        if item_id not in self._places:
            self._places[item_id] = Place(role=role)
        if len(self._places) > PLACES_MAX:
            self._give_up(answers=0)

    def said(self, item_id: str, words: str) -> None:
        """Words of an item that is not complete yet."""
        place = self._places.get(item_id)
        if place is not None and place.item is None:
            place.words.append(words)

    def transcribed(self, item_id: str, words: str) -> None:
        """All that the user said in an item; xAI says so several times, each time with more, and
        may do so when the item is in the conversation already.
        """
        place = self._places.get(item_id)
        if place is not None:
            place.words = [words]
            place.item = _message(item_id, place, "completed")
        elif self._conversation.has(item_id):
            said = Place(role="user", words=[words])
            self._conversation.replace(_message(item_id, said, "completed"))

    def keep(self, item_id: str, item: Item) -> None:
        """An item is complete, or is told again."""
        if self._conversation.has(item_id):
            self._conversation.replace(item)
        else:
            self.add(item)

    def forget(self, item_id: str) -> None:
        """An item is no part of the conversation any more."""
        self.drop(item_id)
        self.settle()
        self._conversation.remove(item_id)

    def drop(self, item_id: str) -> None:
        """An item will never be complete."""
        self._places.pop(item_id, None)

    def answered(self, items: Iterable[Item]) -> None:
        """An answer ended; ``items`` are its own, complete."""
        for item in items:
            item_id = str(item.get("id", len(self._places)))
            place = self._places.setdefault(item_id, Place(role=""))
            place.item = _kept(item)
        for place in self._places.values():
            place.answers += 1
        self._give_up(answers=ANSWERS_MAX)

    def abandon(self) -> None:
        """The provider is gone: of what is incomplete the words are kept that are known."""
        for item_id, place in self._places.items():
            if place.item is None and place.words:
                place.item = _message(item_id, place, "incomplete")
        self._give_up(answers=0)

    def settle(self) -> None:
        """Move what is complete into the conversation, up to what is not."""
        while self._places:
            item_id, place = next(iter(self._places.items()))
            if place.item is None:
                return
            del self._places[item_id]
            self._conversation.add(place.item)

    def _give_up(self, *, answers: int) -> None:
        """Incomplete items of the user after which so many answers ended are dropped."""
        self._places = {
            name: place
            for name, place in self._places.items()
            if place.item is not None or place.answers < answers
        }
        self.settle()


def _is_unheard(place: Place) -> bool:
    return place.role == "user" and place.item is None and place.answers == 0


def _message(item_id: str, place: Place, status: str) -> Item:
    part = "input_audio" if place.role == "user" else "output_audio"
    return {
        "id": item_id,
        "type": "message",
        "role": place.role,
        "status": status,
        "content": [{"type": part, "transcript": "".join(place.words)}],
    }


def _kept(item: Mapping[str, Any]) -> Item:
    return {name: item[name] for name in _KEPT if item.get(name) is not None}
