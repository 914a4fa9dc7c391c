"""What images cost that a tool made: tokens of another model, in a row of their own."""

from typing import Any

import pytest

from gateway.metering.base import Metered, Unreadable
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from shared.usage import Usage
from tests.support.metering import hear

IMAGES = {
    "input_tokens": 60, "output_tokens": 1_056, "total_tokens": 1_116, "cached_tokens": 20,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 10},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1_056},
    "cached_tokens_details": {"cached_text_tokens": 20, "cached_image_tokens": 0},
}  # fmt: skip
DRAWN = Usage(
    input_tokens=60, output_tokens=1_056, total_tokens=1_116, input_text_tokens=50,
    input_image_tokens=10, input_cached_tokens=20, input_cached_text_tokens=20,
)  # fmt: skip
NO_IMAGES = {name: 0 for name, count in IMAGES.items() if isinstance(count, int)}
DRAWING = [
    # what stands beside the usage -> model and usage of the other row, and what has no place
    ({"tool_usage": {"image_gen": IMAGES}}, ("image_gen", DRAWN), ""),
    ({"tool_usage": {"image_gen": IMAGES}, "tools": [{"type": "web_search"}, {
        "type": "image_generation", "model": "gpt-image-2"}]}, ("gpt-image-2", DRAWN), ""),
    ({"tool_usage": {"image_gen": {**IMAGES, "upscaled": 2}}},
     ("image_gen", DRAWN), '{"tool_usage": {"image_gen": {"upscaled": 2}}}'),
    ({"tool_usage": {"image_gen": {**NO_IMAGES, "upscaled": 2}}},
     None, '{"tool_usage": {"image_gen": {"upscaled": 2}}}'),
    ({"tool_usage": {"image_gen": NO_IMAGES, "web_search": {"num_requests": 0}}}, None, ""),
    ({"tool_usage": {}}, None, ""),
    ({}, None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("beside", "drawn", "raw"), DRAWING)
@pytest.mark.parametrize("is_live", [False, True])
def test_images_that_a_tool_made_are_a_row_of_their_own(
    beside: dict[str, Any], drawn: tuple[str, Usage] | None, raw: str, *, is_live: bool
) -> None:
    """They are another model's tokens; repeated they count once, and a strange field is kept."""
    usage = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    response = {"id": "r1", "model": "gpt-5.6", "usage": usage, **beside}
    meter = LiveMeter() if is_live else OpenAIMeter(model="m")
    event = {"event": {"type": "response.completed", "response": response}}
    kind, told = ("response.event", event) if is_live else ("response.done", {"response": response})
    own, *others = [row for row in hear(meter, kind, **told) if isinstance(row, Metered)]
    assert (own.usage.total_tokens, own.raw) == (2, raw)
    expected = [] if drawn is None else [("r1 images", *drawn)]
    assert [(row.response_id, row.model, row.usage) for row in others] == expected
    assert hear(meter, kind, **told) == []


def test_images_that_cannot_be_counted_are_quarantined() -> None:
    """And what the response itself used is charged."""
    meter = OpenAIMeter(model="m")
    response = {"id": "r1", "usage": {"total_tokens": 2}, "tool_usage": {"image_gen": {
        "input_tokens": "many"}}}  # fmt: skip
    own, images = hear(meter, "response.done", response=response)
    assert isinstance(own, Metered)
    assert isinstance(images, Unreadable)
    assert (images.response_id, images.raw) == ("r1 images", '{"input_tokens": "many"}')
