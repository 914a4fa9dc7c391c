"""Who may use which model, and what it is called, where the client's first message names it."""

import asyncio
import contextlib
import json
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import scripted
from tests.support.golden import Step, framed
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import Event

GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
LIVE = "/v1/live/sessions"
SCRIBE = "/v1/realtime?intent=transcription"
MODELS = """
    [models."acme-gemini"]
    provider = "gemini"
    model = "gemini-good"
    [models."acme-live"]
    provider = "openai"
    model = "live-good"
    [models."acme-lost"]
    provider = "xai"
    model = "grok"
    [accounts.picky]
    models = ["gemini-good", "live-good", "scribe-good", "acme-*"]
"""
USAGE = {"promptTokenCount": 30, "responseTokenCount": 12, "totalTokenCount": 42}


def setup(model: str) -> Event:
    """Gemini's first message."""
    return {"setup": {"model": model, "generation_config": {"temperature": 0.5}}}


def start(model: str) -> Event:
    """GPT-Live's."""
    return {"type": "session.start", "session": {"model": model}}


def delegating(model: str) -> Event:
    """What has another model work for the session."""
    return {"delegation": {"type": "responses", "responses": {"model": model}}}


def transcribing(model: str) -> Event:
    """What names the transcriber of a session that has no other model."""
    audio = {"input": {"transcription": {"model": model}}}
    return {"type": "session.update", "session": {"type": "transcription", "audio": audio}}


def raw(message: Event) -> bytes:
    """A message's text."""
    return json.dumps(message).encode()


async def joined(cluster: Cluster, account: str, path: str) -> ClientConnection:
    """A connection of a new account."""
    key = await asyncio.to_thread(cluster.create_account, account)
    return await connect(f"ws://{cluster.address}{path}?key={key}")


def say(socket: ClientConnection, message: bytes, *cuts: int) -> None:
    """Send a message in fragments."""
    socket.transport.write(framed(message, Step(is_client=True), cuts))


GOOD = raw(setup("models/gemini-good"))
AUDIO = b'{"type":"input_audio_buffer.append","audio":"UklG"}'
SPEECH = b'{"realtimeInput":{"audio":{"data":"UklG"}}}'
# What the gateway itself tells a provider whose client is gone.
FAREWELLS = (
    b'{"clientContent":{"turnComplete":false}}',
    b'{"type":"session.close","event_id":"event_rts_cancel"}',
    b'{"type":"response.cancel","event_id":"event_rts_cancel"}',
)
# What is said, and how much of it the provider hears.
REFUSED: list[tuple[str, str, list[bytes], int]] = [
    ("another model", GEMINI, [raw(setup("models/gemini-bad"))], 0),
    ("two models", GEMINI, [b'{"setup":{"model":"gemini-bad","model":"gemini-good"}}'], 0),
    ("two setups in one", GEMINI,
     [b'{"setup":{"model":"gemini-bad"},"setup":{"model":"gemini-good"}}'], 0),
    ("an odd path", GEMINI, [raw(setup("models/gemini-bad/models/gemini-good"))], 0),
    ("a second setup", GEMINI, [GOOD, SPEECH, raw(setup("models/gemini-bad"))], 2),
    ("no setup", GEMINI, [SPEECH], 0),
    ("another live model", LIVE, [raw(start("live-bad"))], 0),
    ("a second live model", LIVE, [raw(start("live-good")), raw(start("live-bad"))], 1),
    ("two live models", LIVE,
     [b'{"type":"session.start","session":{"model":"live-bad","model":"live-good"}}'], 0),
    ("a model to delegate to", LIVE,
     [raw({"type": "session.start", "session": {"model": "live-good", **delegating("bad")}})], 0),
    ("a model to delegate to from now on", LIVE,
     [raw(start("live-good")), raw({"type": "session.update", "session": delegating("bad")})], 1),
    ("another transcriber", SCRIBE, [raw(transcribing("scribe-bad"))], 0),
    ("a second transcriber", SCRIBE,
     [raw(transcribing("scribe-good")), AUDIO, raw(transcribing("scribe-bad"))], 2),
    ("no transcriber", SCRIBE, [AUDIO], 0),
]  # fmt: skip


