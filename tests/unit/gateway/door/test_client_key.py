"""Where a key may be in a request, and which pages and hosts are the gateway's own."""

import hashlib
import re

import pytest
from websockets.datastructures import Headers

from gateway.door.client_key import (
    KEY_PARAMETERS,
    find_key,
    has_key_in_query,
    hash_key,
    is_own_host,
    is_same_origin,
)
from gateway.door.queries import split_target

KEY = "rslive_v1_" + "0123456789abcdef" * 3


KEY_PLACES = [
    ({"Authorization": f"Bearer {KEY}"}, ""),
    ({"authorization": f"token  {KEY} "}, ""),
    ({"api-key": KEY}, ""),
    ({"X-Goog-Api-Key": KEY}, ""),
    ({"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{KEY}"}, ""),
    ({"Sec-WebSocket-Protocol": f"xai-client-secret.{KEY}"}, ""),
    ({}, f"?key={KEY}"),
    ({}, f"?access_token={KEY}"),
    ({}, f"?api-key={KEY}"),
    ({}, f"?rs_key={KEY}"),
    ({"Authorization": "Basic dTpw", "api-key": ""}, f"?rs_key={KEY}"),
]


@pytest.mark.parametrize(("headers", "query"), KEY_PLACES)
def test_finds_the_key_in_every_place(headers: dict[str, str], query: str) -> None:
    """Each SDK's way to send a key works."""
    _, parameters, _ = split_target(f"/v1/realtime{query}")
    assert find_key(Headers(headers), parameters) == KEY


def test_the_authorization_header_comes_first() -> None:
    """With keys in several places the order is fixed."""
    headers = Headers({"Authorization": "Bearer first", "api-key": "second"})
    assert find_key(headers, [("rs_key", "third")]) == "first"
    assert find_key(Headers(), []) is None
    ephemeral = Headers({"Authorization": f"Token auth_tokens/{KEY}"})
    assert find_key(ephemeral, []) == KEY
    assert find_key(Headers(), [("access_token", f"auth_tokens/{KEY}")]) == KEY


@pytest.mark.parametrize("key", ["", "sk-proj", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n"])
def test_a_malformed_key_has_a_hash_that_no_key_has(key: str) -> None:
    """It is asked for like an unknown key, which takes as long, and accountd never finds it."""
    assert re.fullmatch("[0-9a-f]{64}", hash_key(key))
    assert hash_key(key) != hashlib.sha256(key.encode()).hexdigest()
    assert hash_key(KEY) == hashlib.sha256(KEY.encode()).hexdigest()


def test_a_key_of_any_characters_has_a_hash() -> None:
    """A header may hold what is no text."""
    assert hash_key("\udcff") != hash_key("\xff")


def test_a_key_in_the_query_is_noticed() -> None:
    """Under each of its names; an empty one is none."""
    assert all(has_key_in_query([(name, "k")]) for name in KEY_PARAMETERS)
    assert not has_key_in_query([("key", ""), ("model", "k"), ("Key", "k")])


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
