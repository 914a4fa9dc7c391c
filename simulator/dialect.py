"""The OpenAI family's dialects: what each says in place of OpenAI GA, which sessions speak inside.

A dialect belongs to one connection. It translates the client's events to GA's (``inward``), and
GA's to its own (``outward``): to several, to none, or to raw bytes.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Final

from simulator.conversation import Conversation
from simulator.openai_events import Event

DELTA_MS: Final = 250


class Dialect:
    """OpenAI GA itself; the others override what differs."""

    ping_s: float | None = None
    takes_binary_audio = False

    def greeting(self, _conversation: Conversation) -> list[Event]:
        """What follows session.created."""
        return []

    def inward(self, message: Event) -> Event:
        """A client's event as GA's; whatever its shape, it must be survived."""
        return message

    def outward(self, event: Event) -> list[Event | bytes]:
        """What goes on the wire for an event of GA."""
        return [event]

    def usage_in(self, event: Event) -> Any:
        """The usage in a response.done of this dialect."""
        return event["response"].get("usage")

    def delta_sizes_ms(self) -> Iterator[int]:
        """How long each audio delta of a response is."""
        return repeat(DELTA_MS)