@pytest.mark.parametrize("cuts", [(), (5, 20)], ids=["whole", "in fragments"])
async def test_an_account_cannot_get_round_its_models(cuts: tuple[int, ...]) -> None:
    """The provider sees not even the beginning of a message that names another model, and is not
    connected to where it is the first one.
    """
    sent: defaultdict[str, list[bytes]] = defaultdict(list)
    dialled: set[str] = set()

    async def script(provider: ServerConnection) -> None:
        assert provider.request is not None
        (case,) = parse_qs(urlsplit(provider.request.path).query)["case"]
        dialled.add(case)
        with contextlib.suppress(ConnectionClosed):
            while True:
                sent[case].append(b"")
                async for part in provider.recv_streaming(decode=False):
                    sent[case][-1] += part  # as it comes, not only when a message is whole

    async with scripted(script, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "picky")
        for case, (what, path, messages, _) in enumerate(REFUSED):
            url = f"ws://{cluster.address}{path}{'&' if '?' in path else '?'}key={key}&case={case}"
            async with connect(url) as socket:
                for message in messages:
                    say(socket, message, *cuts)
                told = []
                with pytest.raises(ConnectionClosed):
                    while True:
                        told.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))
                codes = [event["error"]["code"] for event in told]
                assert codes == ([] if path == GEMINI else ["model_not_allowed"]), what
                assert (socket.close_code, socket.close_reason) == (1008, "model_not_allowed"), what
    # The gateway has ended, and with it every provider's connection: nothing is on its way.
    for case, (what, path, messages, count) in enumerate(REFUSED):
        # One that names its model first is not dialled for before; one that transcribes waits for
        # its session first.
        assert path == SCRIBE or (str(case) in dialled) == bool(count), what
        heard = [x for x in sent[str(case)] if x and x not in FAREWELLS]
        assert heard == messages[:count], what


async def test_a_model_is_renamed_in_the_first_message() -> None:
    """What the client calls acme-gemini is set up, and billed, under its provider's name."""
    seen: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        seen.append(json.loads(await provider.recv()))
        await provider.send(b'{\n  "setupComplete": {}\n}\n')
        await provider.recv()
        await provider.send(raw({"serverContent": {"modelTurn": {"parts": []}}}))
        await provider.send(raw({"serverContent": {"turnComplete": True}, "usageMetadata": USAGE}))
        await provider.wait_closed()

    async with scripted(script, GATEWAY_MODELS_FILE=MODELS) as cluster:
        async with await joined(cluster, "picky", GEMINI) as socket:
            say(socket, raw(setup("models/acme-gemini")), 9)
            assert "setupComplete" in json.loads(await socket.recv())
            say(socket, raw({"realtimeInput": {"text": "hello"}}))
            for _ in range(2):
                await socket.recv()
        (row,) = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("picky"))
    assert seen == [setup("models/gemini-good")]
    assert (row["model"], row["total_tokens"]) == ("gemini-good", 42)


RENAMED = [
    (LIVE, start("acme-live"), start("live-good")),
    (LIVE, start("live-good"), start("live-good")),
    (GEMINI, setup("acme-gemini"), setup("gemini-good")),
    # It is another provider's: this one is asked for it by the client's name.
    (GEMINI, setup("models/acme-lost"), setup("models/acme-lost")),
]


async def test_the_table_renames_only_its_providers_models() -> None:
    """The rest of the message is as it was, and its client is answered."""
    seen: list[Event] = []

    async def script(provider: ServerConnection) -> None:
        seen.append(json.loads(await provider.recv()))
        await provider.send("{}")

    async with scripted(script, GATEWAY_MODELS_FILE=MODELS) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "picky")
        for path, said, _ in RENAMED:
            async with connect(f"ws://{cluster.address}{path}?key={key}") as socket:
                await socket.send(json.dumps(said))
                assert await socket.recv() == "{}"
    assert seen == [expected for _, _, expected in RENAMED]
