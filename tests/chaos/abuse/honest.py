"""The honest client, in a process of its own: it opens sessions all the time, and talks in one.

``python -m tests.chaos.abuse.honest URL KEY [CERTIFICATE]`` runs until its standard input ends, and
prints what it measured as one JSON object. Times are those of the system's monotonic clock, which
all processes share.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

SOURCE = ("127.0.0.2", 0)
MODEL = "?model=gpt-realtime&pace=0&reply_ms=200"
OPEN_S = 0.1  # between two sessions
FRAME_S = 0.02
PROBE_FRAMES = 5  # frames of audio for each round trip
ANSWERED = 5  # every so many sessions hears an answer, too
WAIT_S = 30.0
AUDIO = json.dumps(
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(960)).decode()}
)
PROBE = '{"type":"input_audio_buffer.clear"}'
ECHO = '"input_audio_buffer.cleared"'


class Honest:
    """What was measured: the instant at which each began, and the seconds that it took."""

    def __init__(self, url: str, key: str, certificate: str) -> None:
        self._url = url + MODEL
        self._key = key
        self._tls = ssl.create_default_context(cafile=certificate) if certificate else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: list[float] = []  # when round trips began
        self._is_last = False  # no further one begins
        self.handshakes: list[tuple[float, float]] = []
        self.round_trips: list[tuple[float, float]] = []
        self.failures: list[tuple[float, str]] = []
        self.refused = 0
        self.answers = 0

    async def run(self) -> None:
        """Until standard input ends."""
        is_over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, is_over.set)
        async with self._session() as talk:
            await talk.recv()
            talking = loop.create_task(self._noting(self._talk(talk, is_over)))
            number = 0
            while not is_over.is_set():
                number += 1
                task = loop.create_task(self._noting(self._visit(number % ANSWERED == 0)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                await asyncio.sleep(OPEN_S)
            await asyncio.gather(talking, *self._tasks)
        print(json.dumps({name: x for name, x in vars(self).items() if name[0] != "_"}))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ClientConnection]:
        async with connect(
            self._url, additional_headers={"Authorization": f"Bearer {self._key}"}, ssl=self._tls,
            local_addr=SOURCE, compression=None, open_timeout=WAIT_S, max_queue=None,
        ) as socket:  # fmt: skip
            yield socket

    async def _noting(self, what: Coroutine[Any, Any, None]) -> None:
        begun = time.monotonic()
        try:
            await what
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is to be seen
            self.failures.append((begun, f"{type(exc).__name__}: {exc}"[:200]))

    async def _visit(self, is_long: bool) -> None:
        """A short session."""
        begun = time.monotonic()
        try:
            async with self._session() as socket, asyncio.timeout(WAIT_S):
                self.handshakes.append((begun, time.monotonic() - begun))
                await _until(socket, '"session.created"')
                if is_long:
                    await socket.send('{"type":"response.create"}')
                    await _until(socket, '"response.done"')
                    self.answers += 1
        except InvalidStatus as exc:
            if exc.response.status_code != 503:
                raise
            self.refused += 1
            self.handshakes.append((begun, time.monotonic() - begun))

    async def _talk(self, socket: ClientConnection, is_over: asyncio.Event) -> None:
        """Audio at the pace of speech, and round trips between it."""
        hearing = asyncio.create_task(self._hear(socket))
        due, frames = time.monotonic(), 0
        while not self._is_last:
            await socket.send(AUDIO)
            frames += 1
            if frames % PROBE_FRAMES == 0:
                self._is_last = is_over.is_set()
                self._asked.append(time.monotonic())
                await socket.send(PROBE)
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        async with asyncio.timeout(WAIT_S):
            await hearing

    async def _hear(self, socket: ClientConnection) -> None:
        """Until the last round trip is answered."""
        while self._asked or not self._is_last:
            if ECHO in str(await socket.recv()):
                asked = self._asked.pop(0)
                self.round_trips.append((asked, time.monotonic() - asked))


async def _until(socket: ClientConnection, part: str) -> None:
    while part not in str(await socket.recv()):
        pass


if __name__ == "__main__":
    asyncio.run(Honest(*[*sys.argv[1:], ""][:3]).run())
