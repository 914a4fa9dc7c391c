"""What a relay is compared with; each is a process of its own in front of the same provider.

haproxy (one thread), nginx (one worker) and LiteLLM's proxy where they are installed, and two
programs on uvloop that are here: ``python -m bench.compared_relays PORT PROVIDER bytes`` passes
bytes on as they come and knows nothing of frames, the least that an asyncio program can do; with
``messages`` it is what one writes first with ``websockets``.
"""

import asyncio
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, cast

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench import machine
from tests.support.harness import eventually
from tests.support.ports import free_ports, is_free

# One thread, and the tunnel that a WebSocket is for it: it reads no frame.
_HAPROXY: Final = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
listen relay
    bind 127.0.0.1:{port} {bind}
    server provider {provider} {server}
"""
# One process. It buffers nothing of a connection that was upgraded, and reads no frame.
_NGINX: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 10000;
events {{ worker_connections 5000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{provider};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""
_LITELLM: Final = """
model_list:
  - model_name: gpt-realtime
    litellm_params:
      model: openai/gpt-realtime
      api_key: sk-the-provider-key
      api_base: http://{provider}/v1
general_settings:
  master_key: {key}
"""
_LITELLM_START_S: Final = 120.0


class Relay(NamedTuple):
    """A process that relays: its name, where it listens, and its id."""

    name: str
    address: str
    pid: int


@contextmanager
def all_of(provider: str, folder: Path, key: str, *, is_quick: bool) -> Iterator[list[Relay]]:
    """Every relay that is installed, before ``provider`` (HOST:PORT). LiteLLM takes half a minute
    to start, so it is left out when ``is_quick``; it lets clients in that have ``key``.
    """
    with ExitStack() as stack:
        found: list[Relay | None] = [
            stack.enter_context(haproxy(provider, folder)),
            stack.enter_context(nginx(provider, folder)),
            stack.enter_context(on_uvloop("bytes", provider)),
            stack.enter_context(on_uvloop("messages", provider)),
        ]
        if not is_quick:
            found.append(stack.enter_context(litellm(provider, folder, key)))
        yield [relay for relay in found if relay is not None]


@contextmanager
def haproxy(
    provider: str, folder: Path, *, bind: str = "", server: str = ""
) -> Iterator[Relay | None]:
    """haproxy before ``provider``, or None where it is not installed; ``bind`` and ``server`` are
    more options of its lines.
    """
    if (program := machine.find("haproxy")) is None:
        yield None
        return
    (port,) = free_ports(1)
    config = folder / f"haproxy-{port}.cfg"
    config.write_text(_HAPROXY.format(port=port, provider=provider, bind=bind, server=server))
    with _running("haproxy", port, [program, "-q", "-f", str(config)]) as relay:
        yield relay


@contextmanager
def nginx(provider: str, folder: Path) -> Iterator[Relay | None]:
    """nginx before ``provider``, or None where it is not installed."""
    if (program := machine.find("nginx")) is None:
        yield None
        return
    (port,) = free_ports(1)
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(port=port, provider=provider, folder=folder))
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]
    with _running("nginx", port, command) as relay:
        yield relay


@contextmanager
def litellm(provider: str, folder: Path, key: str) -> Iterator[Relay | None]:
    """LiteLLM's proxy before ``provider``, or None where it is not installed."""
    if (program := machine.find("litellm")) is None:
        yield None
        return
    (port,) = free_ports(1)
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(provider=provider, key=key))
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with _running("LiteLLM", port, command) as relay:
        address = f"http://127.0.0.1:{port}/health/liveliness"

        def is_up() -> bool:
            with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                return True
            return False

        eventually(is_up, seconds=_LITELLM_START_S)
        yield relay


@contextmanager
def on_uvloop(kind: str, provider: str) -> Iterator[Relay]:
    """One of the programs below before ``provider``: ``bytes`` or ``messages``."""
    (port,) = free_ports(1)
    upstream = provider.rpartition(":")[2]
    command = [sys.executable, "-m", "bench.compared_relays", str(port), upstream, kind]
    name = {"bytes": "bytes on uvloop", "messages": "websockets on uvloop"}[kind]
    with _running(name, port, command) as relay:
        yield relay


@contextmanager
def _running(name: str, port: int, command: list[str]) -> Iterator[Relay]:
    # LiteLLM would else fetch its prices from the internet.
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: process.poll() is not None or not is_free(port), seconds=120)
            assert process.poll() is None, f"{name} exited {process.returncode}"
            yield Relay(name, f"127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


class _Half(asyncio.Protocol):
    """One connection; what it gets is written to the ``other`` one, or kept until that is there."""

    def __init__(self, other: "_Half | None" = None) -> None:
        self.other = other
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        assert self.other is not None
        if self.other._transport is None:
            self.other._early.append(data)
        else:
            self.other._transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the event loop."""
        if self.other is not None and self.other._transport is not None:
            self.other._transport.close()


async def _pass_bytes(port: int, provider: int) -> None:
    loop = asyncio.get_running_loop()
    dialling = set()

    def accept() -> _Half:
        client = _Half()
        other = client.other = _Half(client)
        dial = loop.create_connection(lambda: other, "127.0.0.1", provider)
        task = loop.create_task(dial)
        dialling.add(task)
        task.add_done_callback(dialling.discard)
        return client

    server = await loop.create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


async def _pass_messages(port: int, provider: int) -> None:
    async def pump(source: Connection, target: Connection) -> None:
        with suppress(ConnectionClosed):
            async for message in source:
                await target.send(message)
        await target.close()

    async def relay(client: ServerConnection) -> None:
        assert client.request is not None
        url = f"ws://127.0.0.1:{provider}{client.request.path}"
        async with connect(url, compression=None) as upstream:
            await asyncio.gather(pump(client, upstream), pump(upstream, client))

    async with serve(relay, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    _passes = {"bytes": _pass_bytes, "messages": _pass_messages}[sys.argv[3]]
    uvloop.run(_passes(int(sys.argv[1]), int(sys.argv[2])))
