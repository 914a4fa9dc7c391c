"""Ephemeral keys with real processes, the official SDK, and what a browser does."""

import asyncio
import contextlib
import json
import random
import ssl
import time
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.realtime import ClientSecretCreateResponse, RealtimeSessionCreateRequest
from openai.types.realtime import RealtimeTranslationClientSecretCreateResponse as Made
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gateway.door.client_key import hash_key
from gateway.door.ephemeral import TOKEN_CHARS_MAX, Claims, mint
from gateway.providers.base import CONFIGURATION_ID
from tests.support.ephemeral import (
    LATER,
    MODEL,
    ORIGIN,
    PATH,
    SECRET,
    TRANSLATOR,
    browse,
    make,
    refused,
)
from tests.support.harness import Cluster, eventually
from tests.support.http_client import Answer, ask


async def test_the_sdk_makes_a_key_and_talks_with_it(cluster: Cluster, key: str) -> None:
    """A server makes it, a client opens a session with it, and the account is charged."""
    base = f"http://{cluster.address}/v1"
    before = int(time.time())
    async with AsyncOpenAI(api_key=key, base_url=base) as server:
        secret = await server.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "model": MODEL, "instructions": "Be brief."},
        )
    ClientSecretCreateResponse.model_validate(secret.model_dump(), strict=True)
    assert secret.value.startswith("ek_")
    assert before <= secret.expires_at - 60 <= time.time()
    assert secret.session.type == "realtime"
    assert (secret.session.model, secret.session.instructions) == (MODEL, "Be brief.")
    async with (
        AsyncOpenAI(api_key=secret.value, base_url=base) as client,
        client.realtime.connect(
            model=MODEL, extra_headers={"x-rs-session": "ephemeral"}
        ) as connection,
        asyncio.timeout(20),
    ):
        await connection.response.create()
        async for event in connection:
            if event.type == "response.done":
                break
    rows = await asyncio.to_thread(lambda: eventually(lambda: cluster.usage_rows("owner")))
    assert "ephemeral" in {row["session_id"] for row in rows}


@pytest.mark.parametrize("languages", [["fr"], []])
async def test_a_key_for_translations_opens_translations_only(
    cluster: Cluster, key: str, languages: list[str]
) -> None:
    """The SDK makes it, translates with it as it was made, and gets nothing else with it."""
    asked: Any = {"model": TRANSLATOR}
    if languages:
        asked["audio"] = {"output": {"language": languages[0]}}
    base = f"http://{cluster.address}/v1"
    async with AsyncOpenAI(api_key=key, base_url=base) as server:
        secret = await server.realtime.translations.client_secrets.create(session=asked)
    Made.model_validate(secret.model_dump(), strict=True)
    assert (secret.session.type, secret.session.model) == ("translation", TRANSLATOR)
    async with (
        AsyncOpenAI(api_key=secret.value, base_url=base) as client,
        client.realtime.translations.connect(model=TRANSLATOR) as connection,
        asyncio.timeout(20),
    ):
        await connection.session.close()
        events = [event async for event in connection]
    assert events[-1].type == "session.closed"
    told = [event.session.audio.output for event in events if event.type == "session.updated"]
    assert [output and output.language for output in told] == languages
    assert refused(cluster.address, secret.value, model=TRANSLATOR) == (400, "not_configurable")
    assert refused(cluster.address, secret.value) == (403, "model_not_allowed")


async def test_a_session_begins_as_the_key_was_made(cluster: Cluster, key: str) -> None:
    """What the server asked for is set before the first word of the client, as with OpenAI."""
    base = f"http://{cluster.address}/v1"
    async with AsyncOpenAI(api_key=key, base_url=base) as server:
        secret = await server.realtime.client_secrets.create(
            session={"type": "realtime", "model": MODEL, "instructions": "Be brief. " * 100},
        )
    async with (
        AsyncOpenAI(api_key=secret.value, base_url=base) as client,
        client.realtime.connect(model=MODEL) as connection,
        asyncio.timeout(20),
    ):
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        updated = []
        async for event in connection:
            if event.type == "session.updated":
                updated.append(event.session)
            if len(updated) == 2:
                break
    assert all(isinstance(session, RealtimeSessionCreateRequest) for session in updated)
    assert [session.instructions for session in updated] == ["Be brief. " * 100] * 2
    assert updated[1].output_modalities == ["text"]


BEGINNINGS = [
    ({}, "v1/realtime?model=gpt-realtime", ""),
    ({"instructions": "Be brief."}, "openai/v1/realtime?model=gpt-realtime", ""),
    ({"type": "transcription"}, "v1/realtime?intent=transcription", ""),
    ({"type": "transcription", "audio": {}}, "v1/realtime?intent=transcription", ""),
    ({"type": "transcription"}, "v1/realtime?model=gpt-realtime", "not_configurable"),
    ({"type": "transcription"}, "v1/realtime/translations?model=m", "not_configurable"),
    ({"instructions": "Be brief."}, "v1/realtime?intent=transcription", "not_configurable"),
    ({"instructions": "Be brief."}, "v1/realtime?call_id=rtc_1", "own_key_needed"),
    ({"instructions": "Be brief."}, "openai/realtime?deployment=d", "not_configurable"),
    ({"instructions": "Be brief."}, "voice-live/realtime?model=m", "not_configurable"),
    ({"instructions": "Be brief."}, "v1/live/sessions", "not_configurable"),
    (
        {"instructions": "Be brief."},
        "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        "not_configurable",
    ),
]


