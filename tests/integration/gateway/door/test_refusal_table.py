"""Every way to be refused at the door, by every way to carry a key: who is refused costs nothing.

``ROWS`` is the table, ``tests.support.refused`` has the ways, ``tests.support.refusal_world`` the
keys and the gateways. Everything is asked at once, before the first test, by real connections to
real gateways; each test looks at the answers to one pair. The last tests hold that no provider was
connected to and nothing was charged, and that the same ways lead to a provider with a good key.

A new limit is a line of ``ROWS``, and one of ``KEYS`` where it needs an account of its own.
"""

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from openai import APIStatusError, AuthenticationError, InternalServerError, OpenAI, RateLimitError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.genai_sessions import google
from tests.support.harness import eventually
from tests.support.peers import masked
from tests.support.refusal_world import INDISTINCT, LONG_S, Row, World, refusing_world, sweep
from tests.support.refused import (
    ACCEPTS,
    CALLS,
    EVERY_WAY,
    GEMINI,
    HANDSHAKES,
    IN_URLS,
    MINTS,
    OFFER,
    OFFERS,
    OPENING,
    OWN_KEY,
    READING,
    REALTIME,
    SECONDS,
    SESSIONS,
    Answer,
    Connection,
    Way,
    ask,
    new_place,
    posts,
)

