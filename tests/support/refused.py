"""Requests that are refused at the door: ways to carry a key, and what came back, as bytes.

Each request comes from an address of its own, so that none suffers from what another one did there.
"""

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.support.harness import eventually

SECONDS: Final = 20.0
UPGRADE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
REALTIME: Final = "/v1/realtime?model=gpt-realtime"
AZURE: Final = "/openai/v1/realtime?model=gpt-realtime"
SERVICE: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SECRETS: Final = "/realtime/client_secrets"
CALLS: Final = "/v1/realtime/calls"
OFFER: Final = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
_PLACES = itertools.count(1)


@dataclass(frozen=True)
class Way:
    """How a request carries its key: ``{}`` is the key in a header's value or in the query."""

    name: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    method: str = "GET"
    body: bytes = b""
    is_upgrade: bool = False

    @property
    def may_be_a_page(self) -> bool:
        """Whether it is answered so that a page of any origin can read it."""
        return self.path.partition("?")[0] == CALLS

    def request(self, key: str | None, path: str | None, headers: Mapping[str, str]) -> bytes:
        """The bytes of a request to ``path``: None: its own, ``?…``: added to that; without a key
        where that is None.
        """
        target, query = path or self.path, self.query
        if path is not None and path.startswith("?"):
            target = self.path + path.replace("?", "&" if "?" in self.path else "?", 1)
        named = {"Host": "gateway", **(UPGRADE if self.is_upgrade else {})}
        named |= {
            name: value.format(key)
            for name, value in self.headers.items()
            if key is not None or "{}" not in value
        }
        query = "" if key is None else query.format(key)
        if query:
            target += f"{'&' if '?' in target else '?'}{query}"
        if self.body or self.method == "POST":
            named["Content-Length"] = str(len(self.body))
        named |= headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return f"{self.method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + self.body


def _both(way: Way) -> list[Way]:
    """A handshake, and the plain request by which a page asks why it was refused."""
    return [replace(way, is_upgrade=True), replace(way, name=f"{way.name}, plain")]


# Where the providers' SDKs put a key (``gateway.door.client_key``), each on its provider's path.
_OF_SESSIONS: Final = (
    Way("Bearer", REALTIME, {"Authorization": "Bearer {}"}),
    Way("bearer", REALTIME, {"authorization": "bearer  {}"}),
    Way("Token", f"{SERVICE}Constrained", {"Authorization": "Token auth_tokens/{}"}),
    Way("api-key", AZURE, {"api-key": "{}"}),
    Way("x-goog-api-key", SERVICE, {"x-goog-api-key": "{}"}),
    Way("subprotocol", REALTIME,
        {"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.{}"}),
    Way("xAI's subprotocol", REALTIME, {"Sec-WebSocket-Protocol": "xai-client-secret.{}"}),
    Way("?key=", SERVICE, query="key={}"),
    Way("?access_token=", f"{SERVICE}Constrained", query="access_token=auth_tokens/{}"),
    Way("?api-key=", AZURE, query="api-key={}"),
    Way("?rs_key=", REALTIME, query="rs_key={}"),
)  # fmt: skip
SESSIONS: Final = [each for way in _OF_SESSIONS for each in _both(way)]
HANDSHAKES: Final = [way for way in SESSIONS if way.is_upgrade]
IN_URLS: Final = [way for way in SESSIONS if way.query]
GEMINI: Final = [way for way in HANDSHAKES if way.path.startswith(SERVICE)]
_OWN: Final = (
    {"Authorization": "Bearer {}"}, {"api-key": "{}"}, {"x-goog-api-key": "{}"},
)  # fmt: skip


def posts(name: str, path: str, body: bytes = b"{}", **headers: str) -> list[Way]:
    """POST with an account's own key, where that may stand."""
    return [
        Way(f"{name}, {next(iter(own))}", path, {**own, **headers}, method="POST", body=body)
        for own in _OWN
    ]


