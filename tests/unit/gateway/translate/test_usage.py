"""``translate.usage``: usage objects of both protocols."""

from typing import Any

import pytest
from google.genai import types
from openai.types.realtime import RealtimeResponseUsage

from gateway.translate.usage import of_response_done, to_gemini, to_openai

TURN = {
    "promptTokenCount": 187,
    "cachedContentTokenCount": 64,
    "responseTokenCount": 40,
    "toolUsePromptTokenCount": 10,
    "thoughtsTokenCount": 28,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 63},
        {"modality": "AUDIO", "tokenCount": 124},
    ],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}],
}


def test_a_turn_is_told_as_a_response() -> None:
    """Tool results are input, and thoughts are output."""
    usage = to_openai(TURN)
    RealtimeResponseUsage.model_validate(usage, strict=True)
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (197, 68, 265)
    assert usage["output_token_details"] == {"text_tokens": 28, "audio_tokens": 40}


def test_a_response_is_told_as_a_turn() -> None:
    """Counts and modalities are Gemini's; zeros are left out."""
    metadata = to_gemini(to_openai(TURN))
    types.UsageMetadata.model_validate(metadata)
    assert metadata["totalTokenCount"] == 265
    assert metadata["responseTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 28},
        {"modality": "AUDIO", "tokenCount": 40},
    ]


def test_vertex_names_the_output_otherwise() -> None:
    """*Candidates* are the response, in snake_case as well."""
    metadata = {
        "prompt_token_count": 7,
        "candidates_token_count": 5,
        "candidates_tokens_details": [{"modality": "AUDIO", "token_count": 5}],
    }
    usage = to_openai(metadata)
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 5)
    assert usage["output_token_details"]["audio_tokens"] == 5


def test_what_is_seen_counts_as_images() -> None:
    """OpenAI has no word for video, nor for documents; what was cached is told by modality, too."""
    metadata = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "promptTokensDetails": [
            {"modality": "IMAGE", "tokenCount": 1},
            {"modality": "VIDEO", "tokenCount": 2},
            {"modality": "DOCUMENT", "tokenCount": 3},
            {"modality": "AUDIO"},
            {"modality": "SMELL", "tokenCount": 9},
        ],
        "cacheTokensDetails": [{"modality": "VIDEO", "tokenCount": 4}],
    }
    details = to_openai(metadata)["input_token_details"]
    assert (details["text_tokens"], details["audio_tokens"], details["image_tokens"]) == (3, 0, 3)
    assert details["cached_tokens"] == details["cached_tokens_details"]["image_tokens"] == 4


@pytest.mark.parametrize("value", [-1, "7", True, 1.5, 10**12, None, [], {}])
def test_what_is_no_count_is_absent(value: object) -> None:
    """A count that cannot be one is told as none."""
    assert to_openai({"promptTokenCount": value, "responseTokenCount": 3})["total_tokens"] == 3
    assert to_gemini({"input_tokens": value, "output_tokens": 3}) == {
        "responseTokenCount": 3,
        "totalTokenCount": 3,
    }


@pytest.mark.parametrize("value", [None, 7, "x", [], {}])
def test_no_usage_is_zero(value: object) -> None:
    """A response without usage has used nothing that is known."""
    assert to_openai(value)["total_tokens"] == 0
    assert to_gemini(value) == {}


@pytest.mark.parametrize(
    ("event", "total"),
    [
        ({"response": {"usage": {"total_tokens": 1}}}, 1),
        ({"response": {"usage": {}}, "usage": {"total_tokens": 2}}, 2),
        ({"response": {"usage": None}}, None),
        ({"response": 7, "usage": "x"}, None),
    ],
)
def test_xai_puts_usage_beside_the_response(event: dict[str, Any], total: int | None) -> None:
    """The response's own object counts where it says something, else the event's."""
    assert of_response_done(event).get("total_tokens") == total
