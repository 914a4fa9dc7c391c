"""Several providers of one kind, each of them a process: sessions go from one to the other."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.calls import client_of, place
from tests.support.ephemeral import SECRET
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.private_files import write_private
from tests.support.tuned import Constants
from tests.support.two_providers import GEMINI, OPS, charged, send, until, until_key, until_turn

OFTEN = {"gateway.door.provider_reports.REPORT_S": 0.1}
MODELS = """
    [providers.azure-eu]
    base_url = "http://{eu}"
    api_key_env = "AZURE_EU_API_KEY"
    [providers.azure-us]
    kind = "azure"
    base_url = "http://{us}"
    api_key_env = "AZURE_US_API_KEY"

    [providers.gemini-eu]
    base_url = "http://{geu}"
    api_key_env = "GEMINI_EU_API_KEY"

    [models]
    gpt-realtime = ["openai", "azure-eu", "gemini"]
    [models."gemini-safe"]
    providers = [
      {{provider = "gemini", model = "gemini-live"}}, {{provider = "gemini-eu", model = "live"}},
    ]
    [models."crossed"]
    providers = [
      {{provider = "gemini", model = "gemini-live"}}, {{provider = "gemini-eu", model = "live"}},
    ]
    [models."called"]
    providers = [{{provider = "gemini", model = "gemini-live"}}, {{provider = "azure-us"}}]
    [models."regional"]
    providers = [
      {{provider = "azure-eu", model = "gpt-realtime"}},
      {{provider = "azure-us", model = "gpt-realtime"}},
    ]
"""
CARD = """
    version = "regions"
    [[rates]]
    provider = "azure"
    input = 2_000_000
    output = 2_000_000
    [[rates]]
    provider = "azure-us"
    input = 3_000_000
    output = 3_000_000
    [[rates]]
    input = 1_000_000
    output = 1_000_000
"""
WAITING = "rts_gateway_handles_waiting"
FACTORS = {"openai": 1, "azure-eu": 2, "azure-us": 3, "gemini": 1, "gemini-eu": 1}


class Region:
    """A cluster with a simulator for each provider, by the names of ``places``."""

    def __init__(self, cluster: Cluster, tuned: Constants) -> None:
        self.cluster = cluster
        self.tuned = tuned
        self.places: dict[str, Daemon] = {}

    def start(self) -> None:
        """Start everything."""
        cluster = self.cluster
        card = cluster.folder / "card.toml"
        card.write_text(CARD)
        cluster.env["ACCOUNTD_RATE_CARD"] = str(card)
        cluster.start_accountd()
        for name in FACTORS:
            self.places[name] = Daemon.start(
                "rts-simulator", "serve", "--listen", "127.0.0.1:0",
                env=cluster.env, folder=cluster.folder,
            )  # fmt: skip
        at = {name: daemon.field("listen") for name, daemon in self.places.items()}
        models = cluster.folder / "models.toml"
        models.write_text(MODELS.format(eu=at["azure-eu"], us=at["azure-us"], geu=at["gemini-eu"]))
        secret = cluster.folder / "ephemeral.secret"
        write_private(secret, SECRET)
        cluster.env |= {
            "GATEWAY_EPHEMERAL_SECRET_FILE": str(secret),
            "GATEWAY_MODELS_FILE": str(models), "GATEWAY_OPS_LISTEN": OPS,
            "AZURE_EU_API_KEY": "eu-key", "AZURE_US_API_KEY": "us-key",
            "GEMINI_API_KEY": "gemini-key", "GEMINI_EU_API_KEY": "gemini-eu-key",
            "GEMINI_BASE_URL": f"http://{at['gemini']}",
            "OPENAI_BASE_URL": f"http://{at['openai']}/v1",
        }  # fmt: skip
        cluster.start_gateway(tuned=self.tuned)

    def stop(self) -> None:
        """End the simulators; the cluster ends the rest."""
        for daemon in self.places.values():
            daemon.process.kill()
            daemon.process.wait()

    def numbers(self) -> dict[str, float]:
        """The metrics of the first gateway."""
        return self.cluster.gateways[0].metrics()

    def sessions(self, name: str) -> float:
        """How many it has at a provider."""
        return self.numbers().get(f'rts_gateway_provider_sessions{{provider="{name}"}}', 0)

    async def lose(self, name: str) -> None:
        """Kill a provider's process."""
        self.places[name].process.kill()
        await asyncio.to_thread(self.places[name].process.wait)

    async def ctl(self, *arguments: str) -> Any:
        """What ``accountctl providers`` answers."""
        return await asyncio.to_thread(self.cluster.accountctl, "providers", *arguments)


