"""The user's items that are not complete yet, and how they are closed. Pure.

When the provider's connection is gone, the audio that it had buffered is lost. A client that was
told of speech in it hears that the buffer was cleared, which is what happened.
"""

from typing import Any, Final

Json = dict[str, Any]

CLEARED: Final = "input_audio_buffer.cleared"
# Items that were added and are not done: beyond that the oldest are not closed. xAI says of none
# that it is done.
ITEMS_MAX: Final = 64


class Speech:
    """What is being said in one session."""

    __slots__ = ("_committed", "_has_done", "_undone", "is_heard")

    def __init__(self) -> None:
        self.is_heard = False  # the user speaks, or has spoken what is not committed yet
        self._committed: Json | None = None  # and not added yet
        self._undone: dict[str, Json] = {}
        self._has_done = False

    def started(self) -> None:
        """The provider hears speech."""
        self.is_heard = True

    def cleared(self) -> None:
        """The buffer is empty."""
        self.is_heard = False

    def committed(self, event: Json) -> None:
        """The buffer becomes an item, which will be added."""
        self.is_heard = False
        self._committed = event

    def is_announced(self, item_id: str) -> bool:
        """Whether an item that is added is what was spoken."""
        return self._committed is not None and self._committed.get("item_id") == item_id

    def added(self, item_id: str, item: Json) -> None:
        """An item of the user was added."""
        if self.is_announced(item_id):
            self._committed = None
        self._undone[item_id] = item
        if len(self._undone) > ITEMS_MAX:
            self._undone.pop(next(iter(self._undone)))

    def done(self, item_id: str) -> None:
        """An item is complete, or deleted."""
        self._has_done = True
        self._undone.pop(item_id, None)

    def close(self) -> list[Json]:
        """The provider is gone: the events that close towards the client what was open."""
        events: list[Json] = [{"type": CLEARED}] if self.is_heard else []
        committed, undone = self._committed, self._undone if self._has_done else {}
        if committed is not None:
            item_id, content = (
                committed.get("item_id"),
                [{"type": "input_audio", "transcript": None}],
            )
            item = {"id": item_id, "type": "message", "role": "user", "content": content}
            previous = {"previous_item_id": committed.get("previous_item_id")}
            events.append({"type": "conversation.item.added", **previous, "item": item})
            undone = {**undone, str(item_id): item}
        events += [
            {"type": "conversation.item.done", "item": {**item, "status": "completed"}}
            for item in undone.values()
        ]
        self.is_heard, self._committed, self._undone = False, None, {}
        return events
