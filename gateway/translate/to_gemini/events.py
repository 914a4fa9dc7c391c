"""Writes the events that the client hears. Pure."""

from typing import Any

from msgspec import json

from gateway.translate.base import Ids


class ClientEvents:
    """Each event gets an id of its own; ``out`` is where it goes, and changes with every message
    that is translated.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.out: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> None:
        """Write one event."""
        self.out.append(json.encode({"type": kind, "event_id": self.next_id(), **fields}))

    def next_id(self) -> str:
        """The id of the next event."""
        return self._ids.make("event")
