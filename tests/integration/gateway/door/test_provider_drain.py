"""A provider that an operator takes out of service: who is still served there, and who leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from shared.wire import LEVEL
from tests.support.calls import LONG_WINDED, place
from tests.support.fake_accountd import fake_accountd
from tests.support.fake_provider import Script, scripted
from tests.support.harness import Cluster, cluster_folder, eventually, running_cluster
from tests.support.two_providers import (
    CROSSED,
    GEMINI,
    MODELS,
    OPS,
    Providers,
    as_gemini,
    charged,
    send,
    talk,
    until,
    until_key,
    until_turn,
)

OFTEN = {"gateway.door.provider_reports.REPORT_S": 0.1}
DRAINED = 'rts_gateway_provider_drained{provider="openai"}'
SETUP = {"setup": {"model": "models/gemini-safe"}}
SINGLE = '[models."safe"]\nprovider = "openai"\nmodel = "gpt-realtime"\n'


CALLED = """
    [models."safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"}, {provider = "gemini", model = "gemini-live"},
      {provider = "azure", model = "gpt-realtime"},
    ]
"""


def said(text: str) -> dict[str, Any]:
    """A turn of a client of Gemini's."""
    turns = [{"role": "user", "parts": [{"text": text}]}]
    return {"clientContent": {"turns": turns, "turnComplete": True}}


@asynccontextmanager
async def serving(
    providers: Providers, models: str = MODELS, *, script: Script | None = None
) -> AsyncIterator[Cluster]:
    """A cluster whose gateway reports often, and has done so."""
    async with scripted(
        script or providers.serve, answer=providers.answer, tuned=OFTEN,
        GATEWAY_MODELS_FILE=models, GATEWAY_OPS_LISTEN=OPS,
    ) as cluster:  # fmt: skip
        await soon(lambda: seen(cluster, "openai"))
        yield cluster


@asynccontextmanager
async def translated(cluster: Cluster, account: str) -> AsyncIterator[ClientConnection]:
    """A session of a client of Gemini's that has had its first turn."""
    key = await asyncio.to_thread(cluster.create_account, account)
    async with connect(
        f"ws://{cluster.address}{GEMINI}", additional_headers={"x-goog-api-key": key}
    ) as socket:
        await send(socket, SETUP)
        await until_key(socket, "setupComplete")
        await send(socket, said("a first turn"))
        await until_turn(socket)
        yield socket


async def soon(check: Callable[[], Any]) -> Any:
    """The first true answer."""
    return await asyncio.to_thread(eventually, check)


async def ctl(cluster: Cluster, *arguments: str) -> Any:
    """The answer of ``accountctl providers``."""
    return await asyncio.to_thread(cluster.accountctl, "providers", *arguments)


def seen(cluster: Cluster, name: str) -> dict[str, Any]:
    """What the gateways report of a provider; empty where they do not."""
    rows = cluster.ask("providers.overview")["providers"]
    found: dict[str, Any] = next((row for row in rows if row["provider"] == name), {})
    return found


async def test_a_drain_moves_a_live_session_between_turns_and_new_ones_avoid_it() -> None:
    """The client stays connected; the provider that takes over is told the conversation. After
    ``resume`` new sessions go to the first choice again, and nothing moves back.
    """
    providers = Providers()
    async with serving(providers) as cluster, translated(cluster, "a") as socket:
        await soon(lambda: seen(cluster, "openai").get("sessions") == 1)
        key = await asyncio.to_thread(cluster.create_account, "b")
        drained = await ctl(cluster, "drain", "openai")
        assert (drained["changed"], drained["has_choice"], drained["only_for"]) == (True, True, [])
        await soon(lambda: seen(cluster, "openai")["sessions"] == 0)
        assert seen(cluster, "xai")["sessions"] == 1
        await send(socket, said("a second turn"))
        await until_turn(socket)
        await talk(cluster, key)
        assert providers.dials == {"openai": 1, "xai": 2}
        told = "".join(providers.told["xai"])
        assert told.index("a first turn") < told.index("a second turn")
        gateway = cluster.gateways[0]
        await soon(lambda: gateway.metrics()['rts_gateway_provider_sessions{provider="xai"}'] == 1)
        numbers = await asyncio.to_thread(gateway.metrics)
        assert numbers['rts_gateway_provider_drained{provider="openai"}'] == 1
        assert numbers['rts_gateway_provider_drained{provider="xai"}'] == 0
        await ctl(cluster, "resume", "openai")
        log = cluster.gateways[0].log
        await soon(lambda: "provider resumed" in log.read_text())
        await talk(cluster, key)
        assert providers.dials == {"openai": 2, "xai": 2}
        assert seen(cluster, "xai")["sessions"] == 1
        await socket.close()  # what was metered is sent now
        rows = await charged(cluster, "a", 2)
        text = log.read_text()
    assert sorted(row["provider"] for row in rows) == ["openai", "xai"]
    assert text.count("provider drained") == 1
    assert text.count("session leaves drained provider") == 1


