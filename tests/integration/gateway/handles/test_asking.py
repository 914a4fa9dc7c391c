"""A setup that resumes a session waits until it is known whose that is."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import scripted
from tests.support.golden import Step, framed
from tests.support.harness import SETTLE_S, Cluster, Daemon, eventually
from tests.support.simulator_client_gemini import PATH, SETUP
from tests.support.tuned import SOON_AWAY

RESUMING = json.dumps({"setup": {**SETUP, "sessionResumption": {"handle": "h1"}}}).encode()
SPEECH = b'{"realtimeInput":{"audio":{"data":"UklG"}}}'


class Google:
    """A provider that keeps what it hears, as it comes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.connected, self.gone = asyncio.Event(), asyncio.Event()

    async def serve(self, provider: ServerConnection) -> None:
        """One connection."""
        self.connected.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.heard.append(b"")
                async for part in provider.recv_streaming(decode=False):
                    self.heard[-1] += part
        self.gone.set()

    @property
    def messages(self) -> list[bytes]:
        """What there is of each message."""
        return [message for message in self.heard if message]


@asynccontextmanager
async def joined(cluster: Cluster, google: Google) -> AsyncIterator[ClientConnection]:
    """A client of a new account whose provider is there."""
    key = await asyncio.to_thread(cluster.create_account, "acct")
    async with connect(f"ws://{cluster.address}{PATH}?key={key}") as socket:
        async with asyncio.timeout(SETTLE_S):
            await google.connected.wait()
        yield socket


def say(socket: ClientConnection, message: bytes, *cuts: int) -> None:
    """Send a message in fragments."""
    socket.transport.write(framed(message, Step(is_client=True), cuts))


@contextmanager
def halted(daemon: Daemon | None) -> Iterator[None]:
    """It answers nothing meanwhile."""
    assert daemon is not None
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


async def answered(socket: ClientConnection) -> None:
    """The gateway has read all that was sent before: it answers a ping behind that."""
    async with asyncio.timeout(SETTLE_S):
        await (await socket.ping())


@pytest.mark.parametrize("cuts", [(), (5, 20)], ids=["whole", "in fragments"])
async def test_nothing_goes_on_before_the_answer(cuts: tuple[int, ...]) -> None:
    """Neither the setup nor what is said behind it; then all of it, in order."""
    google = Google()
    async with scripted(google.serve) as cluster, joined(cluster, google) as socket:
        with halted(cluster.accountd):
            say(socket, RESUMING, *cuts)
            say(socket, SPEECH)
            await answered(socket)
            say(socket, SPEECH)
            await answered(socket)
            assert google.messages == []
        await asyncio.to_thread(eventually, lambda: len(google.messages) == 3)
        assert google.messages == [RESUMING, SPEECH, SPEECH]


@pytest.mark.parametrize("cuts", [(), (5, 20)], ids=["whole", "in fragments"])
async def test_nothing_of_a_refused_setup_reaches_the_provider(cuts: tuple[int, ...]) -> None:
    """Its socket is closed, and it was sent nothing."""
    google = Google()
    async with (
        scripted(google.serve, GATEWAY_UNKNOWN_HANDLES="refuse") as cluster,
        joined(cluster, google) as socket,
    ):
        say(socket, RESUMING, *cuts)
        say(socket, SPEECH)
        async with asyncio.timeout(SETTLE_S):
            await socket.wait_closed()
            await google.gone.wait()
        assert (socket.close_code, socket.close_reason) == (
            1008, "BidiGenerateContent session not found",
        )  # fmt: skip
        assert google.messages == []


async def test_without_an_answer_the_client_is_told_to_come_again() -> None:
    """The owner of the session is unknown, so no account may resume it."""
    google = Google()
    serving = scripted(google.serve, tuned=SOON_AWAY)
    async with serving as cluster, joined(cluster, google) as socket:
        with halted(cluster.accountd):
            say(socket, RESUMING)
            async with asyncio.timeout(SETTLE_S):
                await socket.wait_closed()
                await google.gone.wait()
        assert socket.close_code == 1013
        assert google.messages == []


async def test_a_client_that_leaves_before_the_answer_asked_for_nothing() -> None:
    """Its provider is closed at once."""
    google = Google()
    async with scripted(google.serve) as cluster, joined(cluster, google) as socket:
        with halted(cluster.accountd):
            say(socket, RESUMING)
            await answered(socket)
            socket.transport.abort()
            async with asyncio.timeout(SETTLE_S):
                await google.gone.wait()
        assert google.messages == []
        gateway = cluster.gateways[0]
        await asyncio.to_thread(eventually, lambda: "session ended" in gateway.log.read_text())
        assert "estimates=0" in gateway.log.read_text()
