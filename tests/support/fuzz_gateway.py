"""What a whole gateway makes of any bytes, and of anything that happens in a session.

The bytes of ``door`` are those of a client that begins; those of ``relay`` are ``Records``. Each
raises where the gateway does what it should not.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

import h11

from gateway.connections.downstream import Downstream
from gateway.frame_scanner import FrameScanner
from tests.support.fake_provider import UNKEPT
from tests.support.fuzz_parts import SEPARATOR
from tests.support.gateway_in_process import API_KEY, InProcess, Wire, gateways_in_process
from tests.support.raw_frames import BINARY, KEY, TEXT, frame

_HEAD_END: Final = b"\r\n\r\n"
_HOST: Final = ("Host", "h")
# Of a gateway in a process: its outbox holds 100,000 batches, and nobody takes them.
_CASES_MAX: Final = 2_000
_STATUSES: Final = frozenset(
    {200, 204, 304, 400, 401, 402, 403, 404, 405, 413, 415, 426, 429, 502, 503}
)
# Sessions of each kind: how the client asks for one.
SESSIONS: Final = (
    "/v1/realtime?model=gpt-realtime",
    "/v1/realtime?model=gemini-2.5-flash-native-audio-preview-12-2025",
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    "/provider/openai/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    "/xai/v1/realtime",
    "/v1/live/sessions",
    "/v1/realtime/translations?model=gpt-realtime-translate",
    "/openai/realtime?deployment=gpt-4o-realtime-preview",
    "/provider/gemini/openai/realtime?deployment=gpt-4o-realtime-preview",
)


def upgrade(target: str) -> bytes:
    """The opening handshake of a client with the key that accountd knows."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


class Gateways:
    """Two gateways in this process, one of which keeps sessions, made anew now and then."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._left = 0
        self._open: list[InProcess] = []
        self._closing: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self, target: Callable[[InProcess, bytes], Awaitable[None]], data: bytes) -> None:
        """One case, at one of them."""
        self._runner.run(self._run(target, data))

    def __enter__(self) -> "Gateways":
        """It begins with the first case."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close everything."""
        self._runner.run(self._close())
        self._runner.close()

    def door(self, data: bytes) -> None:
        """See ``door``."""
        self.run(door, data)

    def relay(self, data: bytes) -> None:
        """See ``relay``."""
        self.run(relay, data)

    async def _run(
        self, target: Callable[[InProcess, bytes], Awaitable[None]], data: bytes
    ) -> None:
        if not self._left:
            await self._close()
            ready = asyncio.Event()
            self._closing = asyncio.Event()
            self._task = asyncio.create_task(self._serve(ready, self._closing))
            await ready.wait()
            self._left = _CASES_MAX
        self._left -= 1
        gateway = self._open[len(data) % 2]
        try:
            await target(gateway, data)
        except BaseException:
            self._left = 0  # what it left behind is no fault of the next case
            raise

    async def _serve(self, ready: asyncio.Event, closing: asyncio.Event) -> None:
        with tempfile.TemporaryDirectory(prefix="rts-") as folder:
            async with gateways_in_process(Path(folder), {}, UNKEPT) as self._open:
                ready.set()
                await closing.wait()

    async def _close(self) -> None:
        if self._closing is not None and self._task is not None:
            self._closing.set()
            await self._task
            self._closing = self._task = None


async def door(gateway: InProcess, data: bytes) -> None:
    """Any bytes of a client that begins, after one that says how they arrive: it is answered as
    HTTP wants it, or upgraded, or still has to say something within a deadline.
    """
    if not data:
        return
    how, data = data[0], data[1:]
    client, wire = gateway.connect(is_proxied=bool(how & 1))
    cut = 1 + (how >> 2) if how & 2 else len(data) or 1
    for at in range(0, len(data), cut):
        wire.feed(data[at : at + cut])
        await gateway.settle()
    assert wire.is_cut or wire.written or gateway.has_deadline(client), "it waits for ever"
    _check_answer(bytes(wire.written), client)
    await gateway.finish(wire)


