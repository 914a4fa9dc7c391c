"""Reads the messages of a Gemini Live client, with keys in snake_case or camelCase. Pure.

A field of the wrong type raises ``GeminiError``, and the session is closed with 1007, as the real
provider does.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from simulator.audio import VoiceSettings
from simulator.client_events import ClientError, decode
from simulator.gemini_errors import GeminiError
from simulator.gemini_fields import check_fields
from simulator.openai_events import Event
from simulator.tokens import Tokens, text_tokens

T = TypeVar("T")

RATE_HZ: Final = 16_000  # where the mime type names no rate
RATES_HZ: Final = range(4_000, 192_001)
IMAGE_TOKENS: Final = 258
MS_MAX: Final = 60_000
KINDS: Final = ("setup", "clientContent", "realtimeInput", "toolResponse", "contextUpdate")
# Keys below these fields belong to the application and are not converted.
_OPAQUE: Final = frozenset(
    {"response", "args", "parametersJsonSchema", "responseJsonSchema", "labels"}
)
_RATE: Final = re.compile(r"rate=(\d{1,9})\b")
_UNDERSCORE: Final = re.compile(r"_([a-z0-9])")


def read(data: str | bytes) -> tuple[str, Event]:
    """The kind of a message and its content, in camelCase; raises ``GeminiError``."""
    try:
        message = decode(data)
    except ClientError as exc:
        raise GeminiError("Invalid JSON payload received.") from exc
    found = camel(message)
    kinds = [name for name in found if name in KINDS]
    if len(kinds) != 1 or len(found) != 1:
        shown = next((name for name in found if name not in KINDS), "several messages")
        raise GeminiError(f"Invalid JSON payload received. Unknown name: {shown[:40]!r}.")
    check_fields(found)
    return kinds[0], field(found, kinds[0], dict, {})


def camel(value: Any) -> Any:
    """``value`` with every key in camelCase, except below ``_OPAQUE`` fields.

    The names in ``properties`` are the application's; what they name are schemas.
    """
    if isinstance(value, list):
        return [camel(part) for part in value]
    if not isinstance(value, dict):
        return value
    named = {_UNDERSCORE.sub(lambda x: x[1].upper(), name): part for name, part in value.items()}
    return {
        name: part if name in _OPAQUE
        else {own: camel(schema) for own, schema in part.items()}
        if name == "properties" and isinstance(part, dict)
        else camel(part)
        for name, part in named.items()
    }  # fmt: skip


def field(body: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """The field ``name``, checked to be of type ``kind``; absent and null give the default."""
    found = body.get(name)
    if found is None:
        return default
    if not isinstance(found, kind):
        raise GeminiError
    return found


def objects(body: Mapping[str, Any], name: str) -> list[Event]:
    """A list of objects. A single object counts as a list of one, as in protobuf's JSON."""
    found = body.get(name)
    if isinstance(found, dict):
        return [found]
    parts = field(body, name, list, [])
    if not all(isinstance(part, dict) for part in parts):
        raise GeminiError
    return parts


def blob(part: Mapping[str, Any]) -> tuple[str, bytes]:
    """The mime type and the bytes of inline data."""
    data = field(part, "data", str, "")
    try:
        # Some SDKs use the URL-safe alphabet.
        return field(part, "mimeType", str, ""), base64.b64decode(
            data.replace("-", "+").replace("_", "/"), validate=True
        )
    except ValueError as exc:
        raise GeminiError from exc


def rate_of(mime_type: str) -> int:
    """The sample rate that a mime type names."""
    found = _RATE.search(mime_type)
    rate = int(found[1]) if found else RATE_HZ
    if rate not in RATES_HZ:
        raise GeminiError
    return rate


def text_of(content: Mapping[str, Any]) -> str:
    """The text of all parts."""
    return "".join(field(part, "text", str, "") for part in objects(content, "parts"))


def tokens_of(content: Mapping[str, Any]) -> Tokens:
    """The input tokens of a content, without its audio."""
    images = sum("inlineData" in part for part in objects(content, "parts"))
    return Tokens(text=text_tokens(text_of(content)), image=images * IMAGE_TOKENS)


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of a session. ``voice`` is None without automatic activity detection.

    ``told`` are the instructions, and ``system`` their tokens.
    """

    model: str
    is_spoken: bool
    voice: VoiceSettings | None
    is_interruptible: bool
    hears_text: bool
    speaks_text: bool
    tools: tuple[str, ...]
    is_grounded: bool
    system: Tokens
    is_thinking: bool
    tokens_max: int | None
    is_resumable: bool
    handle: str
    told: str = ""

    @classmethod
    def of(cls, body: Event) -> "Setup":
        """The settings in a setup message; raises ``GeminiError``."""
        model = field(body, "model", str, "")
        if not model:
            raise GeminiError("models/ is not found for API version v1beta.", code=1008)
        config = field(body, "generationConfig", dict, {})
        is_spoken = "TEXT" not in field(config, "responseModalities", list, ["AUDIO"])
        if not is_spoken and config.get("speechConfig"):
            raise GeminiError("Cannot extract voices from a non-audio request.")
        realtime = field(body, "realtimeInputConfig", dict, {})
        thinking = field(config, "thinkingConfig", dict, {})
        resumption = field(body, "sessionResumption", dict, {})
        return cls(
            model=model,
            is_spoken=is_spoken,
            voice=_voice(field(realtime, "automaticActivityDetection", dict, {})),
            is_interruptible=field(realtime, "activityHandling", str, "") != "NO_INTERRUPTION",
            hears_text="inputAudioTranscription" in body,
            speaks_text="outputAudioTranscription" in body,
            tools=tool_names(body),
            is_grounded=any("googleSearch" in tool for tool in objects(body, "tools")),
            system=tokens_of(system_of(body)),
            is_thinking=field(thinking, "thinkingBudget", int, 1) != 0,
            tokens_max=field(config, "maxOutputTokens", int, 0) or None,
            is_resumable="sessionResumption" in body,
            handle=field(resumption, "handle", str, ""),
            told=text_of(system_of(body)),
        )


def tool_names(body: Event) -> tuple[str, ...]:
    """The names of all declared functions."""
    return tuple(
        field(function, "name", str, "")
        for tool in objects(body, "tools")
        for function in objects(tool, "functionDeclarations")
    )


def system_of(body: Event) -> Event:
    """The system instruction, which is a content."""
    return field(body, "systemInstruction", dict, {})


def _voice(detection: Event) -> VoiceSettings | None:
    if field(detection, "disabled", bool, False):
        return None
    return VoiceSettings(
        prefix_ms=_milliseconds(detection, "prefixPaddingMs", 300),
        silence_ms=_milliseconds(detection, "silenceDurationMs", 500),
    )


def _milliseconds(body: Event, name: str, default: int) -> int:
    found = field(body, name, int, default)
    if not 0 <= found <= MS_MAX:
        raise GeminiError
    return found
