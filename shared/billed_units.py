"""What the providers bill for, by model, as of November 2026: a card should price all of it. Pure.

Names are those of ``shared.rates.UNITS``. A model may bill for less than what stands here: xAI's
voice models report tokens as well as seconds, and the card chooses. Sources: the providers' price
lists and the usage objects of their SDKs.
"""

from dataclasses import dataclass
from typing import Final

_SPEECH: Final = (
    "text_input", "audio_input", "image_input", "cached_text_input", "cached_audio_input",
    "cached_image_input", "text_output", "audio_output",
)  # fmt: skip
_DELEGATED: Final = ("input", "cached_input", "cache_write_input", "output", "web_search")


@dataclass(frozen=True, slots=True)
class BilledModel:
    """A model, and the units that its provider reports or that are measured for it."""

    provider: str
    model: str
    units: tuple[str, ...]


BILLED_MODELS: Final = (
    *(
        BilledModel("openai", name, _SPEECH)
        for name in ("gpt-realtime", "gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini")
    ),
    BilledModel("openai", "gpt-realtime-whisper", ("transcription_second",)),
    BilledModel("openai", "gpt-live-transcribe", ("transcription_second",)),
    BilledModel("openai", "whisper-1", ("transcription_second",)),
    BilledModel("openai", "gpt-4o-transcribe", ("text_input", "audio_input", "output")),
    BilledModel("openai", "gpt-4o-mini-transcribe", ("text_input", "audio_input", "output")),
    BilledModel("openai", "gpt-realtime-translate", ("session_second",)),
    BilledModel("openai", "gpt-live-1", ("session_second",)),
    BilledModel("openai", "gpt-live-1.1", ("session_second",)),
    BilledModel("openai", "gpt-5.6", _DELEGATED),
    BilledModel("openai", "image_gen", ("input", "image_input", "cached_input", "output")),
    BilledModel("azure", "gpt-realtime", _SPEECH),
    BilledModel("azure", "whisper-1", ("transcription_second",)),
    BilledModel("azure", "azure-speech", ("transcription_second",)),
    BilledModel("xai", "grok-voice-latest", ("session_second", "tool_call", "web_search")),
    BilledModel("xai", "grok-voice-think-fast-1.0", ("session_second", "tool_call", "web_search")),
    BilledModel("gemini", "gemini-3.8-live", (*_SPEECH, "grounding_query")),
    BilledModel("gemini", "gemini-3.8-live-extended-thinking", (*_SPEECH, "grounding_query")),
    BilledModel("gemini", "gemini-3.5-transcribe-live", ("transcription_second",)),
)
