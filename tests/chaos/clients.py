"""Clients that talk through any gateway that accepts them, and reconnect when they are cut off."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.support.speech import chunks, silence, tone

TURN_S = 15.0  # a response that takes longer is given up: its gateway may be stopped
OPEN_S = 5.0
VANISHING = 0.15  # of all turns end with the client's connection, in the middle
SPEAKING = 0.25  # of all sessions are spoken
_WRITTEN = {
    "type": "session.update",
    "session": {"type": "realtime", "output_modalities": ["text"]},
}
_RESPOND = json.dumps({"type": "response.create"})
_SPEECH = [
    json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()})
    for piece in chunks(tone(0.3) + silence(0.6), 100)
]


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway listens, and the name of the process that listens there now."""

    url: str
    process: str


@dataclass
class Crowd:
    """All clients. ``received`` are the responses that a client heard to their end."""

    keys: Sequence[str]
    doors: Callable[[], Sequence[GatewayAddress]]
    chance: random.Random
    pause_s: float
    received: set[str] = field(default_factory=set)
    sessions: int = 0
    refused: int = 0
    cut_off: int = 0
    is_over: bool = False

    async def talk(self, clients: int) -> None:
        """So many clients, until ``is_over``."""
        await asyncio.gather(*(self._come_back() for _ in range(clients)))

    async def _come_back(self) -> None:
        while not self.is_over:
            try:
                await self._session()
            except (InvalidHandshake, OSError, TimeoutError):
                self.refused += 1
            await asyncio.sleep(self.chance.uniform(0, 2 * self.pause_s))

    async def _session(self) -> None:
        door, key = self.chance.choice(self.doors()), self.chance.choice(self.keys)
        pace = self.chance.choice((0, 0, 0, 20))
        query = f"model=gpt-realtime&pace={pace}&via={door.process}&rs_key={key}"
        is_spoken = self.chance.random() < SPEAKING
        async with connect(
            f"{door.url}?{query}", max_size=None, open_timeout=OPEN_S, close_timeout=1
        ) as socket:
            self.sessions += 1
            try:
                await self._turns(socket, is_spoken=is_spoken)
            except (WebSocketException, OSError, TimeoutError):
                self.cut_off += 1

    async def _turns(self, socket: ClientConnection, *, is_spoken: bool) -> None:
        if not is_spoken:
            await socket.send(json.dumps(_WRITTEN))
        for _ in range(self.chance.randint(1, 12)):
            if self.is_over:
                return
            await self._turn(socket, is_spoken=is_spoken)
            await asyncio.sleep(self.chance.uniform(0, 2 * self.pause_s))

    async def _turn(self, socket: ClientConnection, *, is_spoken: bool) -> None:
        for message in _SPEECH if is_spoken else [_RESPOND]:
            await socket.send(message)
        leaves_after = self.chance.randint(0, 8) if self.chance.random() < VANISHING else None
        async with asyncio.timeout(TURN_S):
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                if leaves_after is not None:
                    leaves_after -= 1
                    if leaves_after < 0:
                        socket.transport.abort()
        self.received.add(event["response"]["id"])