@asynccontextmanager
async def regions(**tuned: float) -> AsyncIterator[Region]:
    """A running one; ``tuned`` are constants of ``gateway.connections.liveness``."""
    with cluster_folder() as cluster:
        there = {f"gateway.connections.liveness.{name}": tuned[name] for name in tuned}
        region = Region(cluster, {**OFTEN, **there})
        try:
            await asyncio.to_thread(region.start)
            yield region
        finally:
            await asyncio.to_thread(region.stop)


async def ask(socket: ClientConnection, text: str) -> int:
    """A turn in writing, to the end of its answer; the tokens that the model has read for it."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await send(socket, {"type": "conversation.item.create", "item": item})
    await send(socket, {"type": "response.create"})
    done = await until(socket, "response.done")
    assert done["response"]["status"] == "completed", done
    read = done["response"]["usage"]["input_tokens"]
    assert isinstance(read, int)
    return read


async def settled(region: Region, account: str, responses: int) -> Counter[str]:
    """The responses of an account by provider, each at its provider's price; the audit agrees."""
    rows = await charged(region.cluster, account, responses)
    for row in rows:
        assert row["credits"] == FACTORS[row["provider"]] * row["total_tokens"], row
    found = await asyncio.to_thread(region.cluster.audit)
    assert found["ok"], found
    checked = await asyncio.to_thread(region.cluster.accountctl, "rates", "check")
    assert checked["past"] == []
    served: Counter[str] = Counter()
    for row in rows:
        served[row["provider"]] += row["responses"]
    return served


async def test_a_live_session_goes_down_the_list_of_its_model() -> None:
    """OpenAI is killed, then an Azure beside the first: the client stays, and each is charged."""
    async with regions() as region:
        key = await asyncio.to_thread(region.cluster.create_account, "a")
        url = f"{region.cluster.url}?model=gpt-realtime&rs_events=1&rs_key={key}"
        async with connect(url) as socket:
            await ask(socket, "a first question")
            await region.lose("openai")
            assert (await until(socket, "rts.provider"))["provider"] == "azure-eu"
            await ask(socket, "a second question")
            await region.lose("azure-eu")
            assert (await until(socket, "rts.provider"))["provider"] == "gemini"
            await ask(socket, "a third question")
            rows = (await region.ctl())["providers"]
        assert await settled(region, "a", 3) == {"openai": 1, "azure-eu": 1, "gemini": 1}
        log = await asyncio.to_thread(region.cluster.gateways[0].log.read_text)
    assert {row["provider"] for row in rows} == set(FACTORS)
    assert next(row for row in rows if row["provider"] == "gemini")["sessions"] == 1
    failed = {row["provider"] for row in rows if row["last_failure"]}
    assert failed == {"openai", "azure-eu"}
    assert "provider=openai to=azure-eu" in log


async def test_a_provider_that_hangs_is_left_for_the_next() -> None:
    """Its process is stopped, so its connection stands, and even a dial would wait."""
    async with regions(ADDRESSED_PING_S=0.5, PONG_S=1.0) as region:
        key = await asyncio.to_thread(region.cluster.create_account, "a")
        url = f"{region.cluster.url}?model=gpt-realtime&rs_key={key}"
        async with connect(url) as socket:
            await ask(socket, "a first question")
            hung = region.places["openai"].process
            hung.send_signal(signal.SIGSTOP)
            try:
                await ask(socket, "a second question")
            finally:
                hung.send_signal(signal.SIGCONT)
        served = await settled(region, "a", 2)
        log = await asyncio.to_thread(region.cluster.gateways[0].log.read_text)
    assert served["azure-eu"] == 1
    assert 'provider=openai to=azure-eu reason="no answer to a ping' in log
    assert "no answer within" not in log, "it was not dialled again first"


async def test_a_session_leaves_a_drained_provider_for_another_of_its_kind() -> None:
    """In its own protocol: it is told what was said, and goes on between two turns."""
    async with regions() as region:
        key = await asyncio.to_thread(region.cluster.create_account, "a")
        url = f"{region.cluster.url}?model=regional&rs_events=1&rs_key={key}"
        async with connect(url) as socket:
            await ask(socket, "x" * 400)
            drained = await region.ctl("drain", "azure-eu")
            assert (drained["has_choice"], drained["only_for"]) == (True, [])
            assert (await until(socket, "rts.provider"))["provider"] == "azure-us"
            assert await ask(socket, "a second question") > 100, "it knows what was said"
            await region.ctl("resume", "azure-eu")
            await region.ctl("drain", "azure-us")
            assert (await until(socket, "rts.provider"))["provider"] == "azure-eu"
            await ask(socket, "a third question")
        assert await settled(region, "a", 3) == {"azure-us": 1, "azure-eu": 2}
        numbers = await asyncio.to_thread(region.cluster.gateways[0].metrics)
    assert numbers['rts_gateway_provider_drained{provider="azure-us"}'] == 1
    assert numbers['rts_gateway_provider_drained{provider="azure-eu"}'] == 0


