"""Sessions whose client and provider speak different protocols: how they begin, go on and end."""

import asyncio
import json

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.support.fake_provider import scripted
from tests.support.harness import eventually
from tests.support.translated import (
    NO_BODY,
    SAID,
    UPDATE,
    Event,
    accept,
    answer,
    asked_and_answered,
    closed,
    deserted,
    gemini_client,
    is_logged,
    openai_client,
    rows_of,
    send,
    until,
)


async def test_the_provider_drops_and_the_conversation_goes_on() -> None:
    """A cut in the middle of an answer: the client hears that it is cancelled, and its next turn is
    answered over a new connection, which was told what was said before. Each usage is charged once.
    """
    told: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        number = len(told)
        setup = await accept(provider)
        told.append({"setup": setup, "contents": []})
        async for text in provider:
            content = json.loads(text).get("clientContent", {})
            told[number]["contents"] += content.get("turns", [])
            if not content.get("turnComplete"):
                continue
            if number == 0 and len(told[0]["contents"]) > 1:
                await send(provider, {"serverContent": {"outputTranscription": {"text": "half"}}})
                provider.transport.abort()
                return
            await answer(provider, f"answer {number}")

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE, SAID, {"type": "response.create"})
        await until(socket, "response.done")
        await send(socket, SAID, {"type": "response.create"})
        cut = (await until(socket, "response.done"))[-1]
        assert cut["response"]["status"] == "cancelled"
        await asked_and_answered(socket)
        await socket.close()
        rows = await rows_of(cluster, "a", 3)  # an estimate for the answer that was cut
        assert len(told) == 2
        texts = [part["text"] for turn in told[1]["contents"] for part in turn["parts"]]
        assert texts[:2] == ["hello", "answer 0"]
        assert texts.count("hello") == 3
        reported = [row for row in rows if row["kind"] == "response"]
        assert sum(row["total_tokens"] for row in reported) == 2 * 12
        audit = await asyncio.to_thread(cluster.audit)
        assert audit["ok"]


async def test_nobody_is_dialled_for_a_client_that_has_left() -> None:
    """The provider is away when the client leaves, and stays away: nobody asks for it again."""
    dials = 0
    is_away = asyncio.Event()

    async def refuse(_: ServerConnection, __: Request) -> Response | None:
        nonlocal dials
        dials += 1
        if not is_away.is_set():
            return None
        return Response(503, "Service Unavailable", NO_BODY)

    async def script(provider: ServerConnection) -> None:
        await accept(provider)
        is_away.set()
        provider.transport.abort()

    async with scripted(script, answer=refuse) as cluster:
        socket = await openai_client(cluster)
        await send(socket, UPDATE)
        await asyncio.wait_for(is_away.wait(), 10)
        await asyncio.to_thread(eventually, lambda: dials >= 3)
        await socket.close()
        await asyncio.to_thread(eventually, lambda: is_logged(cluster, "session ended"))
        before = dials
        await asyncio.to_thread(cluster.gateways[0].stop)
        assert dials == before


async def test_a_provider_that_stays_away_ends_the_session() -> None:
    """After so many tries the client is told, and closed with a code on which it may come back."""
    tuned = {"gateway.relay.replacement.TRIES_MAX": 2, "gateway.relay.replacement.PAUSE_S": 0.01}
    async with deserted(tuned) as (_, socket):
        told = (await until(socket, "error"))[-1]["error"]
        assert told["type"] == "server_error"
        assert (await closed(socket)).code in (1011, 1013)


async def test_what_the_provider_refuses_for_good_is_told_in_the_clients_words() -> None:
    """Gemini has no error message, only a close: an OpenAI client gets an event before it, and the
    provider is not asked again.
    """
    setups: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        setups.append(json.loads(await provider.recv()))
        await provider.close(1008, "models/m is not found for API version v1beta")

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE)
        error = (await until(socket, "error"))[-1]["error"]
        assert error["code"] == "provider_closed"
        assert "models/m is not found" in error["message"]
        close = await closed(socket)
    assert close.code == 1008
    assert len(setups) == 1


async def test_a_provider_that_announces_its_end_is_replaced_between_turns() -> None:
    """``goAway`` in the middle of an answer: the answer is finished, then the session is resumed by
    its handle on a new connection, and the client hears nothing of it.
    """
    setups: list[Event] = []
    closes: list[int | None] = []

    async def script(provider: ServerConnection) -> None:
        setups.append(await accept(provider))
        update = {"newHandle": f"handle-{len(setups)}", "resumable": True}
        await send(provider, {"sessionResumptionUpdate": update})
        async for text in provider:
            if json.loads(text).get("clientContent", {}).get("turnComplete"):
                await send(provider, {"goAway": {"timeLeft": "9s"}})
                await answer(provider, "yes")
        closes.append(provider.close_code)

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE)
        for _ in range(2):
            await asked_and_answered(socket)
        await rows_of(cluster, "a", 2)
        await asyncio.to_thread(eventually, lambda: len(setups) >= 3)
    assert setups[0]["sessionResumption"] == {}
    assert setups[1]["sessionResumption"] == {"handle": "handle-1"}
    assert setups[2]["sessionResumption"] == {"handle": "handle-2"}
    assert closes[:2] == [1000, 1000]


