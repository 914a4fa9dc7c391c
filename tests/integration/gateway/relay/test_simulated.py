"""What the simulator says that a session costs is what its account is charged, unit by unit.

Gateway, accountd and simulator are the real ones; the usage log of the simulator is the oracle.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from clients.surroundings import every_provider
from openai.types.realtime import RealtimeServerEvent
from openai.types.responses import Response
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from shared.usage import USAGE_FIELDS
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import CREATE, Event, logged, say, send, until
from tests.support.simulator_client_gemini import MODEL, content, speech, turn
from tests.support.speech import silence, tone

GA: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SCRIBE = "/v1/realtime?intent=transcription"
CLEAR, COMMIT = {"type": "input_audio_buffer.clear"}, {"type": "input_audio_buffer.commit"}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
SPOKEN = tone(4.0)
# What is never reported is measured by the base64 of its audio, with names and quotes around it.
ESTIMATED = 0.02


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose simulator is every provider."""
    with every_provider(pace=0) as running:
        yield running


async def opened(cluster: Cluster, account: str, target: str) -> ClientConnection:
    """A connection of a new account, by whose name the simulator's log is told apart."""
    key = await asyncio.to_thread(cluster.create_account, account)
    mark = "&" if "?" in target else "?"
    url = f"ws://{cluster.address}{target}{mark}tag={account}"
    return await connect(url, additional_headers={"api-key": key}, max_size=None)


def used(counted: list[Event]) -> Event:
    """How much of each unit."""
    names = {name for one in counted for name in one} & set(USAGE_FIELDS)
    return {name: sum(one.get(name, 0) for one in counted) for name in sorted(names)}


async def settled(
    cluster: Cluster, account: str, *, sessions: int = 1, rel: float = 0.0
) -> list[Event]:
    """The account's rows, once they are what the log says of so many sessions, each unit to a part
    of ``rel``; units that the log does not know are not charged.
    """

    def rows() -> list[Event]:
        lines = logged(cluster, account)
        expected = used([line["charge"] for line in lines])
        rows = cluster.usage_rows(account)
        found = {name: sum(row[name] for row in rows) for name in expected}
        is_right = found == {n: pytest.approx(count, rel=rel) for n, count in expected.items()}
        has_all = len({line["session"] for line in lines}) == sessions
        return rows if has_all and is_right else []

    found = await asyncio.to_thread(eventually, rows)
    assert isinstance(found, list)
    return found


async def hear(socket: ClientConnection, kind: str) -> list[Event]:
    """All events up to one of a type, each as the SDK knows it."""
    events = await until(socket, kind)
    for event in events:
        GA.validate_python(event)
    return events


# --- the OpenAI family ----------------------------------------------------------------------------

AGENTS = [
    "/voice-live/realtime?api-version=2026-06-01-preview&agent-name=helper&project-name=shop",
    "/voice-live/realtime?api-version=2025-10-01&agent-id=helper&agent-project-name=shop",
    "/voice-agent/realtime?api-version=2026-06-01-preview",
    "/t/acme/agents/helper/endpoint/protocols/voice/live/sessions?api-version=2026-06-01-preview",
]


@pytest.mark.parametrize("target", AGENTS)
async def test_an_agent_of_azure_brings_its_model(cluster: Cluster, target: str) -> None:
    """The URL names none: the row has the one that the server names."""
    account = f"agent-{AGENTS.index(target)}"
    async with await opened(cluster, account, f"{target}&served=gpt-agent") as socket:
        await send(socket, CREATE)
        await until(socket, "response.done")
    (row,) = await settled(cluster, account)
    assert (row["provider"], row["model"], row["kind"]) == ("azure", "gpt-agent", "response")


async def test_a_browser_reaches_xai_as_xai_s_page_says(cluster: Cluster) -> None:
    """A path without a model and a subprotocol with the key, of which nothing is echoed.

    The model is the one that the provider names; the seconds are a row beside the tokens.
    """
    key = await asyncio.to_thread(cluster.create_account, "page")
    url = f"ws://{cluster.address}/xai/v1/realtime?tag=page&served=grok-voice-of-today"
    offered = [Subprotocol(f"xai-client-secret.{key}")]
    async with connect(url, subprotocols=offered, max_size=None) as socket:
        assert socket.subprotocol is None
        await send(socket, CREATE)
        await until(socket, "response.done")
    rows = await settled(cluster, "page")
    assert {(x["provider"], x["model"]) for x in rows} == {("xai", "grok-voice-of-today")}
    assert {x["kind"] for x in rows} == {"response", "duration"}


def asking(model: str) -> Event:
    """What turns transcription on, and the commits of the server off."""
    audio = {"input": {"transcription": {"model": model}, "turn_detection": None}}
    return {"type": "session.update", "session": {"type": "transcription", "audio": audio}}


