"""A whole gateway in this process, between wires that are no sockets: any bytes, at any moment.

Everything is the gateway's own but three things: accountd answers at once (``Answering``), a
provider that is dialled is a ``Wire``, and the clients are. What a wire is given is delivered as
the event loop would deliver it, and what is written to it is kept.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import structlog

from gateway import app, cli
from gateway.accountd_link import AccountdLink
from gateway.callers.proxy_prelude import ProxyPrelude
from gateway.calls.calls import Calls
from gateway.config import load
from gateway.connections import upstream
from gateway.connections.downstream import Downstream
from gateway.door.client_key import hash_key
from gateway.door.signing import Signing
from gateway.metering.totals import Totals
from gateway.providers.lifetimes import Lifetimes
from gateway.relay.sinks import PreOpenBuffer
from gateway.server import GatewayServer
from gateway.session_registry import Registry
from shared.requests import Reply, Request
from shared.wire import LEVEL
from tests.support.fake_accountd import AUTHORIZATION
from tests.support.raw_frames import acceptance

API_KEY: Final = "rslive_v1_" + "0" * 48
KEYS: Final = {
    f"{name}_API_KEY": f"{name}-key" for name in ("OPENAI", "AZURE_OPENAI", "XAI", "GEMINI")
}
SETTINGS: Final = {
    "GATEWAY_LISTEN": "127.0.0.1:0",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
    "XAI_BASE_URL": "http://127.0.0.1:9/xai/v1", "GEMINI_BASE_URL": "http://127.0.0.1:9",
    "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8", "GATEWAY_CLIENT_ADDRESS": "proxy-v2",
    "GATEWAY_SESSIONS_PER_KEY_S": "0", "GATEWAY_PAGE": "yes",
}  # fmt: skip
_HEAD_END: Final = b"\r\n\r\n"
_TURNS: Final = 200  # of the event loop, in which something is still to be done
_WAITS: Final = 200  # for what the gateway may try for some seconds


class _Socket:
    """Where options of a wire go."""

    @staticmethod
    def setsockopt(level: int, option: int, value: Any) -> None:
        """Taken."""


class Wire(asyncio.Transport):
    """One connection of the gateway's, as its event loop would have it."""

    def __init__(
        self, protocol: Any, *, on_written: Callable[["Wire"], None] | None = None
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.protocol = protocol
        self.written = bytearray()
        self.has_ended = False  # the gateway's direction
        self.is_cut = False
        self.on_written = on_written
        self._is_reading = True
        self._unread: list[bytes] = []
        protocol.connection_made(self)

    # --- for a test -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes arrive."""
        self._unread.append(data)
        self._deliver()

    def end(self) -> None:
        """The other side's direction ends; what was not read is lost with it."""
        if not self.is_cut and not self.protocol.eof_received():
            self.abort()

    def pause(self) -> None:
        """The other side does not keep up, as far as the gateway can see."""
        if not self.is_cut:
            self.protocol.pause_writing()

    def resume(self) -> None:
        """It has caught up."""
        if not self.is_cut:
            self.protocol.resume_writing()

    def _deliver(self) -> None:
        while self._unread and self._is_reading and not self.is_cut:
            self.protocol.data_received(self._unread.pop(0))

    # --- for the gateway --------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Keep it."""
        if not self.is_cut and not self.has_ended:
            self.written += data
            if self.on_written is not None:
                self.on_written(self)

    def writelines(self, list_of_data: Any) -> None:
        """Keep them."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """The gateway's direction ends."""
        self.has_ended = True

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def abort(self) -> None:
        """Cut it; the protocol hears of that in the next turn, and once."""
        if not self.is_cut:
            self.is_cut = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    close = abort

    def is_closing(self) -> bool:
        """Whether it is cut."""
        return self.is_cut

    def pause_reading(self) -> None:
        """What arrives waits here, as it would in the kernel."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Deliver what has waited, in the next turn."""
        self._is_reading = True
        self._loop.call_soon(self._deliver)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another one takes over."""
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is none."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is a socket that takes any option."""
        return _Socket if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0


class Answering:
    """accountd's end of the channel: it knows one key, and answers at once."""

    is_reachable = True
    is_outdated = False

    def has_answered_within(self, _seconds: float) -> bool:
        """It has."""
        return True

    async def call(self, request: Request, _deadline_s: float = 0.0) -> Reply:
        """Its answer."""
        match request.method:
            case "authorize" | "console.account":
                if request.params["key_hash"] != hash_key(API_KEY):
                    return Reply(error=("invalid_api_key", "no such key"))
                return Reply({**AUTHORIZATION, "topup_remaining": 10**12, "id": "acct"})
            case "console.usage" | "console.rows" | "console.keys":
                return Reply(error=("bad_request", "no such period"))
            case "handles.use":
                return Reply({"is_allowed": True})
            case "recalls":
                return Reply({"mark": 1, "recalls": []})
            case "ping":
                return Reply({"level": LEVEL, "epoch": 1})
        return Reply({})


class InProcess:
    """A gateway, the providers that it has dialled, and what it complained about."""

    def __init__(self, gateway: GatewayServer, registry: Registry, around: "Around") -> None:
        self.gateway = gateway
        self.registry = registry
        self._around = around
        self._hosts = 0

    @property
    def providers(self) -> list[Wire]:
        """Those that were dialled, in order."""
        return self._around.providers

    def connect(self, *, is_proxied: bool = False) -> tuple[Downstream, Wire]:
        """A client; each has an address of its own, or is passed on by a trusted proxy."""
        self._hosts += 1
        first = 10 if is_proxied else 11
        host = f"{first}.{self._hosts >> 16 & 255}.{self._hosts >> 8 & 255}.{self._hosts & 255}"
        client = self.gateway.make_connection(host)
        assert client is not None
        if not is_proxied:
            return client, Wire(client)
        prelude = ProxyPrelude(
            client.as_protocol(), lambda told: self.gateway.client_told(client, told)
        )
        client.carrier = prelude
        return client, Wire(prelude)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not ready:
                return

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes, and the gateway looks what is due."""
        self._around.later += seconds
        self.registry._ticker.cancel()
        self.registry._check()

    def has_deadline(self, client: Downstream) -> bool:
        """Whether the client has to say something in time, or is about to be answered."""
        return client._handshake_timer is not None or bool(self.registry._tasks)

    async def finish(self, wire: Wire) -> None:
        """All leave: nobody may be left, and nothing may have been complained about."""
        for one in (wire, *self.providers):
            one.abort()
        await self.settle()
        for one in self.providers:  # a session that is kept has dialled another one
            one.abort()
        await self._work_off()
        self.registry._calls.abandon()  # a call outlives who has joined it
        self.registry._calls._abandoned.clear()
        await self.settle()
        self.providers.clear()
        assert not self.registry._tasks, "a task is left"
        assert not self.registry._sessions, "a session is left"
        assert not self.registry._clients, "a client is left"
        assert not self.gateway._callers._connections, "an address is counted that has left"
        assert PreOpenBuffer.opened == 0, "a session is counted that dials no more"
        complaints = self._around.complaints[:]
        self._around.complaints.clear()
        assert not complaints, complaints[0]

    async def _work_off(self) -> None:
        """Whatever is tried again, or waited for, is over soon: time passes."""
        for _ in range(_WAITS):
            await self.settle()
            if not self.registry._tasks:
                return
            self._around.later += 0.5
            await asyncio.sleep(0.001)  # for what is asked over a real socket, which nobody answers


class Around:
    """What several gateways in one process share: providers, the clock, and the log."""

    def __init__(self) -> None:
        self.providers: list[Wire] = []
        self.complaints: list[str] = []
        self.later = 0.0  # than it is
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))
        begun = loop.time
        loop.time = lambda: begun() + self.later  # type: ignore[method-assign]

    async def dialled(self, make: Callable[[], Any], _host: str, _port: int) -> Wire:
        """In place of ``dialing.connect``: a provider that accepts every handshake."""

        def accept(wire: Wire) -> None:
            if wire.written.endswith(_HEAD_END):
                wire.on_written = None
                answer = acceptance(bytes(wire.written))
                wire.written.clear()
                asyncio.get_running_loop().call_soon(wire.feed, answer)

        wire = Wire(make(), on_written=accept)
        self.providers.append(wire)
        return wire

    def note(self, _logger: Any, method: str, event: dict[str, Any]) -> Any:
        """Keep of the log what has a traceback."""
        if event.get("exc_info"):
            self.complaints.append(f"{method} {event!r}")
        raise structlog.DropEvent


@asynccontextmanager
async def gateways_in_process(
    folder: Path, *settings: Mapping[str, str]
) -> AsyncIterator[list[InProcess]]:
    """One for each of ``settings``. ``folder`` is for sockets that nobody listens on."""
    around, before = Around(), structlog.get_config()
    structlog.configure(processors=[around.note])
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(mock.patch.object(upstream, "connect", around.dialled))
            opened = [_opened(folder, each, around) for each in settings]
            yield [await stack.enter_async_context(each) for each in opened]
    finally:
        structlog.configure(**before)
        del asyncio.get_running_loop().time  # type: ignore[method-assign]


@asynccontextmanager
async def _opened(
    folder: Path, settings: Mapping[str, str], around: Around
) -> AsyncIterator[InProcess]:
    secret = folder / "ephemeral.secret"
    secret.write_text("0" * 64)
    secret.chmod(0o600)
    settings = {"GATEWAY_EPHEMERAL_SECRET_FILE": str(secret), **settings}
    with mock.patch.dict(os.environ, KEYS):
        config = load(_settings(folder, settings))
    link = AccountdLink.open(config)
    channel, link.accountd._channel = link.accountd._channel, Answering()  # type: ignore[assignment]
    totals, lifetimes = Totals(), Lifetimes(config.models.lifetimes)
    calls = Calls(
        balances=link.balances, usage=link.usage, recalls=link.recalls, totals=totals,
        lifetimes=lifetimes,
    )  # fmt: skip
    registry = Registry(calls=calls, totals=totals, usage=link.usage, connections_max=0)
    gateway, reports, _ = app._open_gateway(
        config, link, calls=calls, registry=registry, lifetimes=lifetimes, signing=Signing(secret)
    )
    try:
        yield InProcess(gateway, registry, around)
    finally:
        registry._ticker.cancel()
        await reports.close()
        await link.usage.close(0)
        await calls.close()
        await channel.close()
        link.accountd._channel = mock.AsyncMock()
        await link.close()
        link.context.destroy(linger=0)


def _settings(folder: Path, settings: Mapping[str, str]) -> dict[str, str | None]:
    options = ((str(option.name), option.default) for option in cli.serve.params)
    defaults = {name: default for name, default in options if isinstance(default, str)}
    endpoints = {
        f"ACCOUNTD_{x}_ENDPOINT": f"ipc://{folder}/{x}" for x in ("USAGE", "RPC", "EVENTS")
    }
    given = SETTINGS | endpoints | settings
    return {**defaults, **{name.lower(): value for name, value in given.items()}}
