"""Plain answers: what all of them have, and what each kind adds."""

import json
from collections.abc import AsyncGenerator

import pytest
from websockets.http11 import Response

from gateway.http.answers import PRIVATE, download, json_response, not_modified, response

ANSWERS = [
    # the answer; its status and phrase, its body, its own headers
    (response(200, b"hello", "text/plain"), (200, "OK"), b"hello",
     {"Content-Type": "text/plain", "Content-Length": "5"}),
    (response(404, b"", "text/plain", {"ETag": "x"}), (404, "Not Found"), b"",
     {"Content-Type": "text/plain", "Content-Length": "0", "ETag": "x"}),
    (json_response(429, {"a": "ä"}, PRIVATE), (429, "Too Many Requests"), b'{"a": "\\u00e4"}',
     {"Content-Type": "application/json", "Content-Length": "15", "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff"}),
    (not_modified({"ETag": "x"}), (304, "Not Modified"), b"", {"ETag": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "body", "headers"), ANSWERS)
def test_an_answer_describes_its_body(
    answer: Response, status: tuple[int, str], body: bytes, headers: dict[str, str]
) -> None:
    """Its length is that in bytes; 304 has none (RFC 9110 section 15.4.5)."""
    assert (answer.status_code, answer.reason_phrase) == status
    assert answer.body == body
    found = dict(answer.headers.raw_items())
    assert found.pop("Date").endswith(" GMT")
    assert found.pop("Connection") == "close"
    assert found == headers


async def test_a_download_has_no_length() -> None:
    """Its pieces are produced while it is sent."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    answer = download(pieces(), "text/csv", {"X": "y"})
    assert {"Content-Type": "text/csv", "X": "y", "Connection": "close"}.items() <= dict(
        answer.headers
    ).items()
    assert "Content-Length" not in answer.headers
    assert b"".join([piece async for piece in answer.pieces]) == b"ab"


def test_text_that_is_not_ascii_survives_json() -> None:
    """Names of accounts are in any script."""
    assert json.loads(json_response(200, {"name": "Zoë €"}).body) == {"name": "Zoë €"}
