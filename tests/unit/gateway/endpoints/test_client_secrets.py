"""What may be asked for with an ephemeral key, and what is answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import (
    ClientSecretCreateResponse,
    RealtimeTranslationClientSecretCreateResponse,
)
from websockets.datastructures import Headers

from gateway.door.client_key import is_own_host, is_same_origin
from gateway.endpoints.client_secrets import TRANSLATIONS, KeyRequest, answer, read_key_request
from gateway.endpoints.token_bucket import TokenBucket
from gateway.http.refusals import Refusal

WISHES: list[tuple[Any, KeyRequest]] = [
    ({}, KeyRequest(600, {"type": "realtime"})),
    ({"session": None, "expires_after": None}, KeyRequest(600, {"type": "realtime"})),
    ({"expires_after": {"seconds": 10}}, KeyRequest(10, {"type": "realtime"})),
    (
        {"expires_after": {"anchor": "created_at", "seconds": 7200}},
        KeyRequest(7200, {"type": "realtime"}),
    ),
    (
        {"session": {"type": "realtime", "model": "gpt-realtime", "audio": {"x": [1.5]}}},
        KeyRequest(
            600, {"type": "realtime", "model": "gpt-realtime", "audio": {"x": [1.5]}},
            model="gpt-realtime",
        ),
    ),
    ({"session": {"type": "transcription"}}, KeyRequest(600, {"type": "transcription"})),
    (
        {"rs_origin": "https://app.example.org:8443", "anything": "else"},
        KeyRequest(600, {"type": "realtime"}, origin="https://app.example.org:8443"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "wish"), WISHES)
def test_what_is_asked_for_is_read(body: Any, wish: KeyRequest) -> None:
    """Everything is optional."""
    assert read_key_request(json.dumps(body).encode()) == wish


def test_a_translation_names_its_model() -> None:
    """Its type is what the path says, as the SDK names none."""
    session = {"model": "gpt-realtime-translate", "audio": {"output": {"language": "fr"}}}
    found = read_key_request(json.dumps({"session": session}).encode(), types=TRANSLATIONS)
    assert isinstance(found, KeyRequest)
    assert found.configuration == {"type": "translation", "audio": session["audio"]}
    assert found.model == "gpt-realtime-translate"
    shown = answer(found, value="ek_x", expires_at=1_800_000_000, session_id="sess_1")
    parsed = RealtimeTranslationClientSecretCreateResponse.model_validate(shown, strict=True)
    assert (parsed.session.type, parsed.session.model) == ("translation", found.model)
    for refused in ({}, {"model": "m", "type": "realtime"}):
        body = json.dumps({"session": refused}).encode()
        assert isinstance(read_key_request(body, types=TRANSLATIONS), Refusal)
    assert isinstance(
        read_key_request(b'{"session": {"type": "translation", "model": "m"}}'), Refusal
    )


def test_nesting_as_deep_as_tools_need_it_is_read() -> None:
    """And no deeper: see the refusals."""
    body = b'{"session": {"tools": %b%b}}' % (b"[" * 62, b"]" * 62)
    assert isinstance(read_key_request(body), KeyRequest)


@pytest.mark.parametrize(
    ("session", "configuration"),
    [
        ({}, None),
        ({"type": "realtime", "model": "gpt-realtime"}, None),
        ({"type": "transcription"}, {"type": "transcription"}),
        ({"voice": "marin", "model": "gpt-realtime"}, {"type": "realtime", "voice": "marin"}),
    ],
)
def test_a_session_begins_as_was_asked_for(session: Any, configuration: Any) -> None:
    """Where nothing was but a model and the usual type, it begins as any other."""
    wish = read_key_request(json.dumps({"session": session}).encode())
    assert isinstance(wish, KeyRequest)
    assert wish.configuration == configuration


def test_an_empty_body_asks_for_the_defaults() -> None:
    """As curl without --data sends it."""
    assert read_key_request(b"") == KeyRequest(600, {"type": "realtime"})


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"nothing", b"\xff", b"[" * 60_000,
        b'{"session": {"tools": %b%b}}' % (b"[" * 63, b"]" * 63),
        b'{"session": []}', b'{"session": {"type": 1}}',
        b'{"session": {"type": "live"}}', b'{"session": {"model": ""}}',
        b'{"session": {"model": "a\\nb"}}', b'{"session": {"model": 5}}',
        b'{"session": {"speed": NaN}}', b'{"session": {"speed": 1e999}}',
        b'{"expires_after": 600}', b'{"expires_after": {"anchor": "now"}}',
        b'{"expires_after": {"seconds": 9}}', b'{"expires_after": {"seconds": 7201}}',
        b'{"expires_after": {"seconds": 60.0}}', b'{"expires_after": {"seconds": true}}',
        b'{"expires_after": {"seconds": "60"}}',
        b'{"expires_after": {"seconds": %b}}' % (b"9" * 9_000),
        b'{"rs_origin": "app.example.org"}', b'{"rs_origin": "https://a.org/path"}',
        b'{"session": {"instructions": "\\ud800"}}', b'{"rs_origin": 1}', b'{"rs_origin": "null"}',
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(body: bytes) -> None:
    """400 with what was expected, whatever the body is."""
    found = read_key_request(body)
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (400, "bad_request")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing raises."""
    assert isinstance(read_key_request(body), KeyRequest | Refusal)


