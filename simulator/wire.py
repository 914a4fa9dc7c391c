"""Sends messages on a connection, with the spelling and the fragments that the faults name."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from simulator.faults import ABNORMAL, Faults
from simulator.openai_events import Event, encode

_STRING_START: Final = re.compile(r'(?<!\\)"([A-Za-z])')


class Wire:
    """A connection as a session sees it; ``faults`` may change while it is open."""

    def __init__(
        self,
        connection: ServerConnection,
        faults: Faults,
        *,
        spell: Callable[[Event], str] = encode,
        is_binary: bool = False,
    ) -> None:
        self._connection = connection
        self._spell = spell
        self._is_binary = is_binary
        self.faults = faults

    def is_open(self) -> bool:
        """Whether neither side has closed it yet."""
        return self._connection.state is State.OPEN

    async def send(self, message: Event | bytes) -> None:
        """Send an event, or raw bytes as they are. Raises ``ConnectionError``."""
        if isinstance(message, bytes):
            data, is_text = message, False
        else:
            spelt = oddly(message) if self.faults.is_oddly_spelt else self._spell(message)
            data, is_text = spelt.encode(), not self._is_binary
        try:
            await self._connection.send(_pieces(data, self.faults.fragments), text=is_text)
        except ConnectionClosed as exc:
            raise ConnectionResetError from exc

    async def answered(self) -> None:
        """Wait until the peer has answered a ping: it has read what was sent before. Raises
        ``ConnectionError``.
        """
        try:
            await (await self._connection.ping())
        except ConnectionClosed as exc:
            raise ConnectionResetError from exc

    async def hang_up(self, code: int, reason: str = "as asked for") -> None:
        """Close the connection; 1006 cuts it."""
        if code == ABNORMAL:
            self._connection.transport.abort()
        else:
            await self._connection.close(code, reason)


def oddly(message: Event) -> str:
    """The message as JSON with keys in reverse order, extra white space and needless escapes.

    No provider writes so; a meter has to read it all the same.
    """
    text = json.dumps(_reversed(message), indent=1, separators=(" ,", " :\t"))
    return "\n" + _STRING_START.sub(lambda found: f'"\\u{ord(found[1]):04x}', text) + " "


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reversed(value[name]) for name in reversed(value)}
    return [_reversed(part) for part in value] if isinstance(value, list) else value


def _pieces(data: bytes, count: int) -> bytes | list[bytes]:
    """The frames of a message; a cut may fall inside a character, as RFC 6455 allows."""
    if count == 1 or len(data) < count:
        return data
    return [data[len(data) * n // count : len(data) * (n + 1) // count] for n in range(count)]
