"""Batches as gateways send them, in a few words."""

from collections.abc import Iterable
from typing import Any

import zmq

from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage

NOON_MS = 1_790_251_200_000  # 2026-09-24T12:00:00Z


def batch(tokens: int, **changes: Any) -> UsageBatch:
    """One response of ``acct``, metered at noon."""
    fields: dict[str, Any] = {
        "account_id": "acct", "session_id": "s", "provider": "openai", "model": "gpt-realtime",
        "kind": "response", "responses": 1, "response_ids": ("resp_1",),
        "usage": Usage(tokens - 1, 1, tokens), "metered_at_ms": NOON_MS,
    }  # fmt: skip
    return UsageBatch(**{**fields, **changes})


def send(
    push: "zmq.Socket[bytes]", batches: Iterable[UsageBatch], *, producer: bytes, first: int = 1
) -> None:
    """Send them under consecutive numbers of a producer."""
    for sequence, one in enumerate(batches, first):
        push.send_multipart(encode_envelope(producer, sequence, encode_usage(one)))