def test_the_demo_gives_less_time() -> None:
    """And asks for no more by default."""
    assert isinstance(
        read_key_request(b'{"expires_after": {"seconds": 601}}', lifetime_s_max=600), Refusal
    )
    short = read_key_request(b"", lifetime_s_max=60)
    assert isinstance(short, KeyRequest)
    assert short.lifetime_s == 60


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_the_answer_is_of_the_sdk_s_type(kind: str) -> None:
    """The official type takes it, with what the session was asked to be."""
    wish = read_key_request(json.dumps({"session": {"type": kind, "id": "theirs"}}).encode())
    assert isinstance(wish, KeyRequest)
    shown = answer(wish, value="ek_x", expires_at=1_800_000_000, session_id="sess_1")
    parsed = ClientSecretCreateResponse.model_validate(shown, strict=True)
    assert (parsed.value, parsed.expires_at) == ("ek_x", 1_800_000_000)
    assert (parsed.session.type, parsed.session.id) == (kind, "sess_1")


ORIGINS = [
    ({"Host": "a.org:8080", "Origin": "http://a.org:8080"}, True),
    ({"Host": "a.org", "Origin": "https://a.org", "Sec-Fetch-Site": "same-origin"}, True),
    ({"Host": "a.org", "Origin": "https://a.org", "Sec-Fetch-Site": "cross-site"}, False),
    ({"Host": "a.org", "Origin": "https://a.org", "Sec-Fetch-Site": "none"}, False),
    ({"Host": "a.org:8080", "Origin": "http://a.org:8081"}, False),
    ({"Host": "a.org", "Origin": "null"}, False),
    ({"Host": "a.org", "Sec-Fetch-Site": "same-origin"}, False),
    ({"Origin": "http://"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("headers", "is_own"), ORIGINS)
def test_only_a_page_of_this_gateway_is_of_the_same_origin(
    headers: dict[str, str], is_own: bool
) -> None:
    """What says nothing is no page."""
    assert is_same_origin(Headers(headers)) is is_own


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True), ("LOCALHOST:8080", True), ("demo.localhost", True),
        ("127.0.0.1:8443", True), ("[::1]:8080", True), ("192.0.2.7", True),
        ("demo.example.org", True), ("Demo.Example.org:443", True),
        ("evil.example.org", False), ("demo.example.org.evil", False), ("127.0.0.1.evil", False),
        ("localhost.evil", False), ("", False), ("[::1", False), ("a@localhost.evil", False),
        ("a@localhost", False), ("evil:80@127.0.0.1", False), ("evil\\@localhost", False),
        ("localhost.", True), ("demo.example.org.:80", True), ("[127.0.0.1]", True),
    ],
)  # fmt: skip
def test_a_name_that_leads_here_is_not_ours_for_that(host: str, is_own: bool) -> None:
    """Only those are that nobody else can give to this computer, or that the operator named."""
    assert is_own_host(host, frozenset({"demo.example.org"})) is is_own


@given(st.lists(st.floats(0, 10), max_size=60))
def test_a_pace_is_kept(pauses: list[float]) -> None:
    """In no span of time are more taken than the burst and one for every second of it."""
    pace, now, taken = TokenBucket(burst=5, seconds=1.0), 100.0, list[float]()
    for pause in pauses:
        now += pause
        wait_s = pace.take(now)
        if not wait_s:
            taken.append(now)
        else:
            assert 0 < wait_s <= 1
            assert TokenBucket(burst=5, seconds=1.0).take(now) == 0
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], start=first):
            assert last - first + 1 <= 5 + (end - begin) + 1e-6


def test_a_pace_says_when_it_has_one_again() -> None:
    """Nothing is taken meanwhile; then one is."""
    pace = TokenBucket(burst=2, seconds=4.0)
    assert [pace.take(0.0) for _ in range(3)] == [0, 0, 4.0]
    assert pace.take(3.0) == 1.0
    assert pace.take(4.0) == 0
    assert pace.take(4.0) == 4.0
    assert [pace.take(100.0) for _ in range(3)] == [0, 0, 4.0]
