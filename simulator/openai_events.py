"""The events of OpenAI Realtime GA as JSON objects. Pure.

Names and shapes are those of the ``openai`` SDK's ``RealtimeServerEvent``, against which the tests
validate every event that the simulator sends.
"""

import base64
import json
import secrets
import time
from typing import Any, Final

Event = dict[str, Any]

SESSION_S: Final = 3_600
# Transcript and text deltas are padded to one size, so that the length of an encrypted message does
# not reveal its text.
_PADDED_BYTES: Final = 251
# As long as the provider's default instructions, so that session.created has a realistic size.
INSTRUCTIONS: Final = (
    "This is the simulator that stands in for the provider. It plays back what it hears, writes one"
    " sentence when it is asked for text, and calls a tool when the user names it. It understands"
    " nothing: no speech is recognised and no question is answered. It exists so that everything"
    " around it, sessions, audio, interruptions, usage and its price, can be tried and tested"
    " without a provider, at the pace and with the sizes that a real one has."
)


def make_id(prefix: str) -> str:
    """An id like the provider's."""
    return f"{prefix}_{secrets.token_hex(11)}"


def event(kind: str, **fields: Any) -> Event:
    """An event; its type comes first on the wire."""
    return {"type": kind, "event_id": make_id("event"), **fields}


def encode(message: Event) -> str:
    """The event as compact JSON, as it is sent."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def default_session(session_id: str, model: str) -> Event:
    """The session as the provider opens it."""
    pcm = {"type": "audio/pcm", "rate": 24_000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": int(time.time()) + SESSION_S,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "idle_timeout_ms": None,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }


def transcription_session(session_id: str) -> Event:
    """The session object of a session that only transcribes: a transcriber, and no model."""
    whole = default_session(session_id, "")
    heard = whole["audio"]["input"]
    for name in ("create_response", "interrupt_response", "idle_timeout_ms"):
        del heard["turn_detection"][name]
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "expires_at": whole["expires_at"],
        "audio": {"input": heard},
        "include": None,
    }


def error(message: str, *, code: str, param: str | None, client_event_id: str | None) -> Event:
    """An error event after which the session goes on."""
    details = {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": client_event_id,
    }
    return event("error", error=details)


def response(
    session: Event,
    response_id: str,
    conversation_id: str,
    *,
    status: str,
    details: Event | None,
    output: list[Event],
    usage: Event | None,
    modalities: list[str],
    metadata: Any,
) -> Event:
    """The response object of response.created and response.done."""
    out = session["audio"]["output"]
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "status_details": details,
        "output": output,
        "conversation_id": conversation_id,
        "output_modalities": modalities,
        "max_output_tokens": session["max_output_tokens"],
        "audio": {"output": {"format": out["format"], "voice": out["voice"]}},
        "usage": usage,
        "metadata": metadata,
    }


def padded_delta(kind: str, delta: str, **place: Any) -> Event:
    """A text delta, padded with ``obfuscation`` to one size on the wire."""
    message = event(kind, **place, delta=delta, obfuscation="")
    missing = _PADDED_BYTES - len(encode(message).encode())
    message["obfuscation"] = secrets.token_hex(max(missing, 0) // 2 + 1)[: max(missing, 0)]
    return message


def audio_delta(pcm: bytes, **place: Any) -> Event:
    """A piece of the spoken reply."""
    data = base64.b64encode(pcm).decode()
    return event("response.output_audio.delta", **place, delta=data)


def rate_limits() -> Event:
    """The rate_limits.updated event that follows a response. Its token counts are no usage."""
    limits = [
        {"name": "tokens", "limit": 15_000_000, "remaining": 14_998_000, "reset_seconds": 0.002}
    ]
    return event("rate_limits.updated", rate_limits=limits)
