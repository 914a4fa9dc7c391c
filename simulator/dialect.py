"""The dialects of the OpenAI family: how each differs from OpenAI GA, which ``Session`` speaks.

A dialect belongs to one connection. It translates the client's events to GA's (``inward``), and an
event of GA to the dialect's (``outward``): to one, several, none, or raw bytes.
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
    is_strict = True  # names and values that OpenAI does not know are refused

    def greeting(self, _conversation: Conversation) -> list[Event]:
        """What follows session.created."""
        return []

    def inward(self, message: Event) -> Event:
        """A client's event in GA's form. It is not checked yet, so no shape of it may raise."""
        return message

    def outward(self, event: Event) -> list[Event | bytes]:
        """The messages to send for an event of GA."""
        return [event]

    def usage_in(self, event: Event) -> Any:
        """The usage in a response.done of this dialect."""
        return event["response"].get("usage")

    def delta_sizes_ms(self) -> Iterator[int]:
        """The lengths of the audio deltas of a response, in order, in ms."""
        return repeat(DELTA_MS)
