"""Gemini Live's server messages as JSON objects, and their encoding. Pure.

Names and shapes are those of the ``google-genai`` SDK's ``LiveServerMessage``.
"""

import base64
import json
from typing import Any, Final

from simulator.openai_events import Event
from simulator.tokens import CACHE_BLOCK, Tokens

THOUGHT: Final = (
    "**Preparing the reply**\n\nThe user has spoken. I will play back what was said, word for word,"
    " and say so first. Nothing needs to be looked up, and nothing has to be computed for it."
)


def spell(message: Event) -> str:
    """The message as pretty-printed JSON, as the provider sends it (in a binary frame)."""
    return json.dumps(message, indent=2, ensure_ascii=False) + "\n"


def content(**fields: Any) -> Event:
    """A serverContent."""
    return {"serverContent": fields}


def model_turn(part: Event, *, is_vertex: bool) -> Event:
    """A part of the model's answer; Vertex AI adds the role."""
    return {"parts": [part], **({"role": "model"} if is_vertex else {})}


def audio_part(pcm: bytes) -> Event:
    """A piece of speech."""
    data = base64.b64encode(pcm).decode()
    return {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}


def usage(
    history: Tokens,
    output: Tokens,
    *,
    tool: int,
    thoughts: int,
    cached_before: int,
    is_vertex: bool,
    is_spoken: bool,
) -> Event:
    """The usageMetadata of a turn. The prompt is the whole context; zero counts are absent.

    ``totalTokenCount`` does not include the thoughts, as with the real provider.
    """
    answer = "candidates" if is_vertex else "response"
    cached = min(cached_before, history.total) // CACHE_BLOCK * CACHE_BLOCK
    cached_audio = min(cached, history.audio)
    counts = {
        "promptTokenCount": history.total,
        "cachedContentTokenCount": cached,
        f"{answer}TokenCount": output.total,
        "toolUsePromptTokenCount": tool,
        "totalTokenCount": history.total + tool + output.total,
        "thoughtsTokenCount": thoughts,
    }
    prompt = [("TEXT", history.text), ("AUDIO", history.audio)]
    if history.image:
        prompt.append(("IMAGE", history.image))
    details = {
        "promptTokensDetails": prompt,
        "cacheTokensDetails": (
            [("TEXT", cached - cached_audio), ("AUDIO", cached_audio)] if cached else []
        ),
        f"{answer}TokensDetails": (
            [("AUDIO", output.audio)] if is_spoken and not output.text
            else [("TEXT", output.text), ("AUDIO", output.audio)] if is_spoken
            else [("TEXT", output.text)]
        ),
        "toolUsePromptTokensDetails": [("TEXT", tool)] if tool else [],
    }  # fmt: skip
    return {
        **{name: count for name, count in counts.items() if count},
        **{name: _details(found) for name, found in details.items() if found},
        **({"trafficType": "ON_DEMAND"} if is_vertex else {}),
    }


def _details(found: list[tuple[str, int]]) -> list[Event]:
    return [
        {"modality": name, "tokenCount": count} if count else {"modality": name}
        for name, count in found
    ]
