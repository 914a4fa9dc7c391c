"""How usage objects of the OpenAI family become counts: where each stands, and what is absent."""

import pytest

from gateway.metering.openai.usage import (
    COUNTS,
    KNOWN_TOKENS,
    DetailsObject,
    TokenTotals,
    fill_in,
    read_usage,
)
from gateway.metering.parsing import UnreadableUsageError
from shared.usage import USAGE_FIELDS

# Reported, input, output; what is charged.
FILLED = [
    (None, None, None, TokenTotals(0, 0, 0)),
    (10, None, None, TokenTotals(0, 0, 10)),
    (10, 6, None, TokenTotals(6, 4, 10)),
    (10, None, 4, TokenTotals(6, 4, 10)),
    (10, 10, None, TokenTotals(10, 0, 10)),
    (10, None, 0, TokenTotals(10, 0, 10)),
    (None, 6, None, TokenTotals(6, 0, 6)),
    (None, None, 4, TokenTotals(0, 4, 4)),
    (None, 6, 3, TokenTotals(6, 3, 9)),
    (10, 6, 3, TokenTotals(6, 3, 9)),
    (3, 6, 3, TokenTotals(6, 3, 9)),
]


@pytest.mark.parametrize(("reported", "tokens_in", "tokens_out", "expected"), FILLED)
def test_totals_that_are_absent_are_filled_in(
    reported: int | None, tokens_in: int | None, tokens_out: int | None, expected: TokenTotals
) -> None:
    """Input plus output is charged; a reported total says only what one of them is."""
    assert fill_in(reported, tokens_in=tokens_in, tokens_out=tokens_out) == expected


@pytest.mark.parametrize(("tokens_in", "tokens_out"), [(6, None), (None, 6)])
def test_a_total_below_its_part_is_unreadable(
    tokens_in: int | None, tokens_out: int | None
) -> None:
    """Nobody knows which of the two is meant."""
    with pytest.raises(UnreadableUsageError, match="total_tokens 3 is less than its part 6"):
        fill_in(3, tokens_in=tokens_in, tokens_out=tokens_out)


DETAILS = [
    # usage object; input, output, total
    ({"input_token_details": {"text_tokens": 2, "audio_tokens": 3, "image_tokens": 4}}, (9, 0, 9)),
    ({"output_token_details": {"text_tokens": 2, "audio_tokens": 3}}, (0, 5, 5)),
    ({"input_tokens_details": {"text_tokens": 2}, "output_tokens": 1}, (2, 1, 3)),
    ({"input_tokens": 7, "input_token_details": {"text_tokens": 2}}, (7, 0, 7)),
    ({"input_token_details": {"cached_tokens": 2}}, (0, 0, 0)),
    ({"total_tokens": 8, "input_token_details": {"text_tokens": 2}}, (0, 0, 8)),
]


@pytest.mark.parametrize(("usage", "expected"), DETAILS)
def test_details_count_where_no_total_is_reported(
    usage: dict[str, object], expected: tuple[int, int, int]
) -> None:
    """Their modalities, without what is cached, which is among these already."""
    found = read_usage(usage)
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == expected


@pytest.mark.parametrize("count", COUNTS, ids=[count.field for count in COUNTS])
def test_each_count_is_read_from_its_place(count: tuple[str, DetailsObject, str]) -> None:
    """It becomes its own field and no other one, and does not change the totals."""
    field, place, name = count
    details: dict[str, object] = {name: 5}
    usage = {
        DetailsObject.INPUT: {"input_token_details": details},
        DetailsObject.OUTPUT: {"output_token_details": details},
        DetailsObject.CACHED: {"input_token_details": {"cached_tokens_details": details}},
    }[place]
    found = read_usage({"input_tokens": 9, "output_tokens": 9, **usage})
    totals = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    expected = dict.fromkeys(USAGE_FIELDS, 0) | totals | {field: 5}
    assert {name: getattr(found, name) for name in USAGE_FIELDS} == expected


def test_what_is_read_is_known() -> None:
    """A count that has a column is not kept beside it as something unknown."""
    into, out = KNOWN_TOKENS["input_token_details"], KNOWN_TOKENS["output_token_details"]
    known = {
        DetailsObject.INPUT: into,
        DetailsObject.OUTPUT: out,
        DetailsObject.CACHED: into["cached_tokens_details"],
    }
    assert all(count.name in known[count.place] for count in COUNTS)
    assert {field for field, _, _ in COUNTS} <= set(USAGE_FIELDS)
