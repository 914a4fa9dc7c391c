"""Azure's URLs, and the beta's names, held to the official SDK's own beta types."""

from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.beta.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent as BetaCompletedEvent,
)
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter, ValidationError

from tests.support.harness import Cluster
from tests.support.simulator_client import (
    BEARER,
    CREATE,
    Event,
    answered,
    host,
    logged,
    order,
    refused,
    send,
    session,
    spoken,
    text_until_done,
    until,
    write,
)
from tests.support.speech import silence, tone

BETA: TypeAdapter[Any] = TypeAdapter(BetaServerEvent)
GA: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
PATH = "/openai/realtime"
OLD = {"api-version": "2025-04-01-preview", "deployment": "gpt-4o-realtime-preview"}
KEY = {"api-key": "k"}
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}
COMPLETED = "conversation.item.input_audio_transcription.completed"


def check(events: list[Event]) -> None:
    """Each is valid by the SDK's beta types, which demand a usage that Azure leaves out."""
    for event in events:
        if event["type"] == COMPLETED:
            with pytest.raises(ValidationError, match=r"(?s)1 validation error.*usage"):
                BetaCompletedEvent.model_validate(event)
        else:
            assert BETA.validate_python(event).type == event["type"]


async def test_a_spoken_turn_in_the_old_names(provider: Cluster) -> None:
    """The recorded order; a transcription without usage is in the log as what was heard."""
    flat = {"modalities": ["text", "audio"], "input_audio_transcription": {"model": "whisper-1"}}
    async with session(provider, PATH, KEY, **OLD, tag="spoken") as socket:
        await send(socket, {"type": "session.update", "session": flat})
        events = await spoken(
            socket, silence(0.4) + tone(2.0) + silence(0.6), "rate_limits.updated"
        )
    check(events)
    deltas = ("response.audio.delta", "response.audio_transcript.delta")
    found = [x for x in order(events, *deltas) if "transcription" not in x]
    assert found == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert COMPLETED in order(events)
    done = events[-2]["response"]
    assert done["usage"]["output_token_details"]["reasoning_tokens"] == 0
    assert done["output"][0]["content"][0]["type"] == "audio"
    line, heard = sorted(logged(provider, "spoken"), key=lambda x: x["kind"] != "response")
    assert (heard["kind"], heard["usage"]) == ("estimated_transcription", None)
    assert heard["charge"]["billed_ms"] >= 2_000
    assert (line["provider"], line["kind"]) == ("azure", "response")
    assert line["usage"] == done["usage"]


async def test_the_flat_session(provider: Cluster) -> None:
    """What is set under the old names is what the session says, and is obeyed."""
    flat = {
        "modalities": ["text"], "voice": "sage", "input_audio_format": "g711_ulaw",
        "output_audio_format": "pcm16", "turn_detection": None, "temperature": 0.6,
        "max_response_output_tokens": 5, "tools": [TOOL], "tool_choice": "auto",
    }  # fmt: skip
    async with session(provider, PATH, KEY, **OLD) as socket:
        await send(socket, {"type": "session.update", "session": flat})
        events = await until(socket, "session.updated")
        assert {name: events[-1]["session"][name] for name in flat} == flat
        assert "audio" not in events[-1]["session"]
        await send(socket, CREATE)
        events += await until(socket, "response.done")
        assert events[-1]["response"]["status"] == "incomplete"
        await send(socket, write("How is the weather?"), CREATE)
        events += await until(socket, "response.done")
    check(events)
    assert events[-1]["response"]["output"][0]["name"] == "weather"
    assert "response.text.delta" in order(events)


