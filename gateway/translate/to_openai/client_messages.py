"""The messages that a Gemini client is sent. Pure.

Only messages that its SDKs know: google-genai raises on any other. Source: ``LiveServerMessage``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import json

SETUP_COMPLETE: Final = b'{"setupComplete":{}}'
INTERRUPTED: Final = b'{"serverContent":{"interrupted":true}}'
GENERATION_COMPLETE: Final = b'{"serverContent":{"generationComplete":true}}'
# Where an OpenAI provider says audio, in the format that every session is set up with.
_AUDIO: Final = (
    b'{"serverContent":{"modelTurn":{"role":"model","parts":[{"inlineData":'
    b'{"mimeType":"audio/pcm;rate=24000","data":"%b"}}]}}}'
)


def audio(base64: bytes) -> bytes:
    """Speech of the model, as PCM of 24 kHz in base64."""
    return _AUDIO % base64


def text(words: str) -> bytes:
    """Text that the model writes."""
    return _content(modelTurn={"role": "model", "parts": [{"text": words}]})


def input_transcription(words: str) -> bytes:
    """What the user said."""
    return _content(inputTranscription={"text": words})


def output_transcription(words: str) -> bytes:
    """What the model says."""
    return _content(outputTranscription={"text": words})


def turn_complete(usage: Mapping[str, Any], reason: str = "") -> bytes:
    """The turn is over. ``usage`` is a usageMetadata, or empty; ``reason`` says what went wrong, in
    a word of ``TurnCompleteReason``.
    """
    content = {"turnComplete": True, "turnCompleteReason": reason}
    return _with_usage({"serverContent": content if reason else {"turnComplete": True}}, usage)


def tool_call(calls: Sequence[Mapping[str, Any]], usage: Mapping[str, Any]) -> bytes:
    """The model calls functions: ``id``, ``name`` and ``args`` of each. The turn goes on with the
    answers.
    """
    return _with_usage({"toolCall": {"functionCalls": calls}}, usage)


def usage_alone(usage: Mapping[str, Any]) -> bytes:
    """A usage that belongs to no message."""
    return json.encode({"usageMetadata": usage})


def _content(**fields: Any) -> bytes:
    return json.encode({"serverContent": fields})


def _with_usage(message: dict[str, Any], usage: Mapping[str, Any]) -> bytes:
    return json.encode({**message, "usageMetadata": usage} if usage else message)
