"""What Gemini bills beside tokens: the queries of a turn."""

import json
from typing import Any

import pytest

from gateway.metering.base import Metered, Unreadable
from gateway.metering.gemini import usage as gemini_usage
from shared.usage import Kind
from tests.support.metering_gemini import USAGE, counted, hear, session

HELLO = {"modelTurn": {"parts": [{"text": "hello"}]}}


def grounded(*queries: str) -> dict[str, Any]:
    """Content that was looked up."""
    return {"groundingMetadata": {"webSearchQueries": list(queries)}}


def test_queries_are_counted_once_a_turn() -> None:
    """However often they are repeated: in one message, on later ones, and after the turn's end."""
    meter = session()
    rows: list[Any] = []
    rows += hear(meter, serverContent={**HELLO, **grounded("a", "b", "a")})
    rows += hear(meter, serverContent=grounded("b"))
    rows += hear(
        meter, serverContent={"turnComplete": True, **grounded("a", "c")}, usageMetadata=USAGE
    )
    rows += hear(meter, serverContent=grounded("a", "b"))
    rows += hear(meter, serverContent=HELLO)
    rows += hear(meter, serverContent={"turnComplete": True, **grounded("a")}, usageMetadata=USAGE)
    assert counted(rows + meter.finish()) == [(9, 3), (9, 1)]


def test_queries_of_a_usage_that_nobody_understands_wait_with_it() -> None:
    """They are no other turn's."""
    meter = session()
    strange = {**USAGE, "promptTokenCount": -1}
    hear(meter, serverContent={**HELLO, **grounded("a", "b")})
    (kept,) = hear(meter, serverContent={"turnComplete": True}, usageMetadata=strange)
    assert isinstance(kept, Unreadable)
    assert json.loads(kept.raw) == {"usageMetadata": strange, "groundingQueries": 2}
    hear(meter, serverContent={**HELLO, **grounded("a")})
    assert counted(hear(meter, serverContent={"turnComplete": True}, usageMetadata=USAGE)) == [
        (9, 1)
    ]


def test_queries_that_are_too_many_to_remember_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them: nobody knows which are the same."""
    monkeypatch.setattr(gemini_usage, "_QUERIES_MAX", 3)
    meter = session()
    hear(
        meter, serverContent={"modelTurn": {"parts": []}, **grounded("a", "b", "a", "c", "d", "e")}
    )
    ended = {"turnComplete": True, **grounded("a", "f")}
    found = hear(meter, serverContent=ended, usageMetadata={"promptTokenCount": 3})
    assert counted(found) == [(3, 6)]


def test_queries_of_a_turn_that_is_never_reported_are_charged() -> None:
    """They were reported; its tokens are estimated beside them."""
    meter = session()
    hear(meter, serverContent={**HELLO, **grounded("a", "b")})
    queries, estimate = meter.finish()
    assert isinstance(queries, Metered)
    assert isinstance(estimate, Metered)
    assert (queries.kind, queries.usage.grounding_queries) == (Kind.RESPONSE, 2)
    assert (estimate.kind, estimate.usage.grounding_queries) == (Kind.ESTIMATE, 0)


@pytest.mark.parametrize("odd", [None, 5, [], {"webSearchQueries": "a"}, {"webSearchQueries": [1]}])
def test_odd_grounding_is_no_query(odd: Any) -> None:
    """Nor does it stand in the way of the turn."""
    meter = session()
    content = {**HELLO, "groundingMetadata": odd, "turnComplete": True}
    assert counted(hear(meter, serverContent=content, usageMetadata=USAGE)) == [(9, 0)]