@pytest.mark.parametrize(("session", "path", "code"), BEGINNINGS)
def test_a_key_opens_what_can_begin_as_it_says(
    cluster: Cluster, key: str, session: dict[str, Any], path: str, code: str
) -> None:
    """A session that would not begin so is none that the key was made for."""
    secret = make(cluster, key, session=session).json["value"]
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{secret}")]
    url = f"ws://{cluster.gateways[1].field('listen')}/{path}"
    if not code:
        with connect(url, subprotocols=offered) as socket:
            assert json.loads(socket.recv(timeout=10))["type"] == "session.created"
        return
    with pytest.raises(InvalidStatus) as caught:
        connect(url, subprotocols=offered)
    response = caught.value.response
    assert response.status_code == (403 if code == "own_key_needed" else 400)
    assert json.loads(response.body or b"")["error"]["code"] == code


def test_a_beginning_that_the_provider_refuses_ends_the_session(cluster: Cluster, key: str) -> None:
    """Rather than go on without what the key's maker wanted; both errors say what happened."""
    session = {"instructions": "Never tell prices.", "tools": 5}
    secret = make(cluster, key, session=session).json["value"]
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{secret}")]
    url = f"ws://{cluster.address}/v1/realtime?model={MODEL}"
    events = []
    with connect(url, subprotocols=offered) as socket:
        with contextlib.suppress(ConnectionClosed):  # it may be over by then
            socket.send(json.dumps({"type": "response.create"}))
        with pytest.raises(ConnectionClosed):
            while True:
                events.append(json.loads(socket.recv(timeout=10)))
    assert [event["type"] for event in events][:2] == ["session.created", "error"]
    assert events[1]["error"]["event_id"] == CONFIGURATION_ID
    assert events[-1]["error"]["code"] == "configuration_refused"
    assert (socket.close_code, socket.close_reason) == (1008, "configuration_refused")


def test_a_key_has_a_length(cluster: Cluster, key: str) -> None:
    """What does not fit is refused, and it says what to do; the longest fits wherever keys do."""
    chance = random.Random(7)
    words = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=20_000))

    def made(chars: int) -> Answer:
        return make(cluster, key, session={"instructions": words[:chars]})

    answer = made(len(words))
    assert (answer.status, answer.error) == (400, "session_too_large")
    assert "session.update" in answer.json["error"]["message"]
    fits, not_so = 0, len(words)
    while not_so - fits > 1:
        middle = (fits + not_so) // 2
        fits, not_so = (middle, not_so) if made(middle).status == 200 else (fits, middle)
    secret = made(fits).json["value"]
    assert TOKEN_CHARS_MAX - 4 < len(secret) <= TOKEN_CHARS_MAX
    assert browse(cluster.address, secret) == "session.created"
    rest = f"model={'m' * 256}&rs_sessid={'n' * 128}"
    url = f"ws://{cluster.address}/s/{'n' * 128}/v1/realtime?{rest}"
    for place in (
        {"additional_headers": {"Authorization": f"Bearer {secret}"}},
        {"subprotocols": [Subprotocol(f"openai-insecure-api-key.{secret}")]},
        {"uri": f"{url}&access_token={secret}"},
    ):
        with connect(**{"uri": url, **place}) as socket:  # type: ignore[arg-type]
            assert json.loads(socket.recv(timeout=10))["type"] == "session.created"


def test_any_replica_takes_a_key_and_it_opens_several_sessions(cluster: Cluster, key: str) -> None:
    """Nobody remembers keys."""
    secret = make(cluster, key).json["value"]
    for gateway in cluster.gateways:
        assert browse(gateway.field("listen"), secret) == "session.created"


@pytest.mark.parametrize("prefix", ["", "/t/acme", "/openai"])
def test_the_endpoint_may_have_any_prefix(cluster: Cluster, key: str, prefix: str) -> None:
    """As the routes of sessions; caches may not store the answer."""
    answer = ask(cluster.address, "POST", prefix + PATH, key=key)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_endpoint_is_there_over_tls(cluster: Cluster, key: str) -> None:
    """On the other port."""
    trusting = ssl.create_default_context(cafile=str(cluster.folder / "cert.pem"))
    tls = cluster.gateways[0].field("tls").replace("127.0.0.1", "localhost")
    answer = ask(tls, "POST", PATH, key=key, tls=trusting, body=b"{}")
    assert answer.json["value"].startswith("ek_")


