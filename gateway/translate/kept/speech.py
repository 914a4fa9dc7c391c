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

    __slots__ = ("_committed", "_has_audio", "_undone", "is_heard")

    def __init__(self) -> None:
        self.is_heard = False  # the user speaks, or has spoken what is not committed yet
        self._has_audio = False  # something was sent since the buffer was empty
        self._committed: Json | None = None  # and not added yet
        self._undone: dict[str, Json] = {}

    @property
    def is_announced(self) -> bool:
        """Whether an item is about to be added."""
        return self._committed is not None

    def waits(self, *, is_manual: bool) -> bool:
        """Whether the provider has something of a turn that is not over. ``is_manual``: it is the
        client that says when a turn is over, so all that it sent may belong to one.
        """
        return self.is_heard or (is_manual and self._has_audio)

    def sent(self) -> None:
        """The client sends audio."""
        self._has_audio = True

    def see(self, kind: str, event: Json) -> bool:
        """Something became of the buffer: whether it is a part of a new turn."""
        if kind == "input_audio_buffer.speech_started":
            self.started()
        elif kind == "input_audio_buffer.committed":
            self.committed(event)
        elif kind == CLEARED:
            self.cleared()
            return False
        else:
            return False
        return True

    def started(self) -> None:
        """The provider hears speech."""
        self.is_heard = True

    def cleared(self) -> None:
        """The buffer is empty."""
        self.is_heard = self._has_audio = False

    def committed(self, event: Json) -> None:
        """The buffer becomes an item, which will be added; xAI adds it when speech begins."""
        self.cleared()
        self._committed = event if event.get("item_id") not in list(self._undone) else None

    def announces(self, item_id: str) -> bool:
        """Whether an item that is added is what was spoken."""
        return self._committed is not None and self._committed.get("item_id") == item_id

    def added(self, item_id: str, item: Json) -> None:
        """An item of the user was added."""
        if self.announces(item_id):
            self._committed = None
        self._undone[item_id] = item
        if len(self._undone) > ITEMS_MAX:
            self._undone.pop(next(iter(self._undone)))

    def done(self, item_id: str) -> None:
        """An item is complete, or deleted."""
        self._undone.pop(item_id, None)

    def close(self, *, is_manual: bool, says_done: bool) -> list[Json]:
        """The provider is gone: the events that close towards the client what was open. Of items
        they only say that they are done where the provider does (``says_done``).
        """
        events: list[Json] = [{"type": CLEARED}] if self.waits(is_manual=is_manual) else []
        committed, undone = self._committed, self._undone
        if committed is not None:
            item_id = committed.get("item_id")
            content = [{"type": "input_audio", "transcript": None}]
            item = {"id": item_id, "type": "message", "role": "user", "content": content}
            previous = {"previous_item_id": committed.get("previous_item_id")}
            events.append({"type": "conversation.item.added", **previous, "item": item})
            undone = {**undone, str(item_id): item}
        if says_done:
            events += [
                {"type": "conversation.item.done", "item": {**item, "status": "completed"}}
                for item in undone.values()
            ]
        self._committed, self._undone = None, {}
        self.cleared()
        return events


def is_whole(item: Json) -> bool:
    """Whether an item that is added is complete: what a client creates is."""
    return item.get("type") != "message" or (bool(item.get("content")) and not is_unheard(item))


def is_unheard(item: Json) -> bool:
    """Whether it is speech of which the transcript is still to come."""
    content = item.get("content")
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    return any(part.get("type") == "input_audio" and not part.get("transcript") for part in parts)