async def test_a_session_in_which_nothing_is_translated_leaves_as_well() -> None:
    """The provider that takes over is told its configuration; the client hears nothing of it."""
    providers = Providers()
    update = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief"}}
    async with serving(providers) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, update)
            await until(socket, "session.updated")
            await send(socket, {"type": "input_audio_buffer.commit"})
            await until(socket, "response.done")
            await soon(lambda: seen(cluster, "openai").get("answers") == 1)
            await ctl(cluster, "drain", "openai")
            await soon(lambda: "Be brief" in "".join(providers.told["xai"]))
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
            await soon(lambda: seen(cluster, "openai").get("sessions") == 0)
    assert providers.dials == {"openai": 1, "xai": 1}


async def test_a_session_leaves_for_a_provider_of_another_protocol_and_back() -> None:
    """OpenAI's client goes on with Gemini, which is told what was said, and with OpenAI again."""
    providers, told = Providers(), list[dict[str, Any]]()

    async def serve(socket: ServerConnection) -> None:
        assert socket.request is not None
        is_geminis = socket.request.path.startswith("/ws")
        await (as_gemini(socket, told) if is_geminis else providers.serve(socket))

    content = [{"type": "input_text", "text": "a first question"}]
    item = {"type": "message", "role": "user", "content": content}
    async with serving(providers, CROSSED, script=serve) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_events=1&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, {"type": "conversation.item.create", "item": item})
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
            await ctl(cluster, "drain", "openai")
            assert (await until(socket, "rts.provider"))["provider"] == "gemini"
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
            await ctl(cluster, "resume", "openai")
            await ctl(cluster, "drain", "gemini")
            assert (await until(socket, "rts.provider"))["provider"] == "openai"
    assert "a first question" in str(told)
    assert "Good day" in "".join(providers.told["openai"]), "what Gemini said"
    assert providers.dials == {"openai": 2, "gemini": 1}


async def test_a_session_that_is_answered_leaves_after_the_answer() -> None:
    """What is being said is heard to its end."""
    providers = Providers()
    async with serving(providers) as cluster, translated(cluster, "a") as socket:
        providers.finishes.clear()
        await send(socket, said("a long question"))
        await soon(lambda: "a long question" in "".join(providers.told["openai"]))
        await ctl(cluster, "drain", "openai")
        log = cluster.gateways[0].log
        await soon(lambda: "session leaves drained provider" in log.read_text())
        assert providers.dials == {"openai": 1}
        providers.finishes.set()
        await until_turn(socket)
        await soon(lambda: providers.dials == {"openai": 1, "xai": 1})
        await send(socket, said("a last turn"))
        await until_turn(socket)
        await socket.close()
        rows = await charged(cluster, "a", 3)
    assert sum(row["responses"] for row in rows if row["provider"] == "openai") == 2


@pytest.mark.parametrize("is_translated", [True, False])
async def test_who_is_still_answered_when_its_provider_is_resumed_stays(
    is_translated: bool,
) -> None:
    """No connection is made that nobody needs any more."""
    providers = Providers()
    async with serving(providers) as cluster, AsyncExitStack() as stack:
        if is_translated:
            socket = await stack.enter_async_context(translated(cluster, "a"))
        else:
            key = await asyncio.to_thread(cluster.create_account, "a")
            url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
            socket = await stack.enter_async_context(connect(url))
            await send(socket, {"type": "session.update", "session": {"type": "realtime"}})
            await until(socket, "session.updated")
        ask: dict[str, Any] = said("a question") if is_translated else {"type": "response.create"}
        over = until_turn if is_translated else partial(until, kind="response.done")
        providers.finishes.clear()
        await send(socket, ask)
        asked = "a question" if is_translated else "response.create"
        await soon(lambda: asked in "".join(providers.told["openai"]))
        log = cluster.gateways[0].log
        await ctl(cluster, "drain", "openai")
        await soon(lambda: "session leaves drained provider" in log.read_text())
        await ctl(cluster, "resume", "openai")
        await soon(lambda: "provider resumed" in log.read_text())
        providers.finishes.set()
        await over(socket)
        await send(socket, ask)
        await over(socket)
    assert providers.dials == {"openai": 1}


async def test_where_there_is_no_other_provider_a_drained_one_still_serves() -> None:
    """The operator is told; nobody's call fails."""
    providers = Providers()
    async with serving(providers, SINGLE) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        await soon(lambda: seen(cluster, "openai"))
        drained = await ctl(cluster, "drain", "openai")
        assert (drained["only_for"], drained["has_choice"]) == (["safe"], False)
        log = cluster.gateways[0].log
        await soon(lambda: "provider drained" in log.read_text())
        await talk(cluster, key)
    assert providers.dials == {"openai": 1}