OLD_NAMES = {
    "type": "session.update",
    "session": {"input_audio_transcription": {"model": "azure-speech"}, "turn_detection": None},
}
SILENT = [
    ("missing", "/v1/realtime?model=gpt-realtime&transcribed=missing", asking("azure-speech")),
    ("null", "/v1/realtime?model=gpt-realtime&transcribed=null", asking("azure-speech")),
    ("azure", "/openai/realtime?api-version=v&deployment=gpt-4o", OLD_NAMES),
]


@pytest.mark.parametrize(("account", "target", "update"), SILENT)
async def test_a_transcript_without_usage_is_estimated(
    cluster: Cluster, account: str, target: str, update: Event
) -> None:
    """By the audio of its item; the provider says nothing of it."""
    async with await opened(cluster, account, target) as socket:
        await send(socket, update, *say(SPOKEN), COMMIT)
        told = (await until(socket, f"{TRANSCRIPTION}.completed"))[-1]
    assert not told.get("usage")
    (row,) = await settled(cluster, account, rel=ESTIMATED)
    assert (row["kind"], row["model"]) == ("estimated_transcription", "azure-speech")


STREAMED = [
    # how the session ends; the kind of its row, and how exact that is
    ("commit", "transcription", 0.0),
    ("clear", "estimated_transcription", ESTIMATED),
    ("leave", "transcription", 0.0),
]


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
@pytest.mark.parametrize(("ending", "kind", "rel"), STREAMED)
async def test_streamed_words_are_charged_however_they_end(
    cluster: Cluster, model: str, ending: str, kind: str, rel: float
) -> None:
    """A client that leaves is committed for, and charged what the provider reports then."""
    account = f"{ending}-{model}"
    async with await opened(cluster, account, SCRIBE) as socket:
        await send(socket, asking(model), *say(SPOKEN))
        for _ in range(len(SPOKEN) // 48 // 400):
            await hear(socket, f"{TRANSCRIPTION}.delta")
        if ending == "commit":
            await send(socket, COMMIT)
            await hear(socket, f"{TRANSCRIPTION}.completed")
        elif ending == "clear":
            await send(socket, CLEAR)
            await hear(socket, "input_audio_buffer.cleared")
    (row,) = await settled(cluster, account, rel=rel)
    assert (row["kind"], row["model"]) == (kind, model)
    assert row["billed_ms"] == pytest.approx(4_000, rel=rel)


async def test_a_delegated_response_is_charged_its_searches_and_cache_writes(
    cluster: Cluster,
) -> None:
    """Beside the seconds of the session, at the model that did the work."""
    work = {"model": "gpt-5.6", "tools": [{"type": "web_search"}]}
    session = {"model": "gpt-live-1", "delegation": {"type": "responses", "responses": work}}
    async with await opened(cluster, "delegates", "/v1/live/sessions") as socket:
        audio = [x["audio"] for x in say(silence(0.4) + tone(1.0) + silence(1.0))]
        await send(
            socket,
            {"type": "session.start", "session": session},
            *({"type": "session.input_audio.append", "audio": piece} for piece in audio),
        )
        inner = (await until(socket, "response.event"))[-1]["event"]
        await send(socket, {"type": "session.close"})
        await until(socket, "session.closed")
    told = Response.model_validate(inner["response"])
    assert told.usage is not None
    assert told.tool_usage is not None
    rows = await settled(cluster, "delegates")
    (row,) = [x for x in rows if x["kind"] == "response"]
    assert row["model"] == "gpt-5.6"
    assert row["web_searches"] == told.tool_usage.web_search.num_requests == 3
    assert row["input_cache_write_tokens"] == told.usage.input_tokens_details.cache_write_tokens > 0
    assert sum(x["billed_ms"] for x in rows) > 0


# --- Gemini ---------------------------------------------------------------------------------------


async def test_searches_for_the_ground_of_an_answer_are_charged_by_query(cluster: Cluster) -> None:
    """However often the frames of a turn repeat them, each counts once in that turn."""
    setup = {"model": MODEL, "tools": [{"googleSearch": {}}]}
    async with await opened(cluster, "grounded", GEMINI) as socket:
        await send(socket, {"setup": setup})
        told = []
        for question in ("Why?", "And when?"):
            await send(socket, content(question))
            told += await turn(socket)
    queries = [
        query
        for message in told
        for query in message.get("serverContent", {})
        .get("groundingMetadata", {})
        .get("webSearchQueries", [])
    ]
    (row,) = await settled(cluster, "grounded")
    assert row["grounding_queries"] == 2 * len(set(queries)) == 4 < len(queries)


async def test_a_transcriber_of_gemini_is_estimated_by_its_audio(cluster: Cluster) -> None:
    """No turn and no usage ever comes; the tokens of the audio stand beside its seconds."""
    setup = {"model": "models/gemini-3.5-transcribe-live", "inputAudioTranscription": {}}
    async with await opened(cluster, "dictates", GEMINI) as socket:
        await send(socket, {"setup": setup}, *speech(tone(20.0)))
        words = 0
        while words < 50:
            message = json.loads(await socket.recv())
            words += "inputTranscription" in message.get("serverContent", {})
    (row,) = await settled(cluster, "dictates", rel=ESTIMATED)
    assert (row["kind"], row["model"]) == ("estimated_transcription", "gemini-3.5-transcribe-live")
    assert row["billed_ms"] == pytest.approx(20_000, rel=ESTIMATED)


# --- refusals -------------------------------------------------------------------------------------

PERMANENT, PASSING = 1008, 1013
REFUSED, UNAVAILABLE = "provider_refused", "provider_unavailable"
REFUSALS = [
    # what is asked for; the close, and the code of the error before it
    ("refuse=400", PERMANENT, REFUSED),
    ("refuse=401", PERMANENT, REFUSED),
    ("refuse=402", PASSING, UNAVAILABLE),
    ("refuse=403", PERMANENT, REFUSED),
    ("refuse=404", PERMANENT, "model_not_found"),
    ("refuse=408", PASSING, UNAVAILABLE),
    ("refuse=425", PASSING, UNAVAILABLE),
    ("refuse=429", PASSING, UNAVAILABLE),
    ("refuse=500", PASSING, UNAVAILABLE),
    ("refuse=502", PASSING, UNAVAILABLE),
    ("refuse=503", PASSING, UNAVAILABLE),
    ("refuse=504", PASSING, UNAVAILABLE),
    ("redirect=circle", PERMANENT, REFUSED),
    ("redirect=away", PERMANENT, REFUSED),
    ("account=invalid_api_key", PASSING, UNAVAILABLE),
    ("account=insufficient_quota", PASSING, UNAVAILABLE),
    ("account=billing_hard_limit_reached", PASSING, UNAVAILABLE),
]


@pytest.fixture(scope="module")
def refused_key(cluster: Cluster) -> str:
    """A key of an account that is never charged anything."""
    return cluster.create_account("refused")


@pytest.mark.parametrize(("parameter", "close_code", "code"), REFUSALS)
@pytest.mark.parametrize("provider", ["openai", "gemini"])
async def test_a_refusal_keeps_its_meaning_and_no_secret(
    cluster: Cluster, refused_key: str, provider: str, parameter: str, close_code: int, code: str
) -> None:
    """The client is told whether trying again may help, in its own protocol, and nothing more."""
    path = GEMINI + "?" if provider == "gemini" else "/v1/realtime?model=gpt-realtime&"
    told, closed = await refusal_of(cluster, f"{path}{parameter}&rs_key={refused_key}")
    assert [x["error"]["code"] for x in told] == ([code] if provider == "openai" else [])
    assert closed.rcvd is not None
    assert closed.rcvd.code == close_code
    seen = json.dumps(told) + closed.rcvd.reason + cluster.gateways[0].log.read_text()
    for secret in ("sk-", "org-simulator", "elsewhere.invalid", "provider-key"):
        assert secret not in seen
    assert "Traceback" not in seen
    assert cluster.usage_rows("refused") == []


async def test_a_transcriber_is_no_model_of_azure_s(cluster: Cluster, refused_key: str) -> None:
    """It is named inside of a session; as one's model Azure refuses it for good."""
    target = f"/openai/v1/realtime?model=gpt-realtime-whisper&rs_key={refused_key}"
    (told,), closed = await refusal_of(cluster, target)
    assert told["error"]["code"] == REFUSED
    assert closed.rcvd is not None
    assert closed.rcvd.code == PERMANENT


async def refusal_of(cluster: Cluster, target: str) -> tuple[list[Event], ConnectionClosed]:
    """The events that a client gets, and how its connection ends."""
    told: list[Event] = []
    async with connect(f"ws://{cluster.address}{target}") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                told.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
    return told, closed.value


async def test_a_provider_that_moved_is_followed_and_charged(cluster: Cluster) -> None:
    """Once, on the same origin."""
    target = "/v1/realtime?model=gpt-realtime&redirect=same"
    async with await opened(cluster, "moved", target) as socket:
        await send(socket, CREATE)
        await until(socket, "response.done")
    (row,) = await settled(cluster, "moved")
    assert row["total_tokens"] > 0


async def test_nothing_else_was_charged(cluster: Cluster) -> None:
    """The books are right."""
    assert (await asyncio.to_thread(cluster.audit))["ok"]
