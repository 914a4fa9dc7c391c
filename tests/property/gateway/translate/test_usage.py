"""``translate.usage``: any value gives a usage object of the SDKs."""

from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeResponseUsage

from gateway.translate.usage import of_response_done, to_gemini, to_openai

NAMES = st.sampled_from(
    ["promptTokenCount", "prompt_token_count", "responseTokenCount", "candidatesTokenCount",
     "thoughtsTokenCount", "toolUsePromptTokenCount", "promptTokensDetails", "modality", "AUDIO",
     "tokenCount", "token_count", "responseTokensDetails", "input_tokens", "output_tokens", "usage",
     "input_token_details", "output_token_details", "cached_tokens", "audio_tokens", "response",
     "cached_tokens_details", "cacheTokensDetails", "cachedContentTokenCount"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=8),
    max_leaves=25,
)


@given(value=VALUES)
def test_any_value_gives_usage(value: object) -> None:
    """What a provider calls usage never raises, and becomes an object that the SDKs know."""
    usage = to_openai(value)
    RealtimeResponseUsage.model_validate(usage, strict=True)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] >= 0
    metadata = to_gemini(value)
    types.UsageMetadata.model_validate(metadata)
    of_response_done({"response": value, "usage": value})


@given(
    counts=st.fixed_dictionaries(
        {name: st.integers(0, 10**6) for name in ("text_tokens", "audio_tokens", "image_tokens")}
    ),
    cached=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
)
def test_counts_come_back(counts: dict[str, int], cached: int, output: int) -> None:
    """OpenAI's usage is the same after there and back."""
    usage = {
        "total_tokens": sum(counts.values()) + output,
        "input_tokens": sum(counts.values()),
        "output_tokens": output,
        "input_token_details": {
            **counts,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 0, "audio_tokens": output},
    }
    assert to_openai(to_gemini(usage)) == usage
