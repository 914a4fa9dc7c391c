"""Google's own SDK, whose session goes on at a provider of another protocol and notices nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.genai import types
from websockets.asyncio.client import connect

from tests.support.genai_sessions import answer, ask, google, of_user
from tests.support.harness import eventually
from tests.support.moving_world import books, world
from tests.support.simulator_client_gemini import PATH

CONFIG = types.LiveConnectConfig(
    response_modalities=[types.Modality.AUDIO],
    system_instruction="Be brief.",
    output_audio_transcription=types.AudioTranscriptionConfig(),
    input_audio_transcription=types.AudioTranscriptionConfig(),
)
RESUMPTION = types.SessionResumptionConfig()


def may_resume(heard: list[types.LiveServerMessage]) -> list[bool]:
    """What a client is told of whether its session can be resumed."""
    updates = [x.session_resumption_update for x in heard]
    return [bool(x.resumable) for x in updates if x is not None]


@pytest.mark.parametrize("resumption", [None, RESUMPTION], ids=["plain", "resumable"])
async def test_the_sdk_goes_on_at_a_provider_of_another_protocol_and_back(
    resumption: types.SessionResumptionConfig | None,
) -> None:
    """Between two turns, and in the middle of an answer, which ends as interrupted; the next
    provider knows the instructions and the conversation, and each is charged for what it reported.
    """
    config = CONFIG.model_copy(update={"session_resumption": resumption})
    async with world() as there:
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        client = google(there.cluster, key)
        async with client.aio.live.connect(model="gemini-safe", config=config) as session:
            await ask(session, "first")
            await answer(session)
            there.move(away=there.gemini, back=there.openai)
            await ask(session, "second")
            second, heard = await answer(session)
            there.move(away=there.openai, back=there.gemini)
            await ask(session, "third")
            third, more = await answer(session)
            await ask(session, "fourth")
            async with asyncio.timeout(20):
                async for message in session.receive():
                    content = message.server_content
                    if content is not None and content.output_transcription is not None:
                        there.move(away=there.gemini, back=there.openai)
                        break
            _, rest = await answer(session)
            await ask(session, "fifth")
            fifth, last = await answer(session)
        charged = await books(there)
    assert of_user(second) == ["first", "second"], second
    assert of_user(third) == ["first", "second", "third"], third
    assert of_user(fifth) == ["first", "second", "third", "fourth", "fifth"], fifth
    assert "told Be brief." in second
    assert "told Be brief." in third
    assert not any(x.setup_complete or x.go_away for x in [*heard, *more, *rest, *last])
    ends = [x.server_content for x in rest if x.server_content is not None]
    assert ends[-1].turn_complete
    assert any(x.interrupted for x in ends)
    if resumption is not None:
        assert [may_resume(x)[-1:] for x in (heard, last)] == [[False], [False]]
        assert may_resume([*more, *rest])[-1:] == [True], "the one that is there issues handles"
    assert set(charged) == {"gemini", "openai"}


async def test_a_first_dial_leads_to_a_provider_of_another_protocol() -> None:
    """Before the client hears anything; the session returns where the list begins."""
    async with world() as there:
        there.gemini.is_away = True
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        client = google(there.cluster, key)
        async with client.aio.live.connect(model="gemini-safe", config=CONFIG) as session:
            await ask(session, "first")
            first, _ = await answer(session)
            assert not there.gemini.cut(), "nothing is there to be cut"
            there.move(away=there.openai, back=there.gemini)
            await ask(session, "second")
            second, _ = await answer(session)
        charged = await books(there)
    assert of_user(first) == ["first"]
    assert of_user(second) == ["first", "second"]
    assert set(charged) == {"openai", "gemini"}


async def test_a_drain_leads_to_a_provider_of_another_protocol_between_two_turns() -> None:
    """And back, while the client stays connected. How long its user waits for answers is known of
    each provider, whose protocol is the client's or another one.
    """
    async with world() as there:
        ctl = there.cluster.accountctl
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        client = google(there.cluster, key)

        def seen(provider: str) -> tuple[int, int]:
            rows = there.cluster.ask("providers.overview")["providers"]
            return next(
                ((x["sessions"], x["answers"]) for x in rows if x["provider"] == provider), (0, 0)
            )

        async with client.aio.live.connect(model="gemini-safe", config=CONFIG) as session:
            for words, drained, other in (
                ("first", "gemini", "openai"),
                ("second", "openai", "gemini"),
            ):
                await ask(session, words)
                await answer(session)
                await asyncio.to_thread(eventually, lambda x=drained: seen(x) == (1, 1))
                await asyncio.to_thread(ctl, "providers", "drain", drained)
                await asyncio.to_thread(eventually, lambda x=other: seen(x)[0] == 1)
                await asyncio.to_thread(ctl, "providers", "resume", drained)
            await ask(session, "third")
            third, _ = await answer(session)
            await asyncio.to_thread(eventually, lambda: seen("gemini") == (1, 2))
        charged = await books(there)
    assert of_user(third) == ["first", "second", "third"]
    assert set(charged) == {"gemini", "openai"}


async def test_a_message_in_fragments_is_whole_wherever_it_ends() -> None:
    """Its beginning was read for the provider that is gone: the next one gets all of it."""
    async with world() as there:
        there.gemini.is_away = True
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        url = f"ws://{there.cluster.address}{PATH}"
        async with connect(url, additional_headers={"x-goog-api-key": key}) as socket:

            async def fragments() -> AsyncIterator[str]:
                yield asked[:40]
                await (await socket.ping())  # the gateway has read this
                there.move(away=there.openai, back=there.gemini)
                await asyncio.to_thread(eventually, lambda: there.gemini.dials > 1)
                yield asked[40:]

            setup = {"model": "models/gemini-safe", "outputAudioTranscription": {}}
            await socket.send(json.dumps({"setup": setup}))
            assert "setupComplete" in json.loads(await socket.recv())
            turn = {"role": "user", "parts": [{"text": "in fragments"}]}
            asked = json.dumps({"clientContent": {"turns": [turn], "turnComplete": True}})
            await socket.send(fragments())
            words, content = "", dict[str, Any]()
            async with asyncio.timeout(20):
                while "turnComplete" not in content:
                    content = json.loads(await socket.recv()).get("serverContent", {})
                    words += content.get("outputTranscription", {}).get("text", "")
    assert of_user(words) == ["in fragments"]
