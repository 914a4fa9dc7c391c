"""A provider that does exactly what a test says, behind a real gateway and a real accountd."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.support.harness import Cluster, cluster_folder
from tests.support.tuned import Constants

Script = Callable[[ServerConnection], Awaitable[None]]
Answer = Callable[[ServerConnection, Request], Awaitable[Response | None]]


# Sessions of one protocol end with their provider's connection.
UNKEPT: Final = {"GATEWAY_KEEP_SESSIONS": "no"}


@asynccontextmanager
async def scripted(
    script: Script,
    *,
    answer: Answer | None = None,
    tuned: Constants | None = None,
    gateway: Path | None = None,
    **settings: str,
) -> AsyncIterator[Cluster]:
    """A cluster whose providers run ``script`` for every connection.

    ``answer`` may answer a request for one in another way, None: go on. ``settings`` are the
    gateway's, and so are the constants of ``tuned``; ``gateway`` is a program in place of it.
    """
    serving = serve(script, "127.0.0.1", 0, process_request=answer, max_size=None, compression=None)
    async with serving as server:
        port = server.sockets[0].getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        async with beside(address, tuned=tuned, gateway=gateway, **settings) as cluster:
            yield cluster


@asynccontextmanager
async def beside(
    provider: str,
    *,
    tuned: Constants | None = None,
    gateway: Path | None = None,
    **settings: str,
) -> AsyncIterator[Cluster]:
    """accountd and a gateway that has keys for all providers, all of them at one address.

    They are started without stopping the test's own event loop.
    """
    providers = {
        "OPENAI_BASE_URL": f"{provider}/v1",
        "AZURE_OPENAI_API_KEY": "azure-key",
        "AZURE_OPENAI_ENDPOINT": provider,
        "XAI_API_KEY": "xai-key",
        "XAI_BASE_URL": f"{provider}/xai/v1",
        "GEMINI_API_KEY": "gemini-key",
        "GEMINI_BASE_URL": provider,
    }
    context = cluster_folder()
    cluster = await asyncio.to_thread(context.__enter__)
    try:
        await asyncio.to_thread(cluster.start_accountd)
        models = settings.get("GATEWAY_MODELS_FILE")
        if models is not None:
            (cluster.folder / "models.toml").write_text(models)
            settings["GATEWAY_MODELS_FILE"] = str(cluster.folder / "models.toml")
        await asyncio.to_thread(
            cluster.start_gateway, script=gateway, tuned=tuned, **(providers | settings)
        )
        yield cluster
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def reset_when_closed(connection: socket.socket) -> None:
    """Let the close of a connection be a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
