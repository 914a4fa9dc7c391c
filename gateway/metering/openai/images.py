"""What the images cost that a tool made for a response: tokens of another model. Pure.

They stand beside the response's own usage, as sums over the calls of the tool, and the image model
has prices of its own (SDK ``BetaResponse.tool_usage.image_gen``). So they are a row of their own,
under the model that the response's ``tools`` name, or else under ``IMAGES``.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.metering.base import Metered, MeterResult, Unreadable
from gateway.metering.openai.usage import KNOWN_TOKENS, read_usage
from gateway.metering.parsing import Known, UnreadableUsageError, as_json, clean_text, read_map

IMAGES: Final = "image_gen"
_CACHED: Final = "cached_tokens"
_DETAILS: Final = f"{_CACHED}_details"
_PARTS: Final = ("text", "image")
_KNOWN: Final[Known] = {
    **KNOWN_TOKENS,
    "output_tokens_details": {f"{part}_tokens": {} for part in _PARTS},
    _CACHED: {},
    _DETAILS: {f"cached_{part}_tokens": {} for part in _PARTS},
}
# What is charged by a row of images, and so is not kept as unknown on the row of the response.
KNOWN_BESIDE: Final[Known] = {"tool_usage": {IMAGES: _KNOWN}}


def images_of(name: str, holder: object) -> MeterResult | None:
    """The charge of the images that the response ``holder`` tells of; None without any."""
    told = holder.get("tool_usage") if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(told, dict) or not told.get(IMAGES):
        return None
    model = _model(holder.get("tools"))
    try:
        usage = read_usage(_as_usage(read_map(told, IMAGES)))
    except UnreadableUsageError as exc:
        return Unreadable(f"{name} images", model, str(exc), as_json(told[IMAGES]))
    # A tool that was not used has zero counts.
    return Metered(f"{name} images", model, usage) if usage.total_tokens else None


def _as_usage(images: Mapping[str, Any]) -> Mapping[str, Any]:
    """``images`` in the form of a response's usage, which has what was cached among the details of
    the input.
    """
    cached = read_map(images, _DETAILS)
    details = {
        **read_map(images, "input_tokens_details"),
        _CACHED: images.get(_CACHED),
        _DETAILS: {f"{part}_tokens": cached.get(f"cached_{part}_tokens") for part in _PARTS},
    }
    return {**images, "input_tokens_details": details}


def _model(tools: object) -> str:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "image_generation":
            return clean_text(tool.get("model")) or IMAGES
    return IMAGES