TYPE_BY_STATUS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota",
    403: "permission_error", 404: "invalid_request_error", 405: "invalid_request_error",
    413: "invalid_request_error", 426: "invalid_request_error", 429: "rate_limit_error",
    503: "service_unavailable",
}  # fmt: skip
NOW, SOON, LATER = (1, 1), (5, 5), (1, LONG_S)
MONTH_S = 31 * 86_400
INVALID = "invalid_api_key"
WITH_EPHEMERAL = [*SESSIONS, *OFFERS]
# What such a request is refused for has nothing to do with its key: some ways stand for all.
OFTEN = ("Bearer", "subprotocol", "?rs_key=")
FEW = [way for way in SESSIONS if way.path == REALTIME and way.name.partition(",")[0] in OFTEN]
IN_HEADERS = [way for way in EVERY_WAY if not way.query]
BEGINNING = [way for way in IN_HEADERS if way in (*SESSIONS, *OFFERS, *ACCEPTS)]
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n--x\r\nContent-Disposition:'
    b' form-data; name="session"\r\n\r\n{"model": "gpt-realtime-mini"}\r\n--x--\r\n'
)
TWO_MODELS = posts("two models", f"{CALLS}?model=gpt-realtime", FORM,
                   **{"Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip
DEMO = [Way("demo", "/demo/client_secrets", method="POST", body=b"{}")]
TOO_MUCH = json.dumps({"session": {"instructions": secrets.token_hex(8_000)}}).encode()
LIMIT = "rate_limit_exceeded"
AWAY = "service_unavailable"
ROWS: Final = [
    # Keys that open nothing.
    Row("no key", 401, INVALID, "none", EVERY_WAY),
    *(Row(f"key: {key}", 401, INVALID, key, EVERY_WAY) for key in INDISTINCT),
    Row("expired", 401, "expired_api_key", "expired", EVERY_WAY),
    Row("disabled", 403, "account_disabled", "disabled", [*SESSIONS, *OPENING]),
    Row("no credit", 402, "insufficient_credits", "broke", [*SESSIONS, *OPENING]),
    Row("the first of two keys counts", 401, INVALID, "unknown",
        [way for way in SESSIONS if "Authorization" in way.headers], f"{REALTIME}&rs_key=sk-other"),
    # Ephemeral keys.
    Row("ephemeral, expired", 401, "expired_api_key", "ek_, expired", WITH_EPHEMERAL),
    Row("ephemeral, of an expired key", 401, "expired_api_key", "ek_ of an expired key",
        WITH_EPHEMERAL),
    Row("ephemeral, disabled", 403, "account_disabled", "ek_ of a disabled account",
        WITH_EPHEMERAL),
    Row("ephemeral, no credit", 402, "insufficient_credits", "ek_ of an account without credit",
        WITH_EPHEMERAL),
    Row("ephemeral, no origin", 403, "origin_not_allowed", "ek_ of an origin", WITH_EPHEMERAL),
    Row("ephemeral, another origin", 403, "origin_not_allowed", "ek_ of an origin", WITH_EPHEMERAL,
        headers={"Origin": "https://evil.example"}),
    Row("ephemeral, another model", 403, "model_not_allowed", "ek_ of a model", path=REALTIME),
    Row("ephemeral, another model, call", 403, "model_not_allowed", "ek_ of a model", OFFERS),
    Row("ephemeral, another kind", 400, "not_configurable", "ek_ of a transcription",
        path=REALTIME),
    Row("ephemeral, another kind, call", 400, "not_configurable", "ek_ of a transcription", OFFERS),
    Row("ephemeral, a call that exists", 403, "own_key_needed", "ek_",
        path="/v1/realtime?call_id=rtc_1"),
    Row("ephemeral, where an account's own is needed", 401, INVALID, "ek_", OWN_KEY),
    # What is asked for.
    Row("no such path", 404, "not_found", ways=FEW, path="/v1/nothing"),
    Row("a prefix of another provider", 404, "not_found", ways=FEW,
        path="/openai/v2/xai/ws/realtime"),
    Row("a call to GPT-Live", 404, "not_offered", ways=FEW, path="/v1/live/rtc_1"),
    Row("no model", 400, "missing_model", ways=FEW, path="/v1/realtime"),
    Row("a long model", 400, "bad_request", ways=FEW, path=f"/v1/realtime?model={'m' * 300}"),
    Row("model and intent", 400, "model_and_intent", ways=FEW,
        path=f"{REALTIME}&intent=transcription"),
    Row("a semicolon", 400, "bad_request", ways=FEW, path=f"{REALTIME};x=1"),
    Row("what is no name of a session", 400, "bad_request", ways=FEW,
        path=f"{REALTIME}&rs_sessid=a%20b"),
    Row("two names of a session", 400, "session_conflict", ways=FEW,
        path="/s/one/v1/realtime?model=gpt-realtime&rs_sessid=two"),
    Row("rs_events", 400, "bad_request", ways=HANDSHAKES, path=f"{REALTIME}&rs_events=2"),
    Row("what is no call's id", 400, "bad_request", ways=FEW, path="/v1/realtime?call_id=.."),
    Row("no such provider", 404, "provider_not_found", ways=FEW, path=f"{REALTIME}&provider=acme"),
    Row("a provider without a key", 404, "provider_not_found", ways=FEW, path="/xai/v1/realtime"),
    Row("a model of a provider without a key", 404, "provider_not_found", ways=FEW,
        path="/v1/realtime?model=grok-voice-latest"),
    Row("two providers", 400, "provider_conflict", ways=FEW, path=f"{REALTIME}&provider=openai",
        headers={"x-rs-provider": "gemini"}),
    Row("a model that is elsewhere", 400, "provider_conflict", ways=FEW,
        path="/v1/realtime?model=house&provider=gemini"),
    Row("nothing to translate", 400, "not_translatable", ways=FEW,
        path="/v1/realtime?intent=transcription&provider=gemini"),
    Row("a translation at Gemini", 404, "provider_not_found", ways=FEW,
        path="/v1/realtime/translations?model=gpt-realtime-translate&provider=gemini"),
    Row("a model that the account may not use", 403, "model_not_allowed", "held", path=REALTIME),
    Row("such a model, secrets", 403, "model_not_allowed", "held",
        [way for way in MINTS if "translations" in way.path]),
    Row("such a model, call", 403, "model_not_allowed", "held", OFFERS),
    Row("a model that the key may not use", 403, "model_not_allowed", "one model", path=REALTIME),
    Row("such a model of a key, secrets", 403, "model_not_allowed", "one model",
        [way for way in MINTS if "translations" in way.path]),
    Row("such a model of a key, call", 403, "model_not_allowed", "one model", OFFERS),
    Row("such a model of an ephemeral key's", 403, "model_not_allowed",
        "ek_ of a key with one model", path=REALTIME),
    Row("a provider that the key may not use", 403, "provider_not_allowed", "only Gemini",
        path=REALTIME),
    Row("such a provider, named", 403, "provider_not_allowed", "only Gemini",
        path=f"{REALTIME}&provider=openai"),
    Row("such a provider of a call", 403, "provider_not_allowed", "only Gemini",
        [*OFFERS, *ACCEPTS]),
    Row("two models of a call", 400, "model_conflict", ways=TWO_MODELS),
    Row("no offer", 400, "bad_request", ways=OFFERS, headers={"Content-Type": "text/plain"}),
    Row("a key for ever", 400, "bad_request", ways=posts(
        "for ever", "/v1/realtime/client_secrets", b'{"expires_after": {"seconds": 99999}}')),
    Row("a key with too much in it", 400, "session_too_large", ways=posts(
        "too much", "/v1/realtime/client_secrets", TOO_MUCH)),
    Row("a gateway that makes no ephemeral keys", 404, "no_ephemeral_keys", ways=MINTS,
        scene="unsigned"),
    Row("a gateway that knows no ephemeral keys", 401, INVALID, "ek_",
        [way for way in WITH_EPHEMERAL if not way.query], scene="unsigned"),
    # The demo's page.
    Row("the demo: another origin", 403, "cross_origin", "none", DEMO,
        headers={"Origin": "https://evil.example"}),
    Row("the demo: another name of this host", 403, "unknown_host", "none", DEMO,
        headers={"Host": "evil.example", "Origin": "http://evil.example"}),
    Row("the demo: it has no key yet", 503, AWAY, "none", DEMO, retry_s=NOW,
        headers={"Host": "localhost", "Origin": "http://localhost"}),
    # What belongs to another account.
    Row("another account's call", 404, "not_found", ways=HANDSHAKES,
        path="/v1/realtime?call_id=rtc_other"),
    Row("another account's call, hung up", 404, "not_found",
        ways=[way for way in READING if way.method == "POST"], path=f"{CALLS}/rtc_other/hangup"),
    Row("another account's call, accepted", 404, "not_found", ways=ACCEPTS,
        path=f"{CALLS}/rtc_other/accept"),
    Row("another account's conversation", 404, "not_found", ways=HANDSHAKES,
        path=f"{REALTIME}&conversation_id=conv_other"),
    Row("a session of GPT-Live that nobody was given", 404, "not_found", ways=HANDSHAKES,
        path="/v1/live/sessions/sess_1/attach"),
    # Requests that are no handshake, or a wrong one.
    Row("a version of WebSocket", 426, "upgrade_required", ways=HANDSHAKES, path=REALTIME,
        headers={"Sec-WebSocket-Version": "8"}),
    Row("no key of WebSocket", 400, "bad_request", ways=HANDSHAKES, path=REALTIME,
        headers={"Sec-WebSocket-Key": "short"}),
    Row("no Connection", 400, "bad_request", ways=HANDSHAKES, path=REALTIME,
        headers={"Connection": "close"}),
    Row("a large head", 400, "headers_too_large", ways=EVERY_WAY,
        headers={f"X-{n}": "a" * 4_000 for n in range(5)}),
    Row("a large body", 413, "body_too_large", ways=EVERY_WAY[len(SESSIONS):],
        headers={"Content-Length": "70000"}),
    Row("no upgrade", 426, "upgrade_required", path=REALTIME,
        ways=[way for way in SESSIONS if not way.is_upgrade]),
    Row("another method", 405, "method_not_allowed",
        ways=[Way("PUT", REALTIME, {"api-key": "{}"}, method="PUT"),
              Way("GET of secrets", "/v1/realtime/client_secrets", {"api-key": "{}"}),
              Way("GET of calls", CALLS, {"api-key": "{}"})]),
    # Limits.
    Row("a crowded address", 429, LIMIT, "good", EVERY_WAY, scene="crowded", retry_s=SOON),
    Row("a guessing address", 429, LIMIT, "unknown", EVERY_WAY, scene="guessing", retry_s=LATER),
    Row("a guessing address, a new key", 429, LIMIT, "other", EVERY_WAY, scene="guessing",
        retry_s=LATER),
    Row("a busy key", 429, LIMIT, "busy", SESSIONS, scene="busy", retry_s=(1, 1_000)),
    Row("a session that begins again and again", 429, LIMIT, "twin",
        path=f"{REALTIME}&rs_sessid=twin", scene="again", retry_s=LATER),
    Row("a key with as many sessions as it may have", 429, "too_many_sessions", "one at a time",
        [*SESSIONS, *OFFERS, *ACCEPTS], retry_s=SOON),
    Row("an ephemeral key of a full key", 429, "too_many_sessions",
        "ek_ of a key with one session", WITH_EPHEMERAL, retry_s=SOON),
    Row("a key with as many new sessions as it may have", 429, "too_many_new_sessions",
        "one a minute", [*SESSIONS, *OFFERS, *ACCEPTS], retry_s=LATER),
    Row("a key that has spent its cap of a month", 429, "spending_limit_reached",
        "spent this month", [*SESSIONS, *OPENING], retry_s=(1, MONTH_S)),
    Row("a key that has spent its cap for ever", 429, "spending_limit_reached", "spent in all",
        [*SESSIONS, *OPENING]),
    Row("an ephemeral key of such a key", 429, "spending_limit_reached", "ek_ of a spent key",
        WITH_EPHEMERAL),
    Row("keys in URLs", 400, "key_in_url", "good", [*IN_URLS, OFFERS[-1]], scene="narrow"),
    Row("keys in URLs, wrong ones", 400, "key_in_url", "unknown", IN_URLS, scene="narrow"),
    Row("keys in URLs, beside one in a header", 400, "key_in_url", "good", OWN_KEY,
        path="?key=x", scene="narrow"),
    # Not now.
    Row("accountd was never there", 503, AWAY, "never seen", EVERY_WAY, scene="alone", retry_s=NOW),
    # A key of no form is asked for like any other, so that its refusal takes as long: once, because
    # there one key begins one session.
    Row("nobody to ask: malformed", 503, AWAY, "malformed", FEW[:1], scene="alone", retry_s=NOW),
    Row("nobody to ask: forged", 503, AWAY, "ek_, noise", FEW[:1], scene="alone", retry_s=NOW),
    Row("a grant that has lapsed", 503, AWAY, "good", IN_HEADERS, scene="paused", retry_s=NOW),
    Row("a full gateway", 503, AWAY, "good", BEGINNING, scene="full", retry_s=NOW),
    Row("a gateway that stops", 503, AWAY, "good", BEGINNING, scene="draining", retry_s=NOW),
    Row("a wrong key at a gateway that stops", 401, INVALID, "unknown", BEGINNING[:6],
        scene="draining"),
]  # fmt: skip
PAIRS: Final = [(row, way) for row in ROWS for way in row.ways]


CLOSES = [
    # A Gemini client's first message, its key, and why it is closed.
    ('{"x": 1}', "good", "found no model"),
    ('{"setup": {}}', "good", "found no model"),
    ('{"setup": {"model": "models/gemini-away"}}', "good", "xai"),
    ('{"setup": {"model": "models/gemini-live"}}', "held", "may not use the model"),
    ('{"setup": {"model": "models/gemini-elsewhere"}}', "held", "may not use the model"),
    ('{"setup": {"model": "models/gemini-live"}}', "ek_ of a model", "may not use the model"),
    ('{"setup": {"model": "models/gemini-live"}}', "one model", "may not use the model"),
    ('{"setup": {"model": "models/gemini-elsewhere"}}', "only Gemini", "may not use the provider"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Everything has been asked."""
    with refusing_world() as found:
        asyncio.run(sweep(found, ROWS))
        yield found


def test_the_table_is_large() -> None:
    """Each pair has a name of its own."""
    assert len({(row.name, way.name) for row, way in PAIRS}) == len(PAIRS) >= 1_000


def _wrong(row: Row, way: Way, answer: Answer) -> str:
    """What is wrong with the answer to a pair; empty where it is as the row says."""
    if answer.status != row.status:
        return f"{answer.status} {answer.body!r}"
    error, retry_after = answer.error, answer.headers.get("retry-after")
    expected = {"code": row.code, "type": TYPE_BY_STATUS[row.status], "message": error["message"]}
    kept = answer.headers.get("content-type"), answer.headers.get("cache-control")
    has_cors = "access-control-allow-origin" in answer.headers
    if error != expected or not error["message"] or kept != ("application/json", "no-store"):
        return f"{error} {kept}"
    if (retry_after is None) != (row.retry_s is None):
        return f"Retry-After: {retry_after}"
    if row.retry_s and not row.retry_s[0] <= int(retry_after or "") <= row.retry_s[1]:
        return f"Retry-After: {retry_after}"
    return "" if has_cors == way.may_be_a_page else f"{answer.headers}"


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_refused(world: World, row: Row) -> None:
    """With its status and code, in the form of OpenAI's errors, and a time to wait for where it
    makes sense to ask again; where pages may ask, so that they can read it.
    """
    found = {way.name: _wrong(row, way, world.answers[row.name, way.name]) for way in row.ways}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("way", [*SESSIONS, *OFFERS], ids=lambda way: way.name)
def test_keys_that_open_nothing_are_not_told_apart(world: World, way: Way) -> None:
    """The same bytes for all of them, and by every way the same words."""
    heard = {world.answers[f"key: {key}", way.name].without_date for key in INDISTINCT}
    assert len(heard) == 1
    assert heard.pop()[2] == world.answers["key: unknown", "Bearer"].body


@pytest.mark.parametrize(("message", "key", "why"), CLOSES)
async def test_a_gemini_client_is_told_in_a_close(
    world: World, message: str, key: str, why: str
) -> None:
    """Where its first message decides who serves it, it is upgraded before that is known."""
    for way in GEMINI:
        query = f"?{way.query}" if way.query else ""
        url = f"ws://{world.address('usual')}{way.path}{query}".format(world.key(key))
        headers = {name: value.format(world.key(key)) for name, value in way.headers.items()}
        async with connect(url, additional_headers=headers) as client:
            await client.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.recv(), SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert why in closed.value.rcvd.reason


async def test_a_browser_may_ask_whether_it_may_ask(world: World) -> None:
    """Its preflight has no key, and is answered where others have guessed keys."""
    place, address = new_place(), world.address("usual")
    wrong = OFFERS[0].request(world.key("unknown"), None, {})
    assert [(await ask(address, wrong, place)).status for _ in range(2)] == [401, 429]
    answer = await ask(address, f"OPTIONS {CALLS} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), place)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")


def _told(error: Any) -> tuple[int, str, str | None]:
    """What an SDK's exception has of a refusal: status, code, and ``Retry-After``."""
    response = error.response
    if isinstance(error, APIStatusError):
        return response.status_code, str(error.code), response.headers.get("retry-after")
    code = json.loads(response.body)["error"]["code"]
    return response.status_code, code, response.headers.get("Retry-After")


def test_openai_s_sdk_raises_what_was_refused(world: World) -> None:
    """For a request its own errors, for a handshake those of websockets."""

    def sdk(gateway: str, key: str) -> OpenAI:
        url = f"http://{world.address(gateway)}/v1"
        return OpenAI(api_key=world.key(key), base_url=url, max_retries=0)

    with pytest.raises(APIStatusError) as broke:
        sdk("usual", "broke").realtime.client_secrets.create()
    assert _told(broke.value) == (402, "insufficient_credits", None)
    with pytest.raises(AuthenticationError) as wrong:
        sdk("usual", "revoked").realtime.client_secrets.create()
    assert _told(wrong.value) == (401, INVALID, None)
    with pytest.raises(RateLimitError) as guessing:  # the wrong key of before was one too many
        sdk("usual", "other").realtime.calls.create(sdp=OFFER.decode())
    status, code, retry_after = _told(guessing.value)
    assert (status, code) == (429, LIMIT)
    assert 1 <= int(retry_after or "") <= LONG_S
    with pytest.raises(InternalServerError) as away:
        sdk("alone", "other").realtime.client_secrets.create()
    assert _told(away.value) == (503, AWAY, "1")
    with pytest.raises(InvalidStatus) as busy:
        sdk("alone", "busy").realtime.connect(model="gpt-realtime").enter()
    status, code, retry_after = _told(busy.value)
    assert (status, code) == (429, LIMIT)
    assert 1 <= int(retry_after or "") <= 1_000


async def test_google_s_sdk_raises_what_was_refused(world: World) -> None:
    """The error of websockets, with the same words."""
    alone = replace(world.cluster, gateways=[world.gateways["alone"]])
    with pytest.raises(InvalidStatus) as busy:
        async with google(alone, world.key("busy")).aio.live.connect(model="gemini-live"):
            pass
    status, code, retry_after = _told(busy.value)
    assert (status, code) == (429, LIMIT)
    assert 1 <= int(retry_after or "") <= 1_000


def test_nothing_was_connected_to_or_charged(world: World) -> None:
    """After all of that: no connection was accepted at any provider, no gateway has made a batch,
    accountd has applied and refused none, and no account has a row.
    """
    assert world.provider.connections == 0
    assert world.cluster.accountd is not None
    told = world.cluster.accountd.metrics()
    counted = ("rts_accountd_batches_applied_total", "rts_accountd_rejected_total")
    assert not any(value for name, value in told.items() if name.startswith(counted))
    for found in (
        world.metrics["narrow"],
        *(world.gateways[x].metrics() for x in ("usual", "unsigned", "alone")),
    ):
        assert found["rts_gateway_messages_sent_total"] == found["rts_gateway_outbox_batches"] == 0
        assert found["rts_gateway_sessions"] == 0
    accounts = [row["id"] for row in world.cluster.ask("account.list", limit=None)["accounts"]]
    assert {"good", "broke", "held"} < set(accounts)
    assert not any(world.cluster.usage_rows(account) for account in accounts)
    for gateway in world.gateways.values():
        assert "session opened" not in gateway.log.read_text()
        assert "Traceback" not in gateway.log.read_text()


async def test_the_same_ways_lead_to_a_provider_with_a_good_key(world: World) -> None:
    """One connection for each, so what is counted above is what there would be."""
    before, address = world.provider.connections, world.address("usual")
    opened = [await Connection.open(address) for _ in HANDSHAKES]
    for way, connection in zip(HANDSHAKES, opened, strict=True):
        request = way.request(world.key("good"), None, {})
        setup = masked(0x81, b'{"setup": {"model": "models/gemini-live"}}')
        answer = await connection.begin(request + (setup if way in GEMINI else b""))
        assert (way.name, answer.status) == (way.name, 101)
    await asyncio.to_thread(
        eventually, lambda: world.provider.connections == before + len(HANDSHAKES)
    )
    for connection in opened:
        connection.close()