# What is asked over plain HTTP. What opens something, or makes a key that does:
MINTS: Final = [
    *posts("client_secrets", f"/v1{SECRETS}"),
    *posts("client_secrets, Azure", f"/openai/v1{SECRETS}"),
    *posts("client_secrets, translations", "/v1/realtime/translations/client_secrets",
            b'{"session": {"model": "gpt-realtime-translate"}}'),
]  # fmt: skip
OFFERS: Final = [
    *posts("call", f"{CALLS}?model=gpt-realtime", OFFER, **{"Content-Type": "application/sdp"}),
    Way("call, ?rs_key=", f"{CALLS}?model=gpt-realtime", {"Content-Type": "application/sdp"},
        query="rs_key={}", method="POST", body=OFFER),
]  # fmt: skip
ACCEPTS: Final = posts("accept", f"{CALLS}/rtc_1/accept")
OPENING: Final = [*MINTS, *OFFERS, *ACCEPTS]
# What is answered to an account that is disabled or has no credit, too.
READING: Final = [
    *posts("hangup", f"{CALLS}/rtc_1/hangup"),
    *(Way(f"console, {next(iter(own))}", "/api/account", own) for own in _OWN),
]
OWN_KEY: Final = [*MINTS, *ACCEPTS, *READING]
EVERY_WAY: Final = [*SESSIONS, *OPENING, *READING]


@dataclass(frozen=True)
class Answer:
    """What came back. ``raw_headers`` are without the date."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> Mapping[str, Any]:
        """The ``error`` object of the body."""
        found = json.loads(self.body)["error"]
        assert isinstance(found, dict)
        return found

    @property
    def without_date(self) -> tuple[int, frozenset[tuple[str, str]], bytes]:
        """All of it that may not differ."""
        kept = frozenset(pair for pair in self.headers.items() if pair[0] != "date")
        return self.status, kept, self.body


def new_place() -> str:
    """An address of this machine from which nothing has come yet."""
    number = next(_PLACES)
    return f"127.9.{number // 250}.{number % 250 + 1}"


class Connection:
    """One to a gateway, from ``place``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: str, place: str = "") -> "Connection":
        """Connect, and say nothing."""
        host, port = address.split(":")
        return cls(
            *await asyncio.open_connection(host, int(port), local_addr=(place or new_place(), 0))
        )

    async def ask(self, request: bytes) -> Answer:
        """Send a request, read its answer to the end, and close. An upgrade has no end."""
        try:
            return await self.begin(request)
        finally:
            self.close()

    async def begin(self, request: bytes) -> Answer:
        """Send a request, read its answer to the end, and stay."""
        async with asyncio.timeout(SECONDS):
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().rstrip().split("\r\n")
            status = int(first.split()[1])
            body = b"" if status == 101 else await self._reader.read()
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(status, {name.lower(): value for name, value in pairs}, body)

    def close(self) -> None:
        """Leave."""
        self._writer.close()


async def ask(address: str, request: bytes, place: str = "") -> Answer:
    """One request on a connection of its own."""
    connection = await Connection.open(address, place)
    return await connection.ask(request)


class CountingProvider:
    """Accepts connections, counts them as soon as it has, and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepted: list[tuple[socket.socket, object]] = []
        self._probes = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many there were before one of our own, which the kernel hands out after them."""
        with socket.create_connection(self._listener.getsockname()) as probe:
            own = probe.getsockname()
            eventually(lambda: any(peer == own for _, peer in self._accepted))
        self._probes += 1
        return len(self._accepted) - self._probes

    def settings(self, *providers: str) -> dict[str, str]:
        """Those of a gateway for which it is each of ``providers``."""
        found = {
            "openai": {"OPENAI_BASE_URL": f"{self.url}/v1"},
            "azure": {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": self.url},
            "xai": {"XAI_API_KEY": "k", "XAI_BASE_URL": f"{self.url}/xai/v1"},
            "gemini": {"GEMINI_API_KEY": "k", "GEMINI_BASE_URL": self.url},
        }
        return {name: value for each in providers for name, value in found[each].items()}

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *(accepted for accepted, _ in self._accepted)):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted = self._listener.accept()
            except OSError:  # closed
                return
            self._accepted.append(accepted)


@contextmanager
def counting_provider() -> Iterator[CountingProvider]:
    """One, as long as it is needed."""
    provider = CountingProvider()
    try:
        yield provider
    finally:
        provider.close()
