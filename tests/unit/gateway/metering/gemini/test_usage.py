"""How usage objects of Gemini become counts: the totals, and the parts by modality."""

import pytest

from gateway.metering.gemini.usage import PARTS, DetailsList, Part, read_usage
from gateway.metering.parsing import UnreadableUsageError
from shared.usage import USAGE_FIELDS

LISTS = {
    DetailsList.INPUT: "promptTokensDetails",
    DetailsList.OUTPUT: "responseTokensDetails",
    DetailsList.CACHED: "cacheTokensDetails",
}


@pytest.mark.parametrize("part", PARTS, ids=[part.field for part in PARTS])
def test_each_part_is_read_from_its_list(part: Part) -> None:
    """It becomes its own field and no other one, and does not change the totals."""
    details = [{"modality": part.modality.upper(), "tokenCount": 5}]
    found = read_usage({"promptTokenCount": 9, LISTS[part.place]: details})
    totals = {"input_tokens": 9, "total_tokens": 9}
    expected = dict.fromkeys(USAGE_FIELDS, 0) | totals | {part.field: 5}
    assert {name: getattr(found, name) for name in USAGE_FIELDS} == expected


TOTALS = [
    # usage object; input, output, thoughts, total
    ({"promptTokenCount": 7, "responseTokenCount": 2, "totalTokenCount": 9}, (7, 2, 0, 9)),
    ({"promptTokenCount": 7, "candidatesTokenCount": 2}, (7, 2, 0, 9)),
    ({"promptTokenCount": 7, "responseTokenCount": 0, "candidatesTokenCount": 2}, (7, 2, 0, 9)),
    ({"promptTokenCount": 7, "toolUsePromptTokenCount": 3}, (10, 0, 0, 10)),
    ({"promptTokenCount": 7, "thoughtsTokenCount": 4, "totalTokenCount": 7}, (7, 4, 4, 11)),
    ({}, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("usage", "expected"), TOTALS)
def test_totals_are_sums_of_their_kinds(
    usage: dict[str, int], expected: tuple[int, int, int, int]
) -> None:
    """What tools put into the prompt is input, thoughts are output; no reported total is used."""
    found = read_usage(usage)
    thoughts = found.output_thought_tokens
    assert (found.input_tokens, found.output_tokens, thoughts, found.total_tokens) == expected


def test_a_total_of_no_kind_is_unreadable() -> None:
    """It may leave thoughts out, so it cannot be charged where it stands alone."""
    with pytest.raises(UnreadableUsageError, match="9 tokens of no kind"):
        read_usage({"totalTokenCount": 9})


def test_lists_of_vertex_ai_count_where_the_others_are_empty() -> None:
    """It has another name for the answer; both at once are not added up."""
    audio, text = {"modality": "AUDIO", "tokenCount": 5}, {"modality": "TEXT", "tokenCount": 2}
    vertex = {"candidatesTokenCount": 7, "candidatesTokensDetails": [audio, text]}
    found = read_usage({**vertex, "responseTokensDetails": []})
    assert (found.output_audio_tokens, found.output_text_tokens) == (5, 2)
    found = read_usage({**vertex, "responseTokensDetails": [text]})
    assert (found.output_audio_tokens, found.output_text_tokens) == (0, 2)