async def test_a_call_is_found_at_the_provider_that_took_it() -> None:
    """Its sideband names the call alone. Nobody else's key finds it."""
    async with regions() as region:
        cluster = region.cluster
        key, other = [await asyncio.to_thread(cluster.create_account, name) for name in "ab"]
        call_id = await asyncio.to_thread(place, cluster, key, "called")
        url = f"{cluster.url}?call_id={call_id}&rs_key="
        async with connect(url + key) as socket:
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
        with pytest.raises(InvalidStatus):
            await connect(url + other)
        client = client_of(cluster, key)
        await asyncio.to_thread(client.realtime.calls.hangup, call_id)
        served = await settled(region, "a", 1)
        assert served.keys() == {"azure-us"}


async def say(socket: ClientConnection, text: str) -> None:
    """A turn of a client of Gemini's, to the end of its answer."""
    turns = [{"role": "user", "parts": [{"text": text}]}]
    await send(socket, {"clientContent": {"turns": turns, "turnComplete": True}})
    await until_turn(socket)


async def handle_of(socket: ClientConnection) -> str:
    """The next handle of a session."""
    update = (await until_key(socket, "sessionResumptionUpdate"))["sessionResumptionUpdate"]
    assert isinstance(update["newHandle"], str)
    return update["newHandle"]


def setup(**resumption: str) -> dict[str, Any]:
    """A client's first message."""
    return {"setup": {"model": "models/gemini-safe", "sessionResumption": resumption}}


async def test_a_handle_leads_to_the_gemini_that_issued_it() -> None:
    """A session goes from one to the other, whose name for the model is another; a client that
    resumes it, at any gateway, comes to the second, although the first one serves again.
    """
    async with regions() as region:
        cluster = region.cluster
        key = await asyncio.to_thread(cluster.create_account, "a")
        headers = {"x-goog-api-key": key}
        await asyncio.to_thread(cluster.start_gateway, tuned=OFTEN)
        first, second = [f"ws://{each.field('listen')}{GEMINI}" for each in cluster.gateways]
        async with connect(first, additional_headers=headers) as socket:
            await send(socket, setup())
            await say(socket, "a first question")
            await handle_of(socket)
            await region.ctl("drain", "gemini")
            await asyncio.to_thread(eventually, lambda: region.sessions("gemini-eu"))
            await say(socket, "x" * 400)
            handle = await handle_of(socket)
        await region.ctl("resume", "gemini")
        await asyncio.to_thread(eventually, lambda: region.numbers()[WAITING] == 0)
        for address in (first, second):
            async with connect(address, additional_headers=headers) as socket:
                await send(socket, setup(handle=handle))
                await until_key(socket, "setupComplete")
                await send(socket, {"clientContent": {"turnComplete": True}})
                usage = (await until_key(socket, "usageMetadata"))["usageMetadata"]
                assert usage["promptTokenCount"] > 100, "it knows what was said"
        assert await settled(region, "a", 4) == {"gemini": 1, "gemini-eu": 3}


async def test_a_translated_session_leaves_for_another_of_its_provider_s_kind() -> None:
    """An OpenAI client at Gemini: the other Gemini has another name for the model, and knows
    nothing of the handle that the first one gave.
    """
    async with regions() as region:
        key = await asyncio.to_thread(region.cluster.create_account, "a")
        url = f"{region.cluster.url}?model=crossed&rs_events=1&rs_key={key}"
        async with connect(url) as socket:
            await ask(socket, "x" * 400)
            await region.ctl("drain", "gemini")
            moved = await until(socket, "rts.provider")
            assert (moved["provider"], moved["model"]) == ("gemini-eu", "live")
            assert await ask(socket, "a second question") > 100, "it knows what was said"
        assert await settled(region, "a", 2) == {"gemini": 1, "gemini-eu": 1}


async def test_an_ephemeral_key_opens_a_session_at_the_provider_that_the_client_names() -> None:
    """Its configuration goes there first, as to any other."""
    async with regions() as region:
        cluster = region.cluster
        key = await asyncio.to_thread(cluster.create_account, "a")
        session: Any = {"type": "realtime", "model": "regional", "instructions": "Be brief."}
        made = await asyncio.to_thread(
            client_of(cluster, key).realtime.client_secrets.create, session=session
        )
        url = f"ws://{cluster.address}/provider/azure-us/v1/realtime?model=regional"
        headers = {"Authorization": f"Bearer {made.value}"}
        async with connect(url, additional_headers=headers) as socket:
            updated = await until(socket, "session.updated")
            assert updated["session"]["instructions"] == "Be brief."
            await ask(socket, "a question")
        assert await settled(region, "a", 1) == {"azure-us": 1}
