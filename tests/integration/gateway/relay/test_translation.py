"""A translation with the official SDK, through a real gateway, to the books."""

import asyncio
import base64
from typing import Any

import pytest
from clients.surroundings import every_provider
from openai import AsyncOpenAI
from openai.types.realtime import realtime_translation_server_event as types
from pydantic import TypeAdapter

from tests.support.harness import Cluster, eventually

SERVER_EVENT: Any = TypeAdapter(types.RealtimeTranslationServerEvent)
FRAME = base64.b64encode(bytes(9_600)).decode()
FRAMES = 35


async def translate(cluster: Cluster, key: str) -> list[Any]:
    """Seven seconds of speech in frames of 200 ms; every event is what the SDK's types say."""
    client = AsyncOpenAI(api_key=key, base_url=f"http://{cluster.address}/v1")
    events = []
    async with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
        for _ in range(FRAMES):
            await connection.session.input_audio_buffer.append(audio=FRAME)
        await connection.session.close()
        async for event in connection:
            SERVER_EVENT.validate_python(event.model_dump())
            events.append(event)
    return events


async def test_a_translation_is_relayed_and_charged_by_what_was_said() -> None:
    """The provider reports nothing: the row is an estimate of the audio, and says so."""
    with every_provider(pace=0) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "abroad")
        events = await translate(cluster, key)
        kinds = [event.type for event in events]
        assert kinds[0] == "session.created"
        assert kinds[-1] == "session.closed"
        assert kinds.count("session.output_audio.delta") == FRAMES
        (row,) = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("abroad"))
        assert (row["kind"], row["model"]) == ("estimated_duration", "gpt-realtime-translate")
        (heard,) = await asyncio.to_thread(eventually, cluster.usage_sent)
        assert heard["charge"]["billed_ms"] == FRAMES * 200
        assert row["billed_ms"] == pytest.approx(FRAMES * 200, rel=0.01)
        assert row["unpriced"] == "session_second"
        audit = await asyncio.to_thread(cluster.audit)
        assert audit["ok"]