async def test_a_handle_that_is_refused_costs_nothing_of_the_conversation() -> None:
    """The provider has forgotten the session: another connection is told what was said instead."""
    told: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        told.append({"setup": json.loads(await provider.recv())["setup"], "texts": []})
        if told[-1]["setup"]["sessionResumption"]:
            await provider.close(1008, "BidiGenerateContent session not found")
            return
        await send(provider, {"setupComplete": {}})
        update = {"newHandle": "forgotten", "resumable": True}
        await send(provider, {"sessionResumptionUpdate": update})
        async for text in provider:
            content = json.loads(text).get("clientContent", {})
            parts = [part for turn in content.get("turns", []) for part in turn["parts"]]
            told[-1]["texts"] += [part["text"] for part in parts]
            if content.get("turnComplete"):
                await answer(provider, f"answer {len(told)}")
                if len(told) == 1:
                    provider.transport.abort()

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE)
        for _ in range(2):
            await asked_and_answered(socket)
    assert [each["setup"]["sessionResumption"] for each in told] == [
        {}, {"handle": "forgotten"}, {},
    ]  # fmt: skip
    assert told[2]["texts"] == ["hello", "answer 1", "hello"]


async def test_a_provider_that_does_not_answer_the_setup_is_replaced() -> None:
    """It took the connection and says nothing: another connection is told the same."""
    setups: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        setups.append(json.loads(await provider.recv())["setup"])
        if len(setups) > 1:
            await send(provider, {"setupComplete": {}})
        await provider.wait_closed()

    tuned = {"gateway.limits.SETUP_S": 0.5}
    async with scripted(script, tuned=tuned) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE)
        await until(socket, "session.updated")
    assert setups[0] == setups[1]


async def test_a_first_message_without_a_model_is_refused() -> None:
    """Nobody is dialled: who would serve it is not known."""
    dialled: list[ServerConnection] = []

    async def script(provider: ServerConnection) -> None:
        dialled.append(provider)

    async with scripted(script) as cluster, await gemini_client(cluster) as socket:
        await send(socket, {"realtimeInput": {"text": "hello"}})
        close = await closed(socket)
    assert close.code == 1008
    assert "expected setup.model" in close.reason
    assert not dialled


async def test_a_model_that_the_account_may_not_use_is_refused_in_the_first_message() -> None:
    """The limit counts for the model by which the client is led to another provider, too."""
    table = '[accounts."a"]\nmodels = ["gemini-*"]\n'

    async def script(provider: ServerConnection) -> None:
        await provider.wait_closed()

    async with scripted(script, GATEWAY_MODELS_FILE=table) as cluster:
        socket = await gemini_client(cluster)
        await send(socket, {"setup": {"model": "models/gpt-realtime"}})
        close = await closed(socket)
    assert close.code == 1008
    assert "gpt-realtime" in close.reason


async def test_a_client_that_leaves_before_its_first_message_leaves_nothing() -> None:
    """No session was opened, and none is."""

    async def script(provider: ServerConnection) -> None:
        await provider.wait_closed()

    async with scripted(script, GATEWAY_OPS_LISTEN="127.0.0.1:0") as cluster:
        socket = await gemini_client(cluster)
        await socket.close()
        gateway = cluster.gateways[0]
        assert await asyncio.to_thread(gateway.stop) == 0
        assert not is_logged(cluster, "session opened")


async def test_the_models_file_names_the_model_and_the_voice() -> None:
    """A client that names others than the provider has gets those of the operator."""
    table = '[defaults]\ngemini = "our-live"\n[voices.gemini]\nmarin = "Sulafat"\n'
    setups: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        setups.append(await accept(provider))
        await provider.wait_closed()

    async with scripted(script, GATEWAY_MODELS_FILE=table) as cluster:
        socket = await openai_client(cluster, model="gpt-realtime")
        voice = {"audio": {"output": {"voice": "marin"}}}
        await send(socket, {**UPDATE, "session": {"type": "realtime", **voice}})
        await until(socket, "session.updated")
        await socket.close()
    assert setups[0]["model"] == "models/our-live"
    speech = setups[0]["generationConfig"]["speechConfig"]
    assert speech["voiceConfig"] == {"prebuiltVoiceConfig": {"voiceName": "Sulafat"}}
