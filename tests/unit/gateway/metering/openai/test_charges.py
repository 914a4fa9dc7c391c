"""What tools of the provider's cost by the piece, beside a usage or without one."""

import json
from typing import Any

import pytest

from gateway.metering.base import Metered
from gateway.metering.openai.meter import OpenAIMeter
from shared.usage import Usage
from tests.support.metering import hear


def test_tools_are_charged_without_a_usage() -> None:
    """What was searched is owed whatever became of the answer."""
    meter = OpenAIMeter(model="m")
    tools = {"web_search": {"num_requests": 3}}
    (found,) = hear(meter, "response.done", response={"id": "r1", "tool_usage": tools})
    assert isinstance(found, Metered)
    assert found.usage == Usage(web_searches=3)
    assert hear(meter, "response.done", response={"id": "r2", "usage": None}) == []


TOOLS = [
    # beside the usage; searches and calls where the provider bills calls, and elsewhere
    ({"tool_usage": {"web_search": {"num_requests": 3}}}, (3, 0), (3, 0)),
    ({"tool_usage": {"file_search": {"num_requests": 2}}}, (0, 2), (0, 2)),
    ({"output": [{"type": "web_search_call"}, {"type": "mcp_call"}, {"type": "function_call"}]},
     (1, 1), (0, 0)),
    ({"output": [{"type": "message"}]}, (0, 0), (0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("beside", "by_call", "elsewhere"), TOOLS)
def test_tools_are_counted_by_the_piece(
    beside: dict[str, Any], by_call: tuple[int, int], elsewhere: tuple[int, int]
) -> None:
    """As they are reported, or by the calls in the output where each of them is billed."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    for is_xai, expected in ((True, by_call), (False, elsewhere)):
        meter = OpenAIMeter(model="m", bills_seconds=is_xai)
        found = hear(meter, "response.done", response={"id": "r", "usage": usage, **beside})
        assert isinstance(found[0], Metered)
        counts: Usage = found[0].usage
        assert (counts.web_searches, counts.tool_calls, counts.total_tokens) == (*expected, 2)


FUTURE: list[tuple[Any, int, Any]] = [
    # beside a search: what a row counts as calls, and what is kept as it was told
    ({"shell": 5}, 0, {"shell": 5}),
    ({"shell": None, "browser": {}}, 0, None),
    ({"shell": {"num_requests": 2, "seconds": 9}}, 2, {"shell": {"seconds": 9}}),
]


@pytest.mark.parametrize(("more", "calls", "raw"), FUTURE)
def test_tools_of_the_future_stand_in_nobody_s_way(more: Any, calls: int, raw: Any) -> None:
    """Whatever they hold, the response is charged, and they are kept."""
    meter = OpenAIMeter(model="m")
    tools = {"web_search": {"num_requests": 2}, **more}
    (found,) = hear(meter, "response.done", response={"id": "r", "tool_usage": tools})
    assert isinstance(found, Metered)
    assert (found.usage.web_searches, found.usage.tool_calls) == (2, calls)
    assert (json.loads(found.raw) if found.raw else None) == (raw and {"tool_usage": raw})
