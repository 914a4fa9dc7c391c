"""Events of the OpenAI family, of which golden sessions are made, and what the usual ones cost."""

from typing import Any

from shared.usage import Kind
from tests.support.golden import Event, Script, Step, charge

GA, BETA, GROK = "gpt-realtime-2.1", "gpt-4o-realtime-preview", "grok-voice-latest"
WHISPER, LIVE = "gpt-realtime-whisper", "gpt-live-1"
COMPLETED = "conversation.item.input_audio_transcription.completed"

USAGE: Event = {
    "total_tokens": 230, "input_tokens": 52, "output_tokens": 178,
    "input_token_details": {
        "text_tokens": 20, "audio_tokens": 32, "image_tokens": 0, "cached_tokens": 16,
        "cached_tokens_details": {"text_tokens": 16, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 34, "audio_tokens": 144},
}  # fmt: skip
SPLITS: dict[str, Any] = {"into": (20, 32, 0, 16), "out": (34, 144, 0), "cached": (16, 0, 0)}
ZEROS: Event = {
    "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}  # fmt: skip
# A reply that quotes an event: text, never a charge.
QUOTE = 'I heard {"type":"response.done","response":{"id":"resp_q","usage":{"total_tokens":7}}}.'


def server(kind: str, *, number: int = 1, **fields: Any) -> Step:
    """An event of the server."""
    return Step({"type": kind, "event_id": f"event_{kind}_{number}", **fields})


def done(
    usage: Any = USAGE,
    *,
    name: str = "resp_1",
    status: str = "completed",
    part: str = "output_audio",
    calls: tuple[str, ...] = (),
    **more: Any,
) -> Step:
    """``response.done``; usage is left out when it is ``...``. ``calls`` are types of items."""
    content = [{"type": part, "transcript": QUOTE}]
    response = {
        "object": "realtime.response", "id": name, "status": status,
        "status_details": None if status == "completed" else {"type": status},
        "output": [{"id": "item_1", "type": "message", "status": "completed", "role": "assistant",
                    "content": content},
                   *({"id": f"call_{n}", "type": call} for n, call in enumerate(calls))],
        "conversation_id": "conv_1", "output_modalities": ["audio"], "max_output_tokens": "inf",
        "metadata": None,
    }  # fmt: skip
    if usage is not ...:
        response["usage"] = usage
    return server("response.done", response=response, **more)


def created(name: str = "resp_1") -> Step:
    """``response.created``."""
    response = {"object": "realtime.response", "id": name, "status": "in_progress", "usage": None}
    return server("response.created", response=response)


def session(model: str = GA, *, kind: str = "session.created", whisper: str = WHISPER) -> Step:
    """What the server says about the session, in GA's nested form."""
    audio = {"input": {"transcription": {"model": whisper} if whisper else None}}
    return server(
        kind, session={"type": "realtime", "id": "sess_1", "model": model, "audio": audio}
    )


def transcribed(usage: Any, *, number: int = 1, item: str = "item_u") -> Step:
    """The caller's words and what it took to hear them; usage is left out when it is ``...``."""
    fields = {"item_id": item, "content_index": 0, "transcript": QUOTE}
    if usage is not ...:
        fields["usage"] = usage
    return server(COMPLETED, number=number, **fields)


AUDIO = server(
    "response.output_audio.delta", response_id="resp_1", item_id="item_1", output_index=0,
    content_index=0, delta="UmVhbFRpbWU" * 40,
)  # fmt: skip
WORDS = server(
    "response.output_audio_transcript.delta", response_id="resp_1", item_id="item_1",
    output_index=0, content_index=0, delta=QUOTE,
)  # fmt: skip
ARGUMENTS = server(
    "response.function_call_arguments.done", response_id="resp_1", item_id="item_1",
    output_index=0, call_id="call_1", name="quote", arguments=QUOTE,
)  # fmt: skip
LIMITS = server("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 9, "remaining": 8}])
TOKENS = {
    "type": "tokens", "total_tokens": 48, "input_tokens": 38, "output_tokens": 10,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 28},
}  # fmt: skip
HEARD = charge(
    "item_u", WHISPER, (38, 10, 48), into=(10, 28, 0, 0), kind=Kind.TRANSCRIPTION
)  # fmt: skip
SPOKEN = charge("resp_1", GA, (52, 178, 230), **SPLITS)


def ga(name: str, *steps: Step, expected: tuple[Any, ...] = (), shape: str = "ga") -> Script:
    """A session of OpenAI GA."""
    return Script(name, shape, GA, steps, expected)


def partial(name: str, usage: Any, *expected: Any, shape: str = "ga") -> Script:
    """A session with one response."""
    return ga(name, created(), done(usage), expected=expected, shape=shape)
