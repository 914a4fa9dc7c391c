"""Clients that come back with the name of their session, and what the provider recalls for them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import simulator_client_gemini as gemini
from tests.support.checked_clients import WRITTEN
from tests.support.harness import Cluster, Daemon, cluster_folder
from tests.support.private_files import write_private
from tests.support.simulator_client import CREATE, Event, send, write
from tests.support.tuned import Constants

RECALL = "sim-recall,pace-0"
STORING = {"GATEWAY_STORE_CONVERSATIONS": "yes"}


def providers(cluster: Cluster) -> dict[str, str]:
    """The settings of a gateway that stores, with all of its providers simulated."""
    assert cluster.simulator is not None
    secret = cluster.folder / "ephemeral.secret"
    write_private(secret, "s" * 64)
    host = f"http://{cluster.simulator.field('listen')}"
    return {
        "AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": host,
        "XAI_API_KEY": "k", "XAI_BASE_URL": f"{host}/xai/v1", "GEMINI_API_KEY": "k",
        "GEMINI_BASE_URL": host, "GATEWAY_EPHEMERAL_SECRET_FILE": str(secret), **STORING,
    }  # fmt: skip


def new_key(cluster: Cluster, account: str) -> str:
    """A key of an account, which is made where it does not exist yet."""
    known = [row["id"] for row in cluster.ask("account.list", limit=None)["accounts"]]
    if account not in known:
        return cluster.create_account(account)
    key = cluster.ask("key.create", account_id=account, label="test", expires_at=None)["key"]
    return str(key)


@asynccontextmanager
async def storing_cluster(gateways: int, *, tuned: Constants) -> AsyncIterator[Cluster]:
    """A cluster whose gateways store conversations, with other constants, started beside the test's
    own event loop.
    """
    context = cluster_folder()
    cluster = await asyncio.to_thread(context.__enter__)
    try:
        await asyncio.to_thread(cluster.start_accountd)
        await asyncio.to_thread(cluster.start_simulator, "--pace", "0")
        for _ in range(gateways):
            await asyncio.to_thread(
                lambda: cluster.start_gateway(tuned=tuned, **providers(cluster))
            )
        yield cluster
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


class Talker:
    """A client of OpenAI's that writes, and reads what the provider recalls."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def hear(self, kind: str) -> Event:
        """The next event of a type."""
        async with asyncio.timeout(20):
            while (event := json.loads(await self.socket.recv()))["type"] != kind:
                assert event["type"] != "error", event
        assert isinstance(event, dict)
        return event

    async def say(self, words: str) -> str:
        """Write something; the answer, which repeats what the provider knows."""
        await send(self.socket, write(words), CREATE)
        (item,) = (await self.hear("response.done"))["response"]["output"]
        (part,) = item["content"]
        return str(part.get("text") or part.get("transcript"))


@asynccontextmanager
async def talker(
    gateway: Daemon, key: str, session: str, *, update: Event | None = WRITTEN, **query: str
) -> AsyncIterator[Talker]:
    """A client with a named session, led to Gemini; it configures its session first."""
    named = {"model": RECALL, "rs_core": "GEMINI", "rs_sessid": session, **query}
    pairs = "&".join(f"{name}={value}" for name, value in named.items())
    url = f"ws://{gateway.field('listen')}/v1/realtime?{pairs}"
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        client = Talker(socket)
        await client.hear("session.created")
        if update is not None:
            await send(socket, update)
            await client.hear("session.updated")
        yield client


class Live:
    """A client of Gemini's that writes, and hears what the provider recalls."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def until(self, name: str) -> Any:
        """The next message with this field at the top, or in ``serverContent``; its words until
        then are added up.
        """
        words = ""
        async with asyncio.timeout(20):
            while True:
                found = json.loads(await self.socket.recv())
                content = found.get("serverContent", {})
                words += content.get("outputTranscription", {}).get("text", "")
                if name in found or name in content:
                    return words

    async def say(self, words: str) -> str:
        """Write something; the answer, which repeats what the provider knows."""
        await send(self.socket, gemini.content(words))
        return str(await self.until("turnComplete"))


@asynccontextmanager
async def live(
    gateway: Daemon, key: str, session: str, provider: str = "openai", **setup: object
) -> AsyncIterator[Live]:
    """A client of Gemini's with a named session, led to ``provider``."""
    url = f"ws://{gateway.field('listen')}/provider/{provider}{gemini.PATH}?rs_sessid={session}"
    async with connect(url, additional_headers={"x-goog-api-key": key}) as socket:
        client = Live(socket)
        await send(socket, {"setup": {**gemini.SETUP, "model": f"models/{RECALL}", **setup}})
        await client.until("setupComplete")
        yield client