def _check_answer(written: bytes, client: Downstream) -> None:
    """A whole answer, 100 Continue and nothing else, or an upgrade and whole frames."""
    if not written:
        return
    if not client.is_passing:
        head, _, said = written.partition(_HEAD_END)
        assert head.startswith(b"HTTP/1.1 101 ")
        _check_frames(said, is_masked=False)
        return
    is_head = client._exchange is not None and client._exchange.is_head
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="HEAD" if is_head else "GET", target="/", headers=[_HOST]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(written)
    events = []
    while not isinstance(event := reader.next_event(), h11.EndOfMessage | type(h11.NEED_DATA)):
        events.append(event)
    if isinstance(event, h11.EndOfMessage):
        assert reader.trailing_data == (b"", False)
        (status,) = [event.status_code for event in events if isinstance(event, h11.Response)]
        assert status in _STATUSES, events
    else:
        assert [type(event) for event in events] == [h11.InformationalResponse], events


class Records:
    """What happens in a session: records between ``SEPARATOR``, each of which begins with a letter.

    c, p: a text of the client, of the provider. b: binary of the provider. C, P: their raw bytes.
    s, S: the client, the provider does not keep up, or does again. t: a second passes. x: the
    provider is lost. e, E: the client's, the provider's direction ends.
    """

    def __init__(self, gateway: InProcess, wire: Wire) -> None:
        self._gateway = gateway
        self._client = wire
        self._stalled: set[int] = set()

    @cached_property
    def actions(self) -> dict[int, Callable[[bytes], None]]:
        """What each letter does."""
        client, provider = self._client, self._provider
        return {
            ord("c"): lambda said: client.feed(frame(TEXT, said, key=KEY)),
            ord("p"): lambda said: provider(lambda wire: wire.feed(frame(TEXT, said))),
            ord("b"): lambda said: provider(lambda wire: wire.feed(frame(BINARY, said))),
            ord("C"): client.feed,
            ord("P"): lambda said: provider(lambda wire: wire.feed(said)),
            ord("s"): lambda _: self._stall(client),
            ord("S"): lambda _: provider(self._stall),
            ord("t"): lambda said: self._gateway.tick(said[0] if said else 1),
            ord("x"): lambda _: provider(Wire.abort),
            ord("e"): lambda _: client.end(),
            ord("E"): lambda _: provider(Wire.end),
        }

    async def play(self, records: Sequence[bytes]) -> None:
        """One after the other."""
        for record in records:
            if record and (action := self.actions.get(record[0])) is not None:
                action(record[1:])
                await self._gateway.settle()

    def _provider(self, act: Callable[[Wire], None]) -> None:
        if self._gateway.providers:
            act(self._gateway.providers[-1])

    def _stall(self, wire: Wire) -> None:
        is_stalled = id(wire) in self._stalled
        (self._stalled.discard if is_stalled else self._stalled.add)(id(wire))
        (wire.resume if is_stalled else wire.pause)()


async def relay(gateway: InProcess, data: bytes) -> None:
    """Any records after a byte that says which session it is: what the gateway writes is frames as
    each side has to have them, and nobody stays when all have left.
    """
    if not data:
        return
    _, wire = gateway.connect()
    wire.feed(upgrade(SESSIONS[data[0] % len(SESSIONS)]))
    await gateway.settle()
    assert wire.written.startswith(b"HTTP/1.1 101 "), wire.written
    await Records(gateway, wire).play(data[1:].split(SEPARATOR))
    _check_frames(bytes(wire.written).partition(_HEAD_END)[2], is_masked=False)
    for provider in gateway.providers:
        _check_frames(bytes(provider.written), is_masked=True)
    await gateway.finish(wire)


def _check_frames(written: bytes, *, is_masked: bool) -> None:
    """Whole frames. A close may stand in a message: it is not continued."""
    scanner = FrameScanner(expects_mask=is_masked)
    scanner.feed(written)
    violation = scanner.violation
    assert violation is None or violation.reason == "incomplete fragmented message", violation
    assert scanner.pending_bytes == 0 or violation is not None
