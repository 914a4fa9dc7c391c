"""Where a key may be in a request."""

import pytest
from websockets.datastructures import Headers

from gateway.door.client_key import find_key, hash_key
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
def test_a_malformed_key_is_no_key(key: str) -> None:
    """What cannot be one of ours is refused without asking accountd."""
    assert hash_key(key) is None
    assert hash_key(KEY) is not None