def test_a_key_may_be_bound_to_a_model(cluster: Cluster, key: str) -> None:
    """Another model is refused for any client."""
    secret = make(cluster, key, session={"type": "realtime", "model": MODEL}).json["value"]
    assert browse(cluster.address, secret) == "session.created"
    assert refused(cluster.address, secret, model="gpt-4o") == (403, "model_not_allowed")


def test_a_key_may_be_bound_to_an_origin(cluster: Cluster, key: str) -> None:
    """A page from elsewhere, and a program without any, are refused."""
    secret = make(cluster, key, rs_origin=ORIGIN).json["value"]
    assert browse(cluster.address, secret, origin=ORIGIN) == "session.created"
    for origin in ("https://evil.example.org", None):
        assert refused(cluster.address, secret, origin=origin) == (403, "origin_not_allowed")


def test_a_page_hears_why_its_origin_is_refused(cluster: Cluster, key: str) -> None:
    """It asks with a POST, with which browsers name it, and is answered as the handshake is."""
    secret = make(cluster, key, rs_origin=ORIGIN, session={"model": MODEL}).json["value"]

    def asked(origin: str, model: str = MODEL) -> tuple[int, str]:
        path = f"/v1/realtime?model={model}"
        headers = {"Origin": origin}
        answer = ask(cluster.address, "POST", path, key=secret, headers=headers)
        return answer.status, answer.error

    assert asked(ORIGIN) == (426, "upgrade_required")
    assert asked(ORIGIN, "gpt-other") == (403, "model_not_allowed")
    assert asked("https://evil.example.org") == (403, "origin_not_allowed")


def test_keys_that_are_not_valid_open_nothing(cluster: Cluster, key: str) -> None:
    """Altered, foreign, of another account, or too old."""
    secret = make(cluster, key).json["value"]
    known = Claims("owner", "0" * 64, int(time.time()) + 60)
    old = Claims("owner", "0" * 64, int(time.time()) - 1)
    for bad, code in (
        (secret[:-2] + ("AA" if secret[-2:] != "AA" else "BB"), "invalid_api_key"),
        ("ek_0123456789abcdef", "invalid_api_key"),
        (mint(known, LATER.encode()), "invalid_api_key"),
        (mint(known, SECRET.encode()), "invalid_api_key"),
        (mint(old, SECRET.encode()), "expired_api_key"),
    ):
        assert refused(cluster.address, bad) == (401, code)


def test_a_session_outlives_its_key(cluster: Cluster, key: str) -> None:
    """It limits the start of sessions, as at OpenAI, and not how long they last."""
    key_hash = hash_key(key)
    assert key_hash is not None
    secret = mint(Claims("owner", key_hash, int(time.time()) + 2), SECRET.encode())
    url = f"ws://{cluster.address}/v1/realtime?model={MODEL}&rs_key={secret}"
    with connect(url) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "session.created"
        eventually(lambda: is_refused(url))
        socket.send(json.dumps({"type": "response.create"}))
        while json.loads(socket.recv(timeout=10))["type"] != "response.done":
            pass


def is_refused(url: str) -> bool:
    """Whether no session can begin with the key in the URL."""
    try:
        with connect(url):
            return False
    except InvalidStatus as exc:
        return exc.response.status_code == 401


def test_a_session_stands_on_the_key_behind_it(cluster: Cluster) -> None:
    """Revoked, disabled or without credit, that one opens nothing, and neither do its own."""
    poor = cluster.create_account("poor", tokens=5)
    secret = make(cluster, poor).json["value"]
    cluster.accountctl("account", "adjust", "poor", "--tokens", "-5", "--reason", "test")
    assert refused(cluster.address, secret) == (402, "insufficient_credits")
    assert make(cluster, poor).status == 402
    cluster.accountctl("account", "topup", "poor", "10")
    cluster.accountctl("account", "disable", "poor")
    assert refused(cluster.address, secret) == (403, "account_disabled")
    cluster.accountctl("account", "enable", "poor")
    cluster.accountctl("key", "revoke", f"{poor[:5]}…{poor[-5:]}", "--account", "poor")
    assert refused(cluster.address, secret) == (401, "invalid_api_key")
    assert make(cluster, poor).status == 401


def test_an_ephemeral_key_makes_no_other(cluster: Cluster, key: str) -> None:
    """It opens sessions and nothing else. A key that does not exist makes none either."""
    secret = make(cluster, key).json["value"]
    assert (make(cluster, secret).status, make(cluster, secret).error) == (401, "invalid_api_key")
    assert make(cluster, "").status == 401
    assert make(cluster, "rslive_v1_" + "0" * 48).status == 401


def test_what_makes_no_sense_is_refused(cluster: Cluster, key: str) -> None:
    """A lifetime outside of the bounds, and a body that is not JSON."""
    assert make(cluster, key, expires_after={"seconds": 7_201}).error == "bad_request"
    assert ask(cluster.address, "POST", PATH, key=key, body=b"{").error == "bad_request"
    assert ask(cluster.address, "GET", PATH, key=key).status == 405
