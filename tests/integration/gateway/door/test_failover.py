"""A model at several providers: who serves a session when the first of them does not."""

import asyncio
import json
from collections import Counter

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection

from tests.support.fake_provider import scripted
from tests.support.harness import eventually
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


async def test_a_session_is_served_by_the_next_provider_before_its_client_hears_anything() -> None:
    """Each has its own name for the model, and usage is charged under the one that reported it.
    After three failures in a row the first one is not dialled any more.
    """
    providers = Providers("openai")
    async with scripted(
        providers.serve, answer=providers.answer,
        GATEWAY_MODELS_FILE=MODELS, GATEWAY_OPS_LISTEN=OPS,
    ) as cluster:  # fmt: skip
        key = await asyncio.to_thread(cluster.create_account, "a")
        for _ in range(4):
            await talk(cluster, key)
        rows = await charged(cluster, "a", 4)
        numbers = await asyncio.to_thread(cluster.gateways[0].metrics)
        log = cluster.gateways[0].log.read_text()
    assert providers.dials == {"openai": 3, "xai": 4}
    assert providers.models[:2] == ["model=gpt-realtime", "model=grok-voice"]
    assert {row["provider"] for row in rows} == {"xai"}
    assert numbers['rts_gateway_provider_healthy{provider="openai"}'] == 0
    assert numbers['rts_gateway_provider_healthy{provider="xai"}'] == 1
    assert numbers['rts_gateway_provider_failures_total{provider="openai"}'] == 3
    assert numbers["rts_gateway_provider_failovers_total"] == 3
    assert log.count("provider failed over") == 3
    assert log.count("provider unhealthy") == 1


