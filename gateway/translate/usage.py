"""Usage objects, from Gemini's form to OpenAI's and back. Pure.

What a client is told, not what is charged: the meters read the provider's own messages. So nothing
here raises; a count that is none (negative, text, a boolean, more than one response can use) is as
if it were absent.

Gemini's prompt is the whole context, and its ``totalTokenCount`` sometimes leaves the thoughts out:
the totals here are sums of what stands beside them. Sources: ``RealtimeResponseUsage`` and
``UsageMetadata`` of the SDKs; Vertex AI says *candidates* where the Developer API says *response*.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.usage import TOKENS_PER_RESPONSE_MAX

# Gemini's modalities, and OpenAI's counts by modality. What is neither text nor audio is seen.
_OPENAI_DETAIL: Final[Mapping[str, str]] = {
    "TEXT": "text_tokens",
    "DOCUMENT": "text_tokens",
    "AUDIO": "audio_tokens",
    "IMAGE": "image_tokens",
    "VIDEO": "image_tokens",
}
_GEMINI_MODALITY: Final[Mapping[str, str]] = {
    "text_tokens": "TEXT",
    "audio_tokens": "AUDIO",
    "image_tokens": "IMAGE",
}


def to_openai(usage_metadata: object) -> dict[str, Any]:
    """``usageMetadata`` of a turn as ``response.usage``: always complete, zeros where nothing is.

    Thoughts are part of the output, and of its text tokens.
    """
    found = usage_metadata if isinstance(usage_metadata, dict) else {}
    thoughts = _count(_of(found, "thoughtsTokenCount"))
    input_tokens = _count(_of(found, "promptTokenCount")) + _count(
        _of(found, "toolUsePromptTokenCount")
    )
    output_tokens = _count(_of(found, "responseTokenCount", "candidatesTokenCount")) + thoughts
    prompt = _by_modality(
        _of(found, "promptTokensDetails"), _of(found, "toolUsePromptTokensDetails")
    )
    cached = _by_modality(_of(found, "cacheTokensDetails"))
    output = _by_modality(_of(found, "responseTokensDetails", "candidatesTokensDetails"))
    return {
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "input_token_details": {
            **prompt,
            "cached_tokens": _count(_of(found, "cachedContentTokenCount")),
            "cached_tokens_details": cached,
        },
        "output_token_details": {
            "text_tokens": output["text_tokens"] + thoughts,
            "audio_tokens": output["audio_tokens"],
        },
    }


def to_gemini(usage: object) -> dict[str, Any]:
    """``response.usage`` as ``usageMetadata``; of xAI, the usage beside the response is meant.

    What is zero is left out, as Gemini does.
    """
    found = usage if isinstance(usage, dict) else {}
    input_tokens = _count(found.get("input_tokens"))
    output_tokens = _count(found.get("output_tokens"))
    inputs = _object(found.get("input_token_details"))
    outputs = _object(found.get("output_token_details"))
    counts: dict[str, Any] = {
        "promptTokenCount": input_tokens,
        "responseTokenCount": output_tokens,
        "totalTokenCount": input_tokens + output_tokens,
        "cachedContentTokenCount": _count(inputs.get("cached_tokens")),
        "promptTokensDetails": _details(inputs),
        "cacheTokensDetails": _details(_object(inputs.get("cached_tokens_details"))),
        "responseTokensDetails": _details(outputs),
    }
    return {name: value for name, value in counts.items() if value}


def of_response_done(event: Mapping[str, Any]) -> dict[str, Any]:
    """The usage object of ``response.done``: the response's own, or xAI's beside it; {} if none."""
    inner = _object(_object(event.get("response")).get("usage"))
    return inner or _object(event.get("usage"))


def _of(found: dict[str, Any], *names: str) -> object:
    """The first of ``names`` that is there, in either spelling."""
    for name in names:
        for spelling in (name, _snake(name)):
            if found.get(spelling) is not None:
                return found[spelling]
    return None


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _count(value: object) -> int:
    is_count = type(value) is int and 0 <= value <= TOKENS_PER_RESPONSE_MAX
    return value if is_count and isinstance(value, int) else 0


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _by_modality(*details: object) -> dict[str, int]:
    counts = dict.fromkeys(_GEMINI_MODALITY, 0)
    for part in details:
        for entry in part if isinstance(part, list) else ():
            modality = _object(entry).get("modality")
            name = _OPENAI_DETAIL.get(modality.upper()) if isinstance(modality, str) else None
            if name is not None:
                counts[name] += _count(_of(entry, "tokenCount"))
    return counts


def _details(counts: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"modality": modality, "tokenCount": _count(counts.get(name))}
        for name, modality in _GEMINI_MODALITY.items()
        if _count(counts.get(name))
    ]
