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

from gateway.endpoints.client_secrets import TRANSLATIONS, KeyRequest, answer, read_key_request
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
