"""Requests and replies that are none, and the words that say why."""

from typing import Any

import msgpack
import pytest

from shared.fields import VERSION, RejectReason, WireError
from shared.requests import (
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)


def packed(**fields: Any) -> bytes:
    """A payload of our version."""
    return bytes(msgpack.packb({"v": VERSION, **fields}))


REQUESTS = [
    (packed(), "method: found nothing"),
    (packed(method=5), "method: found 5"),
    (packed(method="m", params=[]), "params: found .*expected a map"),
    (packed(method="m", params={b"k": 1}), "params: found .*expected a map"),
]


@pytest.mark.parametrize(("payload", "message"), REQUESTS)
def test_what_is_no_request_is_refused(payload: bytes, message: str) -> None:
    """A method is a text, and its parameters have names."""
    with pytest.raises(WireError, match=message) as caught:
        decode_request(payload)
    assert caught.value.reason is RejectReason.BAD_FIELD


def test_a_request_needs_no_parameters() -> None:
    """Absent is empty."""
    assert decode_request(packed(method="m")).params == {}


REPLIES = [
    (packed(error="no"), "error: found a str, expected a map"),
    (packed(error={"code": "c"}), "message: found nothing"),
    (packed(error={"code": 5, "message": "m"}), "code: found 5"),
    (packed(error={"code": "c", "message": "m" * 4097}), "at most 4096 characters"),
]


@pytest.mark.parametrize(("payload", "message"), REPLIES)
def test_what_is_no_reply_is_refused(payload: bytes, message: str) -> None:
    """A gateway that cannot read an answer asks again; it takes no error for a result."""
    with pytest.raises(WireError, match=message) as caught:
        decode_reply(payload)
    assert caught.value.reason is RejectReason.BAD_FIELD


def test_a_reply_is_a_result_or_an_error() -> None:
    """A result may be nothing at all."""
    assert decode_reply(packed()).result is None
    assert decode_reply(packed(result=[1])).result == [1]
    assert decode_reply(packed(error={"code": "c", "message": "m" * 4096})).error == (
        "c", "m" * 4096
    )  # fmt: skip


def test_requests_and_replies_survive_the_wire() -> None:
    """Both directions of RPC."""
    request = Request("account.show", {"account_id": "a"})
    assert decode_request(encode_request(request)) == request
    for reply in (Reply(result={"a": [1, None]}), Reply(error=("not_found", "no account"))):
        assert decode_reply(encode_reply(reply)) == reply


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", RejectReason.UNREADABLE),
        (b"\xc1", RejectReason.UNREADABLE),
        (msgpack.packb([]), RejectReason.UNREADABLE),
        (msgpack.packb({}), RejectReason.UNKNOWN_VERSION),
        (msgpack.packb({"v": VERSION + 1, "method": "m"}), RejectReason.UNKNOWN_VERSION),
        (msgpack.packb({"v": True, "method": "m"}), RejectReason.UNKNOWN_VERSION),
    ],
)
def test_another_version_is_no_request(payload: bytes, reason: RejectReason) -> None:
    """Nor is what is no map."""
    with pytest.raises(WireError) as caught:
        decode_request(payload)
    assert caught.value.reason is reason


@pytest.mark.parametrize("seconds", [None, 0, 30])
def test_an_error_may_say_when_to_ask_again(seconds: int | None) -> None:
    """And most do not."""
    reply = Reply(error=("too_many_sessions", "no"), retry_after_s=seconds)
    assert decode_reply(encode_reply(reply)) == reply