async def test_a_drained_provider_serves_while_the_others_fail() -> None:
    """It is the last choice, and better than none. Once another one serves sessions leave again."""
    providers = Providers("xai")
    async with serving(providers) as cluster, translated(cluster, "a") as socket:
        await ctl(cluster, "drain", "openai")
        await soon(lambda: seen(cluster, "xai").get("health") == "unhealthy")
        await soon(lambda: seen(cluster, "openai")["sessions"] == 1)
        await send(socket, said("a second turn"))
        await until_turn(socket)
        assert "503" in seen(cluster, "xai")["last_failure"]["reason"]
        assert seen(cluster, "xai")["last_failure"]["kind"] == "dial"


@pytest.mark.parametrize("refuses", ["404", "a close"])
async def test_a_session_that_no_other_provider_takes_comes_back(refuses: str) -> None:
    """Where it was served before, drained or not; it is not tried again, and the client stays."""
    providers = Providers(*(["xai"] if refuses == "404" else []), status=404)

    async def serve(socket: ServerConnection) -> None:
        if providers.dials["xai"] == providers.dials["openai"]:  # the second is xAI's
            await socket.close(4000, "no such model")
        await providers.serve(socket)

    async with serving(providers, script=serve) as cluster, translated(cluster, "a") as socket:
        await ctl(cluster, "drain", "openai")
        await soon(lambda: providers.dials == {"openai": 2, "xai": 1})
        await soon(lambda: seen(cluster, "openai")["bound"] == 1)
        await send(socket, said("a second turn"))
        await until_turn(socket)
    assert providers.dials == {"openai": 2, "xai": 1}


async def test_a_drain_outlives_accountd_and_reaches_gateways_that_come_later() -> None:
    """It is stored. A gateway that stops is no longer counted."""
    providers = Providers()
    async with serving(providers) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        await ctl(cluster, "drain", "openai", "--force")
        assert cluster.accountd is not None
        await asyncio.to_thread(cluster.accountd.stop)
        await asyncio.to_thread(cluster.start_accountd)
        later = await asyncio.to_thread(
            cluster.start_gateway, tuned=OFTEN, XAI_API_KEY="key", XAI_BASE_URL="http://127.0.0.1:9"
        )
        await soon(lambda: "provider drained" in later.log.read_text())
        await soon(lambda: seen(cluster, "openai").get("gateways") == 2)
        await talk(cluster, key)
        assert seen(cluster, "openai")["drained_at"]
        assert seen(cluster, "xai")["drained_at"] is None
        await asyncio.to_thread(later.stop)
        assert seen(cluster, "openai")["gateways"] == 1
    assert providers.dials == {"xai": 1}


def test_a_gateway_is_as_useful_with_an_accountd_of_before() -> None:
    """It says once that nothing can be drained, and obeys as soon as accountd is upgraded."""
    with cluster_folder() as cluster, fake_accountd(cluster.env) as accountd:
        accountd.level = None
        gateway = cluster.start_gateway(tuned=OFTEN, GATEWAY_OPS_LISTEN=OPS)
        eventually(lambda: "providers cannot be reported" in gateway.log.read_text())
        accountd.level, accountd.drained = LEVEL, ["openai", "another gateway's"]
        eventually(lambda: gateway.metrics()[DRAINED])
        assert gateway.log.read_text().count("providers cannot be reported") == 1
        assert {report["providers"][0]["name"] for report in accountd.reports} == {"openai"}


def test_new_calls_avoid_a_drained_provider() -> None:
    """They go to the next one of the list that takes calls; those that there are stay."""
    with running_cluster(0) as cluster:
        assert cluster.simulator is not None
        simulated = f"http://{cluster.simulator.field('listen')}"
        models = cluster.folder / "models.toml"
        models.write_text(CALLED)
        cluster.start_gateway(
            tuned=OFTEN, GATEWAY_MODELS_FILE=str(models),
            AZURE_OPENAI_API_KEY="azure-key", AZURE_OPENAI_ENDPOINT=simulated,
            GEMINI_API_KEY="gemini-key", GEMINI_BASE_URL=simulated,
        )  # fmt: skip
        key = cluster.create_account("a")
        place(cluster, key, "safe", **LONG_WINDED)
        eventually(lambda: seen(cluster, "openai").get("calls") == 1)
        cluster.accountctl("providers", "drain", "openai")
        log = cluster.gateways[0].log
        eventually(lambda: "provider drained" in log.read_text())
        place(cluster, key, "safe", **LONG_WINDED)
        eventually(lambda: seen(cluster, "azure")["calls"] == 1)
        assert seen(cluster, "openai")["calls"] == 1