BROKEN: list[Any] = [
    None, 5, {"voice": {"a": 1}, "audio": 3}, {"modalities": 7}, {"input_audio_format": "mp3"},
    {"audio": "x", "input_audio_format": "pcm16"}, {"turn_detection": {"type": 5}},
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_any_flat_session_is_survived(provider: Cluster, broken: Any) -> None:
    """Refused or taken; the session goes on."""
    async with session(provider, PATH, KEY, **OLD) as socket:
        await send(socket, {"type": "session.update", "session": broken}, CREATE)
        assert (await until(socket, "response.done"))[-1]["response"]["status"] == "completed"


async def test_ga_names_on_the_new_url(provider: Cluster) -> None:
    """``/openai/v1/realtime`` speaks GA; ``?dialect=`` chooses otherwise."""
    events = await answered(provider, "/openai/v1/realtime", KEY, model="dep")
    assert all(GA.validate_python(event).type == event["type"] for event in events)
    for path in ("/v1/realtime", "/openai/v1/realtime"):
        query = {"model": "gpt-4o-realtime-preview", "dialect": "beta"}
        check(await answered(provider, path, **query))


async def test_azure_ignores_the_beta_header(provider: Cluster) -> None:
    """And OpenAI refuses it, whatever dialect is asked for."""
    headers = {**BEARER, "OpenAI-Beta": "realtime=v1"}
    async with session(provider, PATH, headers, **OLD) as socket:
        await until(socket, "session.created")
    async with session(provider, "/v1/realtime", headers, dialect="beta") as socket:
        assert (await until(socket, "error"))[-1]["error"]["code"] == "beta_api_shape_disabled"
        await socket.wait_closed()
    assert socket.close_code == 4000


REFUSED = [
    ("/openai/v1/realtime?model=m", {}, 401),
    (f"{PATH}?api-version=a&deployment=d", {}, 401),
    (f"{PATH}?deployment=d", KEY, 400),
    (f"{PATH}?api-version=a", KEY, 400),
    ("/openai/v1/realtime?model=m&dialect=alpha", KEY, 400),
]


@pytest.mark.parametrize(("path", "headers", "status"), REFUSED)
async def test_it_refuses_before_the_upgrade(
    provider: Cluster, path: str, headers: dict[str, str], status: int
) -> None:
    """No key, no version, no deployment, no such dialect."""
    assert await refused(provider, path, headers) == status


async def test_the_official_azure_client(provider: Cluster) -> None:
    """AsyncAzureOpenAI with a websocket_base_url, by the old URL; the beta client of Azure."""
    client = AsyncAzureOpenAI(
        api_key="k", azure_endpoint=f"http://{host(provider)}", api_version="2025-04-01-preview",
        websocket_base_url=f"ws://{host(provider)}/sim-pace-0/openai",
    )  # fmt: skip
    async with client.beta.realtime.connect(model="gpt-4o-realtime-preview") as it:
        await it.session.update(session={"modalities": ["text"]})
        await it.response.create()
        assert await text_until_done(it, "response.text.delta")


async def test_the_official_ga_clients(provider: Cluster) -> None:
    """The Azure client on the old URL hears the old names; the plain one on the new URL, GA."""
    azure = AsyncAzureOpenAI(
        api_key="k", azure_endpoint=f"http://{host(provider)}", api_version="2025-04-01-preview",
        websocket_base_url=f"ws://{host(provider)}/sim-pace-0/openai",
    )  # fmt: skip
    plain = AsyncOpenAI(api_key="k", base_url=f"http://{host(provider)}/sim-pace-0/openai/v1")
    for client, delta in (
        (azure, "response.audio.delta"),
        (plain, "response.output_audio.delta"),
    ):
        async with client.realtime.connect(model="dep") as it:
            await it.response.create()
            seen = set()
            async for event in it:
                seen.add(event.type)
                if event.type == "response.done":
                    break
        assert delta in seen


async def test_the_official_beta_client_is_refused_by_openai(provider: Cluster) -> None:
    """It sends the header that OpenAI no longer takes."""
    client = AsyncOpenAI(api_key="k", websocket_base_url=f"ws://{host(provider)}/v1")
    async with client.beta.realtime.connect(model="gpt-4o-realtime-preview") as it:
        event = await it.recv()
    assert event.type == "error"
    assert event.error.code == "beta_api_shape_disabled"
