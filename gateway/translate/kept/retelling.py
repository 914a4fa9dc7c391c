"""What a provider is told in place of another one, and which of its answers are to that. Pure.

The client has heard these answers before, so it gets none of them. They come in the order of what
was told, and before those to anything that the client says now. A provider may give an item another
name than it was told: where it names that one as what stands before a new item, the client gets the
name that it knows.
"""

from collections.abc import Iterable
from typing import Any, Final

from gateway.translate.base import Ids
from gateway.translate.kept.unanswered import CREATE_ITEM, DELETE_ITEM, UPDATE
from gateway.translate.to_openai.replayed import Missing

Json = dict[str, Any]

DELETED: Final = "conversation.item.deleted"
_ID: Final = "told"
_PREVIOUS: Final = "previous_item_id"
# Each empty set of one's own takes 216 bytes, for as long as the session stands.
_NONE: Final[frozenset[str]] = frozenset()


class Retelling:
    """Of one session: what its newest provider was told. ``seed``: see ``Ids``."""

    __slots__ = (
        "_added", "_awaits_created", "_deleted", "_due", "_ids", "_known", "_lost", "_names",
        "_update", "is_repeated",
    )  # fmt: skip

    def __init__(self, seed: str) -> None:
        self._ids = Ids(seed)
        self._awaits_created = False
        self._update = ""  # the id of the configuration, until that is answered
        self._due: dict[str, str] = {}  # items to be added: their names, by the ids of the events
        self._added: dict[str, None] = {}  # and not done yet
        self._deleted: dict[str, None] = {}  # items that are to be taken out
        # What the client knows and this provider does not, or as text only; ``_lost`` of the last.
        self._known: frozenset[str] = _NONE
        self._lost: frozenset[str] = _NONE
        self._names: dict[str, str] = {}  # the client's, by this provider's
        # The client has heard the beginning of the session from another provider.
        self.is_repeated = False

    @property
    def is_open(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._awaits_created or self._update or self._due or self._added)

    def begin(
        self, session: Json, items: Iterable[Json], *, is_announced: bool, has_names: bool = False
    ) -> list[Json]:
        """Another provider is there: what it is told of the ``session``, nothing if that is empty,
        and of the ``items``. ``is_announced``: the client has heard ``session.created``.
        ``has_names``: it goes on with its conversation, and may have items by names of its own.
        """
        self._awaits_created = self.is_repeated = is_announced
        self._update = self._ids.make(_ID) if session else ""
        self._due, self._known = {}, self._lost
        self._added.clear()
        self._deleted.clear()
        if not has_names:
            self._names.clear()
        update = {"type": UPDATE, "event_id": self._update, "session": session}
        return [*([update] if session else []), *self.tell(Missing(item, "") for item in items)]

    def tell(self, items: Iterable[Missing]) -> list[Json]:
        """The messages that create ``items``."""
        creates: list[Json] = []
        for told in items:
            name = self._ids.make(_ID)
            self._due[name] = str(told.item.get("id", ""))
            place = {_PREVIOUS: told.previous_id} if told.previous_id else {}
            creates.append({"type": CREATE_ITEM, "event_id": name, **place, "item": told.item})
        self._known = self._known.union(self._due.values()) if self._due else self._known
        return creates

    def take_out(self, item_ids: Iterable[str]) -> list[Json]:
        """The messages that delete items of which the client does not know."""
        deletes: list[Json] = []
        for item_id in item_ids:
            self._deleted[item_id] = None
            name = self._ids.make(_ID)
            deletes.append({"type": DELETE_ITEM, "event_id": name, "item_id": item_id})
        return deletes

    def deleted(self, kind: str, item_id: str) -> bool:
        """Something happened to an item: whether it is that it was deleted, as was told."""
        is_ours = kind == DELETED and item_id in self._deleted
        self._deleted.pop(item_id, None)
        return is_ours

    def lost(self, item_ids: set[str]) -> None:
        """Items that were open when the provider left: the next one may not be told of them."""
        self._lost = frozenset(item_ids) if item_ids else _NONE

    def has(self, item_id: object) -> bool:
        """Whether the client knows an item that this provider has as text, or not at all."""
        return isinstance(item_id, str) and item_id in self._known

    def created(self) -> bool:
        """A ``session.created``: whether the client has heard one from another provider."""
        is_heard, self._awaits_created = self._awaits_created, False
        return is_heard

    def updated(self) -> bool:
        """A ``session.updated``: whether it answers what was told."""
        is_ours, self._update = bool(self._update), ""
        return is_ours

    def added(self, item_id: str, *, is_new: bool) -> bool:
        """An item was added: whether it was told. ``is_new``: it is known to be another one."""
        if is_new or not (self._due or item_id in self._known):
            return False
        named = (event_id for event_id, name in self._due.items() if name == item_id)
        event_id = next(named, next(iter(self._due), ""))
        name = self._due.pop(event_id, item_id)
        self.is_named(item_id, name or item_id)
        self._added[item_id] = None
        return True

    def done(self, item_id: str) -> bool:
        """An item is done: whether it was told."""
        is_ours = item_id in self._added
        self._added.pop(item_id, None)
        return is_ours

    def refused(self, error: Json) -> bool:
        """An error: whether it is about what was told."""
        event_id = error.get("event_id")
        if not isinstance(event_id, str) or not self._ids.has_made(event_id, _ID):
            return False
        self._due.pop(event_id, None)
        self._update = "" if event_id == self._update else self._update
        return True

    def end(self) -> None:
        """The provider answers what came after that: what it has not answered it never will."""
        self._update, self._due = "", {}

    def name_of(self, item_id: str) -> str:
        """The name that the client knows of an item."""
        return self._names.get(item_id, item_id)

    def is_named(self, item_id: str, name: str) -> None:
        """The provider calls the item ``item_id`` that the client knows as ``name``."""
        if name != item_id:
            self._names[item_id] = name

    def renamed(self, event: Json) -> Json:
        """``event`` with the name that the client knows of the item that it stands behind."""
        previous = event.get(_PREVIOUS)
        name = self._names.get(previous) if isinstance(previous, str) else None
        return event if name is None else {**event, _PREVIOUS: name}


# Of a session that is at its first provider still: most are, to their end.
NOTHING_TOLD: Final = Retelling("")
