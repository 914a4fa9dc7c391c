"""A gateway whose model is at Gemini and at OpenAI, and a network to each that a test cuts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.chaos.provider_cuts import CutNetwork
from tests.support.fake_provider import beside
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import host, simulator

MODELS = """
    [models."gemini-safe"]
    providers = [
      {provider = "gemini", model = "sim-recall,pace-4"},
      {provider = "openai", model = "sim-recall,pace-4"},
    ]
"""
OFTEN = {"gateway.door.provider_reports.REPORT_S": 0.1}


@dataclass
class World:
    """A gateway, a simulator that stands for all providers, and the network to two of them."""

    cluster: Cluster
    provider: Cluster
    gemini: CutNetwork
    openai: CutNetwork

    def move(self, *, away: CutNetwork, back: CutNetwork) -> None:
        """One provider is lost, and the other one is there."""
        back.is_away, away.is_away = False, True
        away.cut()

    def sent(self) -> Counter[str]:
        """The tokens that each provider reported."""
        sent: Counter[str] = Counter()
        for line in self.provider.usage_sent():
            sent[line["provider"]] += line["charge"]["total_tokens"]
        return sent

    def charged(self) -> Counter[str]:
        """Those that were charged, by provider. What was cut off is an estimate."""
        charged: Counter[str] = Counter()
        for row in self.cluster.usage_rows("acct"):
            if row["kind"] == "response":
                charged[row["provider"]] += row["total_tokens"]
        return charged


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """One of these."""
    context = simulator()
    provider = await asyncio.to_thread(context.__enter__)
    try:
        async with AsyncExitStack() as stack:
            there, port = host(provider).rsplit(":", 1)
            networks = [CutNetwork(there, int(port)) for _ in range(2)]
            addresses = []
            for network in networks:
                server = await asyncio.start_server(network.carry, "127.0.0.1", 0)
                await stack.enter_async_context(server)
                addresses.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            cluster = await stack.enter_async_context(
                beside(
                    addresses[0],
                    OPENAI_BASE_URL=f"{addresses[1]}/v1",
                    GATEWAY_MODELS_FILE=MODELS,
                    tuned=OFTEN,
                )
            )
            yield World(cluster, provider, *networks)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def books(there: World) -> Counter[str]:
    """What was charged, once it is what was reported."""

    charged = await asyncio.to_thread(
        eventually, lambda: (found := there.charged()).total() >= there.sent().total() and found
    )
    assert charged == there.sent()
    return charged
