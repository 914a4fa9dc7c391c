"""Requests to accountd and its replies, as values and as bytes. Pure.

They travel over DEALER and ROUTER in msgpack maps. Decoding never raises anything but
``WireError``, whatever the bytes are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgpack

from shared.fields import (
    VERSION,
    RejectReason,
    WireError,
    integer_field,
    shown,
    text_field,
    unpack_map,
)

RETRY_AFTER_S_MAX: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Request:
    """One RPC call: ``method`` and its named parameters."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a ``Request``: a ``result``, or the ``error`` (code, message); with the seconds
    after which to ask again, where that may help. ``warning``: it was done, and an operator should
    know.
    """

    result: Any = None
    error: tuple[str, str] | None = None
    retry_after_s: int | None = None
    warning: str | None = None


def encode_request(request: Request) -> bytes:
    """The payload for ``request``."""
    body = {"v": VERSION, "method": request.method, "params": dict(request.params)}
    packed = msgpack.packb(body)
    assert isinstance(packed, bytes)
    return packed


def decode_request(payload: bytes) -> Request:
    """Read a request; raises ``WireError``."""
    body = unpack_map(payload)
    params = body.get("params", {})
    if not isinstance(params, dict) or not all(isinstance(k, str) for k in params):
        raise WireError(RejectReason.BAD_FIELD, f"params: found {shown(params)}, expected a map")
    return Request(text_field(body, "method"), params)


def encode_reply(reply: Reply) -> bytes:
    """The payload for ``reply``."""
    body: dict[str, Any] = {"v": VERSION}
    if reply.error is not None:
        body["error"] = {"code": reply.error[0], "message": reply.error[1]}
        if reply.retry_after_s is not None:
            body["error"]["retry_after_s"] = reply.retry_after_s
    else:
        body["result"] = reply.result
        if reply.warning is not None:
            body["warning"] = reply.warning
    packed = msgpack.packb(body)
    assert isinstance(packed, bytes)
    return packed


def decode_reply(payload: bytes) -> Reply:
    """Read a reply; raises ``WireError``."""
    body = unpack_map(payload)
    error = body.get("error")
    if error is None:
        warning = None if body.get("warning") is None else text_field(body, "warning")
        return Reply(result=body.get("result"), warning=warning)
    if not isinstance(error, dict):
        raise WireError(RejectReason.BAD_FIELD, f"error: found {shown(error)}, expected a map")
    named = text_field(error, "code"), text_field(error, "message", chars_max=4096)
    if error.get("retry_after_s") is None:
        return Reply(error=named)
    retry_after_s = integer_field(error, "retry_after_s", 0, RETRY_AFTER_S_MAX)
    return Reply(error=named, retry_after_s=retry_after_s)


def warned(payload: bytes, warning: str | None) -> bytes:
    """The reply ``payload`` with a ``warning``, unless it is one of an error."""
    if warning is None:
        return payload
    return encode_reply(replace(decode_reply(payload), warning=warning))
