"""OpenAI Realtime (GA): where it is, how it is addressed, and where it reports usage.

Sources: the ``openai`` SDK's types (``RealtimeServerEvent``, ``RealtimeResponseUsage``) and
developers.openai.com/docs/guides/realtime-costs.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway.metering import (
    Finished,
    ModelNamed,
    Started,
    UnreadableUsageError,
    clean_text,
    read_count,
    read_map,
)
from shared.wire import TOKENS_PER_RESPONSE_MAX, Usage

# Headers of the client that OpenAI should see. Never OpenAI-Beta (since May 2026 it closes the
# connection), and never the client's organization or project: the provider key is ours.
FORWARDED_HEADERS: Final = ("OpenAI-Safety-Identifier",)
CANCEL_RESPONSE: Final = b'{"type":"response.cancel"}'


class OpenAI:
    """The adapter for OpenAI Realtime GA."""

    name: Final = "openai"
    metered_types: Final = frozenset({b"response.done"})
    watched_types: Final = frozenset(
        {b"response.done", b"response.created", b"session.created", b"session.updated"}
    )

    def __init__(self, *, base_url: str, api_key: str) -> None:
        """``base_url`` is ``ws(s)://HOST/PREFIX``, to which ``/realtime`` is appended."""
        self._base_url = base_url
        self._api_key = api_key

    def url(self, query: str) -> str:
        """Where to connect. ``query`` is the client's, without what was meant for the gateway."""
        return f"{self._base_url}/realtime" + (f"?{query}" if query else "")

    def headers(self, client_headers: Mapping[str, str]) -> dict[str, str]:
        """The request headers for the provider."""
        forwarded = {n: client_headers[n] for n in FORWARDED_HEADERS if n in client_headers}
        return {"Authorization": f"Bearer {self._api_key}", **forwarded}

    def read(self, event: Mapping[str, Any]) -> Started | ModelNamed | Finished | None:
        """The meaning of one event; raises ``UnreadableUsageError``."""
        match event.get("type"):
            case "response.done":
                return _read_done(event)
            case "response.created":
                response = event.get("response")
                return Started(_response_id(response))
            case "session.created" | "session.updated":
                session = event.get("session")
                model = clean_text(session.get("model")) if isinstance(session, dict) else ""
                return ModelNamed(model) if model else None
        return None

    def error_event(self, *, code: str, error_type: str, message: str) -> bytes:
        """The JSON text of an ``error`` event that the gateway itself sends to a client."""
        error = {"type": error_type, "code": code, "message": message, "param": None}
        event = {"type": "error", "event_id": f"event_rts_{code}", "error": error}
        return json.dumps(event, separators=(",", ":")).encode()


def model_query(model: str) -> str:
    """The query that asks for ``model``."""
    return f"model={quote(model, safe='')}"


def _response_id(response: object) -> str:
    return clean_text(response.get("id")) if isinstance(response, dict) else ""


def _read_done(event: Mapping[str, Any]) -> Finished:
    """``response.done`` of any status: cancelled and incomplete ones are billed like others."""
    response = event.get("response")
    response_id = _response_id(response)
    usage = response.get("usage") if isinstance(response, dict) else None
    try:
        if response is not None and not isinstance(response, dict):
            raise UnreadableUsageError("response is not an object")
        if usage is not None and not isinstance(usage, dict):
            raise UnreadableUsageError(f"usage: found a {type(usage).__name__}, expected an object")
        return Finished(response_id, _read_usage(usage) if usage else None)
    except UnreadableUsageError as exc:
        raise UnreadableUsageError(str(exc), response_id=response_id, raw=usage) from exc


def _read_usage(usage: Mapping[str, Any]) -> Usage:
    """Every field is optional in the SDK's types; what is absent counts as zero.

    Input plus output is charged. Only where one of them is absent the reported total fills in.
    """
    reported = read_count(usage, "total_tokens")
    tokens_in, tokens_out = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")
    if reported is not None and tokens_in is None and tokens_out is not None:
        tokens_in = _rest(reported, tokens_out)
    if reported is not None and tokens_out is None and tokens_in is not None:
        tokens_out = _rest(reported, tokens_in)
    if tokens_in is None and tokens_out is None:
        total = reported or 0
    else:
        total = (tokens_in or 0) + (tokens_out or 0)
    if total > TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(f"{total} tokens, expected at most {TOKENS_PER_RESPONSE_MAX}")
    into = read_map(usage, "input_token_details")
    out = read_map(usage, "output_token_details")
    return Usage(
        input_tokens=tokens_in or 0,
        output_tokens=tokens_out or 0,
        total_tokens=total,
        input_text_tokens=read_count(into, "text_tokens") or 0,
        input_audio_tokens=read_count(into, "audio_tokens") or 0,
        input_image_tokens=read_count(into, "image_tokens") or 0,
        input_cached_tokens=read_count(into, "cached_tokens") or 0,
        output_text_tokens=read_count(out, "text_tokens") or 0,
        output_audio_tokens=read_count(out, "audio_tokens") or 0,
        output_thought_tokens=read_count(out, "reasoning_tokens") or 0,
    )


def _rest(total: int, part: int) -> int:
    if total < part:
        raise UnreadableUsageError(f"total_tokens {total} is less than its part {part}")
    return total - part
