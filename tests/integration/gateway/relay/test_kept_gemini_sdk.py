"""Google's own SDK, whose session outlasts the provider's connection and notices nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from google.genai import types

from tests.chaos.provider_cuts import CutNetwork
from tests.support.fake_provider import beside
from tests.support.genai_sessions import answer, ask, google, of_user
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import simulator

CONFIG = types.LiveConnectConfig(
    response_modalities=[types.Modality.AUDIO],
    system_instruction="Be brief.",
    output_audio_transcription=types.AudioTranscriptionConfig(),
)
RESUMPTION = types.SessionResumptionConfig()


@dataclass
class World:
    """A gateway, and a network to the simulated Gemini that a test cuts."""

    cluster: Cluster
    network: CutNetwork
    provider: Cluster


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """One of these."""
    context = simulator()
    provider = await asyncio.to_thread(context.__enter__)
    try:
        assert provider.simulator is not None
        host, port = provider.simulator.field("listen").rsplit(":", 1)
        network = CutNetwork(host, int(port))
        server = await asyncio.start_server(network.carry, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with beside(address) as cluster:
            yield World(cluster, network, provider)
        server.close()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.mark.parametrize("resumption", [None, RESUMPTION], ids=["told", "resumed"])
async def test_the_sdk_notices_nothing_of_a_cut(
    resumption: types.SessionResumptionConfig | None,
) -> None:
    """Between two turns, before an answer, and in the middle of one, which ends as interrupted; the
    next connection knows the conversation, and each message is one that the SDK takes.
    """
    config = CONFIG.model_copy(update={"session_resumption": resumption})
    async with world() as there:
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        client = google(there.cluster, key)
        model = "sim-recall,pace-1"
        async with client.aio.live.connect(model=model, config=config) as session:
            await ask(session, "first")
            first, _ = await answer(session)
            there.network.cut()
            await ask(session, "second")
            second, heard = await answer(session)
            await ask(session, "third")
            async with asyncio.timeout(20):
                async for message in session.receive():
                    content = message.server_content
                    if content is not None and content.output_transcription is not None:
                        there.network.cut()
                        break
            _, rest = await answer(session)
            await ask(session, "fourth")
            fourth, _ = await answer(session)
        rows = await asyncio.to_thread(
            eventually, lambda: (found := there.cluster.usage_rows("acct")) and found
        )
    assert of_user(second) == ["first", "second"], (first, second)
    assert "told Be brief." in second
    assert not any(x.setup_complete or x.go_away for x in [*heard, *rest])
    ends = [x.server_content for x in rest if x.server_content is not None]
    assert [bool(x.interrupted) for x in ends][-2:] == [True, False]
    assert ends[-1].turn_complete
    assert of_user(fourth) == ["first", "second", "third", "fourth"], fourth
    assert rows


async def test_the_sdk_hears_nothing_of_an_announced_end() -> None:
    """The connection is replaced before its end, between two turns."""
    config = CONFIG.model_copy(update={"session_resumption": RESUMPTION})
    async with world() as there:
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        client = google(there.cluster, key)
        model = "sim-recall,pace-0,go_away_ms-1"
        async with client.aio.live.connect(model=model, config=config) as session:
            await ask(session, "first")
            _, heard = await answer(session)
            await asyncio.to_thread(eventually, lambda: there.network.dials >= 2)
            await ask(session, "second")
            second, more = await answer(session)
    assert not any(x.setup_complete or x.go_away for x in [*heard, *more])
    assert of_user(second) == ["first", "second"], second
