"""A provider that takes a connection and refuses our account on it: another one of the list serves.

OpenAI says so of a key or a quota after the upgrade, and of a quota that ends in the middle of a
session in an ``error``, or in a response that failed.
"""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import beside, scripted
from tests.support.harness import Daemon, cluster_folder
from tests.support.two_providers import (
    GEMINI,
    MODELS,
    OPS,
    Event,
    Providers,
    charged,
    send,
    until,
    until_key,
    until_turn,
)

PLACES = """
    [providers.gemini-2]
    base_url = "http://{at}/sim-account-insufficient_quota"
    api_key_env = "GEMINI_2_API_KEY"

    [models."bad-key"]
    providers = [{{provider = "openai", model = "sim-account-invalid_api_key"}}, "azure"]
    [models."no-quota"]
    providers = [{{provider = "openai", model = "sim-account-insufficient_quota"}}, "gemini"]
    [models."no-bill"]
    providers = [{{provider = "openai", model = "sim-account-billing_hard_limit_reached"}}, "xai"]
    [models."gemini-quota"]
    providers = ["gemini-2", "xai"]
    [models."nowhere"]
    providers = [
      {{provider = "openai", model = "sim-account-invalid_api_key"}},
      {{provider = "azure", model = "sim-account-insufficient_quota"}},
    ]
"""
SERVED = [
    # the model, and who serves it
    ("bad-key", "azure"), ("no-quota", "gemini"), ("no-bill", "xai"), ("gemini-quota", "xai"),
]  # fmt: skip
RATE_LIMIT: Event = {
    "type": "error", "error": {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
}  # fmt: skip
FAILED: list[Event] = [
    {"type": "response.created", "response": {"id": "resp_0", "object": "realtime.response"}},
    {"type": "response.done", "response": {
        "id": "resp_0", "object": "realtime.response", "status": "failed", "output": [],
        "status_details": {"type": "failed", "error": {"code": "insufficient_quota"}},
    }},
]  # fmt: skip


async def heard(socket: ClientConnection) -> list[str]:
    """The types of events up to the end of a response; an ``error`` is none that may come."""
    kinds = []
    async with asyncio.timeout(20):
        while not kinds or kinds[-1] != "response.done":
            kinds.append(json.loads(await socket.recv())["type"])
    assert "error" not in kinds
    return kinds


async def test_who_is_refused_after_the_upgrade_is_served_by_the_next() -> None:
    """The client hears of one session, and of no error; new ones begin elsewhere after three."""
    with cluster_folder() as folder:
        simulator = await asyncio.to_thread(
            lambda: Daemon.start(
                "rts-simulator", "serve", "--listen", "127.0.0.1:0",
                env=folder.env, folder=folder.folder,
            )
        )  # fmt: skip
        address = simulator.field("listen")
        try:
            async with beside(
                f"http://{address}", GATEWAY_MODELS_FILE=PLACES.format(at=address),
                GEMINI_2_API_KEY="key", GATEWAY_OPS_LISTEN=OPS,
            ) as cluster:  # fmt: skip
                await _serve_all(cluster)
        finally:
            await asyncio.to_thread(simulator.stop)


async def _serve_all(cluster: Any) -> None:
    key = await asyncio.to_thread(cluster.create_account, "a")
    url = f"{cluster.url}?rs_key={key}&model="
    for model, _ in SERVED:
        async with connect(url + model) as socket:
            await send(socket, {"type": "response.create"})
            kinds = await heard(socket)
            assert kinds.count("session.created") == 1, (model, kinds)
    rows = await charged(cluster, "a", len(SERVED))
    assert {row["provider"] for row in rows} == {name for _, name in SERVED}
    numbers = await asyncio.to_thread(cluster.gateways[0].metrics)
    assert numbers["rts_gateway_provider_failovers_total"] == len(SERVED)
    assert numbers['rts_gateway_provider_healthy{provider="openai"}'] == 0
    name = "rts_gateway_provider_account_errors_total"
    errors = {where: count for where, count in numbers.items() if where.startswith(name)}
    # Not of those that serve instead.
    assert errors == {f'{name}{{provider="openai"}}': 3, f'{name}{{provider="gemini-2"}}': 1}

    gemini = f"ws://{cluster.address}{GEMINI}?key={key}"
    async with connect(gemini) as socket:
        await send(socket, {"setup": {"model": "models/gemini-quota"}})
        await until_key(socket, "setupComplete")
        turns = [{"role": "user", "parts": [{"text": "hello"}]}]
        await send(socket, {"clientContent": {"turns": turns, "turnComplete": True}})
        await until_turn(socket)
    async with connect(url + "nowhere") as socket:
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()
    assert (socket.close_code, socket.close_reason) == (1013, "provider_unavailable")


async def test_an_error_about_our_account_moves_a_live_session() -> None:
    """What was asked for is asked for at the next provider; the client hears only the answer."""
    providers = Providers()
    providers.refusing["openai"] = [RATE_LIMIT]
    async with scripted(
        providers.serve, GATEWAY_MODELS_FILE=MODELS, GATEWAY_OPS_LISTEN=OPS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"{cluster.url}?model=safe&rs_key={key}") as socket:
            await send(socket, {"type": "response.create"})
            kinds = await heard(socket)
        rows = await charged(cluster, "a", 1)
        log = cluster.gateways[0].log.read_text()
    assert kinds.count("session.created") == 1
    assert {row["provider"] for row in rows} == {"xai"}
    assert "provider=openai to=xai" in log


async def test_a_response_that_failed_by_our_account_is_the_last_one_there() -> None:
    """The client hears that it failed, and nothing of why; the next one is another provider's."""
    providers = Providers()
    providers.refusing["openai"] = FAILED
    async with scripted(providers.serve, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"{cluster.url}?model=safe&rs_key={key}&rs_events=1") as socket:
            await send(socket, {"type": "response.create"})
            failed = (await until(socket, "response.done"))["response"]
            error = failed["status_details"]["error"]
            assert (failed["status"], error["code"]) == ("failed", "provider_unavailable")
            assert (await until(socket, "rts.provider"))["provider"] == "xai"
            await send(socket, {"type": "response.create"})
            done = await until(socket, "response.done")
    assert done["response"]["status"] == "completed"
    assert len(providers.told["openai"]) == 1


async def test_where_no_other_serves_the_client_hears_that_it_failed() -> None:
    """As it does where its model is at one provider alone; the session goes on if that lets it."""
    providers = Providers("xai")
    providers.refusing["openai"] = [RATE_LIMIT]
    async with scripted(
        providers.serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"{cluster.url}?model=safe&provider=openai&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, {"type": "response.create"})
            error = (await until(socket, "error"))["error"]
            assert error["code"] == "provider_unavailable"
            providers.refusing.clear()
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
