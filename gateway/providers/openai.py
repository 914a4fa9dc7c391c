"""OpenAI Realtime (GA): where it is, how it is addressed, and where it reports usage.

Sources: the ``openai`` SDK's types (``RealtimeServerEvent``, ``RealtimeResponseUsage``) and
developers.openai.com/docs/guides/realtime-costs.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from websockets.datastructures import Headers

from gateway.metering import (
    CancelRefused,
    Finished,
    Meaning,
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
# The error that answers a cancel when no response is in progress.
_NOTHING_TO_CANCEL: Final = "response_cancel_not_active"
# PCM16 at 24 kHz in base64 is 64,000 bytes a second; user audio is one token per 100 ms, assistant
# audio one per 50 ms (developers.openai.com/api/docs/guides/realtime-costs).
_AUDIO_BYTES_PER_S: Final = 64_000
_INPUT_TOKENS_PER_S: Final = 10
_OUTPUT_TOKENS_PER_S: Final = 20


class OpenAI:
    """The adapter for OpenAI Realtime GA."""

    name: Final = "openai"
    metered_types: Final = frozenset({b"response.done"})
    watched_types: Final = frozenset(
        {b"response.done", b"response.created", b"session.created", b"session.updated", b"error"}
    )
    audio_types: Final = frozenset({b"response.output_audio.delta", b"response.audio.delta"})

    def __init__(self, *, base_url: str, api_key: str) -> None:
        """``base_url`` is ``ws(s)://HOST/PREFIX``, to which ``/realtime`` is appended."""
        self._base_url = base_url
        self._api_key = api_key

    def url(self, query: str) -> str:
        """Where to connect. ``query`` is the client's, without what was meant for the gateway."""
        return f"{self._base_url}/realtime" + (f"?{query}" if query else "")

    def headers(self, client_headers: Headers) -> dict[str, str]:
        """The request headers for the provider."""
        forwarded = {
            name: value
            for name in FORWARDED_HEADERS
            for value in client_headers.get_all(name)[:1]  # a repeated header is no reason to fail
        }
        return {"Authorization": f"Bearer {self._api_key}", **forwarded}

    def read(self, event: Mapping[str, Any]) -> Meaning | None:
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
            case "error":
                error = event.get("error")
                code = error.get("code") if isinstance(error, dict) else None
                return CancelRefused() if code == _NOTHING_TO_CANCEL else None
        return None

    def estimate(self, *, audio_bytes_in: int, audio_bytes_out: int) -> Usage:
        """Tokens by the length of the audio, taken for PCM16 at 24 kHz; text counts nothing."""
        tokens_in = audio_bytes_in * _INPUT_TOKENS_PER_S // _AUDIO_BYTES_PER_S
        tokens_out = audio_bytes_out * _OUTPUT_TOKENS_PER_S // _AUDIO_BYTES_PER_S
        tokens_in = min(tokens_in, TOKENS_PER_RESPONSE_MAX // 2)
        tokens_out = min(tokens_out, TOKENS_PER_RESPONSE_MAX // 2)
        return Usage(
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            total_tokens=tokens_in + tokens_out,
            input_audio_tokens=tokens_in,
            output_audio_tokens=tokens_out,
        )

    def cancel_events(self, in_flight: Collection[str]) -> list[bytes]:
        """What ends the responses in flight; without any, an event that asks for an answer.

        A response is named, because one outside the conversation is cancelled only by its name.
        Without a response the provider answers with an error, after everything that the client
        had asked for before.
        """
        cancels: list[dict[str, str]] = [
            {"type": "response.cancel", "response_id": response_id}
            for response_id in sorted(in_flight)
            if response_id
        ]
        return [_compact(cancel) for cancel in cancels or [{"type": "response.cancel"}]]

    def error_event(self, *, code: str, error_type: str, message: str) -> bytes:
        """The JSON text of an ``error`` event that the gateway itself sends to a client."""
        error = {"type": error_type, "code": code, "message": message, "param": None}
        event = {"type": "error", "event_id": f"event_rts_{code}", "error": error}
        return _compact(event)


def _compact(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


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
