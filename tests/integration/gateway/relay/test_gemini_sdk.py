"""Google's own SDK through a real gateway: the usage that it reports is what is charged."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from clients.genai_python import AUDIO
from clients.surroundings import every_provider, where
from google import genai
from google.genai import types

from tests.support.harness import Cluster, eventually
from tests.support.speech import chunks, tone

Event = dict[str, Any]
GROUNDED, WRITER = "gemini-3.8-live-grounded", "gemini-3.5-transcribe-live"
UNITS = (
    "input_tokens", "output_tokens", "output_thought_tokens", "input_cached_tokens",
    "input_cached_text_tokens", "input_cached_audio_tokens", "grounding_queries",
)  # fmt: skip
TURNS = 3
SPOKEN_S = 4.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose simulator is every provider."""
    with every_provider(pace=0) as running:
        yield running


async def client(cluster: Cluster, account: str) -> genai.Client:
    """The SDK with a key of a new account."""
    key = await asyncio.to_thread(cluster.create_account, account)
    told = where(cluster, key=key, model="")
    tls = ssl.create_default_context(cafile=told.ca)
    options = types.HttpOptions(base_url=f"https://{told.tls}", async_client_args={"ssl": tls})
    return genai.Client(api_key=key, http_options=options)


def sent(cluster: Cluster, model: str) -> list[Event]:
    """What the simulator says that the sessions with a model cost."""
    return [line["charge"] for line in cluster.usage_sent() if line["model"].endswith(model)]


def by_modality(details: Any) -> dict[str, int]:
    """The counts of a list of the SDK's, by the modality's name."""
    return {found.modality.value: found.token_count or 0 for found in details or []}


async def test_every_unit_that_the_sdk_hears_is_charged(cluster: Cluster) -> None:
    """Tokens, thoughts, what was cached of each modality, and each query of a turn once."""
    config = types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        tools=[types.Tool(google_search=types.GoogleSearch())],
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=types.AutomaticActivityDetection(disabled=True)
        ),
    )
    usages: list[types.UsageMetadata] = []
    queries, repeated = 0, 0
    google = await client(cluster, "grounded")
    async with google.aio.live.connect(model=GROUNDED, config=config) as session:
        for _ in range(TURNS):
            await session.send_realtime_input(activity_start=types.ActivityStart())
            for piece in chunks(tone(SPOKEN_S)):
                await session.send_realtime_input(audio=types.Blob(data=piece, mime_type=AUDIO))
            await session.send_realtime_input(activity_end=types.ActivityEnd())
            found: list[str] = []
            async for message in session.receive():
                content = message.server_content
                if content is not None and content.grounding_metadata is not None:
                    found += content.grounding_metadata.web_search_queries or []
                if message.usage_metadata is not None:
                    usages.append(message.usage_metadata)
            queries, repeated = queries + len(set(found)), repeated + len(found)
    rows = await asyncio.to_thread(
        eventually,
        lambda: (
            sum(x["responses"] for x in cluster.usage_rows("grounded")) == TURNS
            and cluster.usage_rows("grounded")
        ),
    )
    charged = {name: sum(row[name] for row in rows) for name in rows[0] if name in UNITS}
    cached = [by_modality(one.cache_tokens_details) for one in usages]
    thoughts = sum(one.thoughts_token_count or 0 for one in usages)
    assert charged == {
        "input_tokens": sum(one.prompt_token_count or 0 for one in usages),
        "output_tokens": sum(one.response_token_count or 0 for one in usages) + thoughts,
        "output_thought_tokens": thoughts,
        "input_cached_tokens": sum(one.cached_content_token_count or 0 for one in usages),
        "input_cached_text_tokens": sum(one.get("TEXT", 0) for one in cached),
        "input_cached_audio_tokens": sum(one.get("AUDIO", 0) for one in cached),
        "grounding_queries": queries,
    }
    assert 0 < queries < repeated
    assert min(thoughts, charged["input_cached_audio_tokens"]) > 0
    for name in ("input_tokens", "output_tokens", "grounding_queries"):
        assert sum(one[name] for one in sent(cluster, GROUNDED)) == charged[name]


async def test_words_without_a_usage_are_estimated(cluster: Cluster) -> None:
    """A model that only transcribes tells the SDK no usage: the audio is what there is."""
    config = types.LiveConnectConfig(input_audio_transcription=types.AudioTranscriptionConfig())
    google = await client(cluster, "dictates")
    async with google.aio.live.connect(model=WRITER, config=config) as session:
        for piece in chunks(tone(SPOKEN_S), 100):
            await session.send_realtime_input(audio=types.Blob(data=piece, mime_type=AUDIO))
        words = 0
        async for message in session.receive():
            assert message.usage_metadata is None
            content = message.server_content
            words += content is not None and content.input_transcription is not None
            if words == SPOKEN_S * 1000 // 400:
                break
    (row,) = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("dictates"))
    (charge,) = await asyncio.to_thread(eventually, lambda: sent(cluster, WRITER))
    assert (row["kind"], row["model"]) == ("estimated_transcription", WRITER)
    for name in ("billed_ms", "total_tokens"):
        assert row[name] == pytest.approx(charge[name], rel=0.02)