async def test_a_provider_whose_responses_fail_is_not_chosen_any_more() -> None:
    """Its dials are fast and its connections stand; three failed responses in a row say enough. Who
    is there stays, as it hears of each itself.
    """
    providers = Providers()
    response = {"id": "resp_0", "object": "realtime.response", "output": []}
    why = {"type": "failed", "error": {"type": "server_error", "code": "server_error"}}
    done = {**response, "status": "failed", "status_details": why}
    providers.refusing["openai"] = [
        {"type": "response.created", "response": response},
        {"type": "response.done", "response": done},
    ]
    async with scripted(
        providers.serve, GATEWAY_MODELS_FILE=MODELS, GATEWAY_OPS_LISTEN=OPS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(f"{cluster.url}?model=safe&rs_key={key}") as socket:
            for _ in range(3):
                await send(socket, {"type": "response.create"})
                heard = await until(socket, "response.done")
                assert heard["response"]["status"] == "failed"
            numbers = await asyncio.to_thread(cluster.gateways[0].metrics)
            await talk(cluster, key)
    assert numbers['rts_gateway_provider_healthy{provider="openai"}'] == 0
    assert numbers['rts_gateway_provider_failures_total{provider="openai"}'] == 3
    assert '{"type": "response.create"}' in providers.told["xai"]


async def test_a_provider_that_takes_a_connection_and_says_nothing_is_left() -> None:
    """Its front end upgrades, and what is behind it is gone. The next provider is dialled, not the
    same one again; the client hears of one session, and gets an answer to what it has asked.
    """
    providers, silent = Providers(), asyncio.Event()

    async def serve(socket: ServerConnection) -> None:
        assert socket.request is not None
        if "model=gpt-realtime" in socket.request.path:
            silent.set()
            await socket.wait_closed()
        else:
            await providers.serve(socket)

    tuned = {"gateway.limits.SETUP_S": 0.5}
    async with scripted(serve, tuned=tuned, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        await talk(cluster, key)
        log = cluster.gateways[0].log.read_text()
    assert silent.is_set()
    assert 'provider=openai to=xai reason="no answer to the setup' in log
    assert log.count("setup not answered") == 1


async def test_a_provider_that_is_back_is_found_by_one_session() -> None:
    """Its dial is the probe; after it the first choice serves again."""
    providers = Providers("openai")
    tuned = {"gateway.providers.health.OPEN_S": 0.2}
    async with scripted(
        providers.serve, answer=providers.answer, tuned=tuned, GATEWAY_MODELS_FILE=MODELS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        for _ in range(3):
            await talk(cluster, key)
        providers.away.clear()
        async with asyncio.timeout(20):
            while providers.dials["openai"] < 5:
                await talk(cluster, key)
        assert "provider healthy" in cluster.gateways[0].log.read_text()


async def test_where_none_is_healthy_all_are_dialled() -> None:
    """One that is back may not be the first choice, and the client has no other."""
    providers = Providers("openai", "xai")
    async with scripted(
        providers.serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        for _ in range(3):
            async with connect(f"{cluster.url}?model=safe&rs_key={key}") as socket:
                await until(socket, "error")
        providers.away.discard("xai")
        await talk(cluster, key)
        assert cluster.gateways[0].log.read_text().count("provider unhealthy") == 2
    assert providers.dials == {"openai": 4, "xai": 4}


async def test_a_client_that_names_its_provider_gets_no_other() -> None:
    """It hears that this one fails."""
    providers = Providers("openai")
    async with scripted(
        providers.serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&provider=openai&rs_key={key}"
        async with connect(url) as socket:
            error = await until(socket, "error")
    assert error["error"]["code"] == "provider_unavailable"
    assert providers.dials == {"openai": 1}


async def test_what_the_client_asked_wrongly_is_asked_nowhere_else() -> None:
    """A request that one provider does not accept, and whose health it says nothing of."""
    providers = Providers("openai", status=400)
    async with scripted(
        providers.serve, answer=providers.answer,
        GATEWAY_MODELS_FILE=MODELS, GATEWAY_OPS_LISTEN=OPS,
    ) as cluster:  # fmt: skip
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
        async with connect(url) as socket:
            error = await until(socket, "error")
        numbers = await asyncio.to_thread(cluster.gateways[0].metrics)
    assert error["error"]["code"] == "provider_refused"
    assert providers.dials == {"openai": 1}
    assert numbers['rts_gateway_provider_failures_total{provider="openai"}'] == 0


async def test_a_lasting_session_goes_on_at_the_next_provider() -> None:
    """A Gemini client: its provider drops and stays away, and another one of the same protocol is
    told the session, with a voice of its own. Each is charged for what it reported.
    """
    providers, setups = Providers(), []

    async def serve(socket: ServerConnection) -> None:
        if providers.dials["xai"]:
            setups.append(json.loads(await socket.recv())["session"])
            await send(socket, {"type": "session.updated", "session": {"model": "m"}})
            await providers.serve(socket)
            return
        relay = asyncio.ensure_future(providers.serve(socket))
        await first_turn.wait()
        providers.away.add("openai")
        socket.transport.abort()
        await asyncio.gather(relay, return_exceptions=True)

    first_turn = asyncio.Event()
    said = {"turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turnComplete": True}
    setup = {
        "model": "models/gemini-safe",
        "generationConfig": {
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
        },
    }
    async with scripted(serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        async with connect(
            f"ws://{cluster.address}{GEMINI}", additional_headers={"x-goog-api-key": key}
        ) as socket:
            await send(socket, {"setup": setup})
            await until_key(socket, "setupComplete")
            await send(socket, {"clientContent": said})
            await until_turn(socket)
            first_turn.set()
            await asyncio.to_thread(eventually, lambda: setups)
            await send(socket, {"clientContent": said})
            await until_turn(socket)
        rows = await charged(cluster, "a", 2)
    assert setups[0]["voice"] in ("ara", "eve")
    assert sorted(row["provider"] for row in rows) == ["openai", "xai"]


async def test_a_live_session_goes_on_at_the_next_provider() -> None:
    """A client of OpenAI's, and providers that speak its protocol: the first one breaks in the
    middle of the session and stays away. That the next one refuses what was configured is logged.
    """
    providers, told = Providers(), []

    async def serve(socket: ServerConnection) -> None:
        if providers.dials["xai"]:
            told.append(json.loads(await socket.recv()))
            answered = {"event_id": told[0]["event_id"], "message": "No: Be brief."}
            error = {"code": "invalid_value", "param": "session.instructions", **answered}
            await send(socket, {"type": "error", "error": error})
            is_told.set()
            await providers.serve(socket)
            return
        relay = asyncio.ensure_future(providers.serve(socket))
        await first_turn.wait()
        providers.away.add("openai")
        socket.transport.abort()
        await asyncio.gather(relay, return_exceptions=True)

    first_turn, is_told = asyncio.Event(), asyncio.Event()
    session = {"type": "realtime", "instructions": "Be brief."}
    async with scripted(serve, answer=providers.answer, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, {"type": "session.update", "session": session})
            await until(socket, "session.updated")
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
            first_turn.set()
            async with asyncio.timeout(20):
                await is_told.wait()
            await send(socket, {"type": "response.create"})
            heard = [json.loads(await socket.recv())["type"] for _ in range(2)]
        rows = await charged(cluster, "a", 2)
        log = cluster.gateways[0].log.read_text()
    assert told[0]["session"] == session
    assert heard == ["response.created", "response.done"]
    (withheld,) = (line for line in log.splitlines() if "error withheld" in line)
    assert "provider=xai code=invalid_value param=session.instructions" in withheld
    assert "brief" not in log
    assert providers.dials["xai"] == 1
    assert Counter(row["provider"] for row in rows) == {"openai": 1, "xai": 1}


async def test_a_live_session_goes_on_at_a_provider_of_another_protocol() -> None:
    """A client of OpenAI's whose provider breaks, and stays away, goes on with Gemini, which is
    told the conversation; and when Gemini breaks it comes back, with all that it configured.
    """
    providers, told = Providers(), []
    sockets: list[ServerConnection] = []

    async def serve(socket: ServerConnection) -> None:
        sockets.append(socket)
        if not socket.request.path.startswith("/v1"):
            await as_gemini(socket, told)
            return
        first = await socket.recv() if len(sockets) > 1 else ""
        told.append(json.loads(first)) if first else None
        await providers.serve(socket)

    hearing = {
        "format": {"type": "audio/pcmu"}, "noise_reduction": {"type": "near_field"},
        "transcription": {"model": "gpt-4o-transcribe", "language": "de"},
    }  # fmt: skip
    session = {
        "type": "realtime", "instructions": "Be brief.", "output_modalities": ["text"],
        "audio": {"input": hearing, "output": {"speed": 1.2}},
    }  # fmt: skip
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    async with scripted(serve, answer=providers.answer, GATEWAY_MODELS_FILE=CROSSED) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_events=1&rs_key={key}"
        async with connect(url) as socket:
            await send(socket, {"type": "session.update", "session": session})
            await until(socket, "session.updated")
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
            providers.away.add("openai")
            sockets[-1].transport.abort()
            moved = await until(socket, "rts.provider")
            await send(socket, {"type": "conversation.item.create", "item": said})
            await send(socket, {"type": "response.create"})
            answered = await until(socket, "response.done")
            providers.away.clear()
            sockets[-1].transport.abort()
            back = await until(socket, "rts.provider")
            await send(socket, {"type": "response.create"})
            await until(socket, "response.done")
        rows = await charged(cluster, "a", 3)
        log = cluster.gateways[0].log.read_text()
    assert (moved["provider"], moved["model"]) == ("gemini", "gemini-live")
    assert back["provider"] == "openai"
    assert answered["response"]["output"][0]["content"][0]["text"] == "Good day"
    assert told[0]["setup"]["systemInstruction"]["parts"][0]["text"] == "Be brief."
    assert told[-1]["session"]["instructions"] == "Be brief."
    assert told[-1]["session"]["audio"]["input"].items() >= hearing.items()
    assert told[-1]["session"]["audio"]["output"]["speed"] == 1.2
    assert "session.audio.output.speed" in log
    assert Counter(row["provider"] for row in rows) == {"openai": 2, "gemini": 1}


@pytest.mark.parametrize("headers", [{}, {"OpenAI-Beta": "realtime=v1"}], ids=["ga", "beta"])
async def test_a_first_dial_leads_to_a_provider_of_another_protocol(
    headers: dict[str, str],
) -> None:
    """Before the client hears anything; then its session is Gemini's."""
    providers, told = Providers("openai"), []

    async def serve(socket: ServerConnection) -> None:
        await as_gemini(socket, told)

    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    async with scripted(serve, answer=providers.answer, GATEWAY_MODELS_FILE=CROSSED) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
        async with connect(url, additional_headers=headers) as socket:
            await send(socket, {"type": "conversation.item.create", "item": said})
            await send(socket, {"type": "response.create"})
            assert (await until(socket, "session.created"))["session"]["model"] == "gemini-live"
            answered = await until(socket, "response.done")
        rows = await charged(cluster, "a", 1)
    assert answered["response"]["status"] == "completed"
    assert [row["provider"] for row in rows] == ["gemini"]
    assert providers.dials == {"openai": 1, "gemini": 1}


async def test_a_session_that_is_only_forwarded_stays_with_its_protocol() -> None:
    """With ``GATEWAY_KEEP_SESSIONS=no`` nothing could translate what it says to the other one."""
    providers = Providers("openai")
    async with scripted(
        providers.serve, answer=providers.answer,
        GATEWAY_MODELS_FILE=CROSSED, GATEWAY_KEEP_SESSIONS="no",
    ) as cluster:  # fmt: skip
        key = await asyncio.to_thread(cluster.create_account, "a")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
        async with connect(url) as socket:
            error = await until(socket, "error")
    assert error["error"]["code"] == "provider_unavailable"
    assert providers.dials == {"openai": 1}
