"""How Gemini's usage objects are read, and what beside them is billed by the piece. Pure.

Names may be spelled in either case, as protobuf's JSON allows.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum, auto
from typing import Any, Final, NamedTuple

from gateway.metering.parsing import (
    Known,
    UnreadableUsageError,
    check_total,
    read_count,
    unknown_parts,
)
from shared.usage import TOKENS_PER_RESPONSE_MAX, Usage

_DETAILS_IN: Final = ("promptTokensDetails", "toolUsePromptTokensDetails")
_DETAILS_CACHED: Final = "cacheTokensDetails"
_DETAILS_OUT: Final = ("responseTokensDetails", "candidatesTokensDetails")
_KNOWN: Final[Known] = {
    "promptTokenCount": {}, "cachedContentTokenCount": {}, "responseTokenCount": {},
    "candidatesTokenCount": {}, "toolUsePromptTokenCount": {}, "thoughtsTokenCount": {},
    "totalTokenCount": {}, _DETAILS_CACHED: {},
    **{name: {} for name in (*_DETAILS_IN, *_DETAILS_OUT)},
}  # fmt: skip
# The modalities of each list that have a column.
_KINDS_BY_NAME: Final = {
    **dict.fromkeys((*_DETAILS_IN, _DETAILS_CACHED), ("text", "audio", "image")),
    **dict.fromkeys(_DETAILS_OUT, ("text", "audio")),
}
_MODALITIES: Final = {
    "TEXT": "text", "MODALITY_UNSPECIFIED": "text", "AUDIO": "audio", "IMAGE": "image",
    "VIDEO": "image",
}  # fmt: skip


class DetailsList(StrEnum):
    """The list of a usage object in which a count of one modality stands."""

    INPUT = auto()  # promptTokensDetails and toolUsePromptTokensDetails, added up
    OUTPUT = auto()  # responseTokensDetails; on Vertex AI candidatesTokensDetails
    CACHED = auto()  # cacheTokensDetails


class Part(NamedTuple):
    """A count of one modality: the field of ``Usage`` that it becomes, its place, its modality."""

    field: str
    place: DetailsList
    modality: str


PARTS: Final = (
    Part("input_text_tokens", DetailsList.INPUT, "text"),
    Part("input_audio_tokens", DetailsList.INPUT, "audio"),
    Part("input_image_tokens", DetailsList.INPUT, "image"),
    Part("output_text_tokens", DetailsList.OUTPUT, "text"),
    Part("output_audio_tokens", DetailsList.OUTPUT, "audio"),
    Part("input_cached_text_tokens", DetailsList.CACHED, "text"),
    Part("input_cached_audio_tokens", DetailsList.CACHED, "audio"),
    Part("input_cached_image_tokens", DetailsList.CACHED, "image"),
)
_NO_DETAILS: Final = {"text": 0, "audio": 0, "image": 0}
_UNDERSCORE: Final = re.compile("_([a-z])")
_QUERIES: Final = ("webSearchQueries", "web_search_queries")
_GROUNDING: Final = ("groundingMetadata", "grounding_metadata")
# How many of a turn are remembered, at 20 bytes each: more than an answer has sources. Those beyond
# it are not compared, so each of them counts.
_QUERIES_MAX: Final = 100_000


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A ``usageMetadata`` object. Raises ``UnreadableUsageError``.

    Input is the prompt and what tools put into it, output the answer and the thoughts. The reported
    total leaves thoughts out, so it is not used; where it stands alone the usage is unreadable.
    The server leaves out counts of zero.
    """
    usage = camel_case(usage)
    prompt = read_count(usage, "promptTokenCount") or 0
    tool = read_count(usage, "toolUsePromptTokenCount") or 0
    # Vertex AI calls the answer "candidates".
    answer = read_count(usage, "responseTokenCount") or read_count(usage, "candidatesTokenCount")
    answer = answer or 0
    thoughts = read_count(usage, "thoughtsTokenCount") or 0
    total = prompt + tool + answer + thoughts
    reported = read_count(usage, "totalTokenCount")
    if reported and not total:
        raise UnreadableUsageError(f"totalTokenCount: found {reported} tokens of no kind")
    is_vertex = not usage.get("responseTokensDetails")
    details = {
        DetailsList.INPUT: _by_modality(usage, *_DETAILS_IN),
        DetailsList.CACHED: _by_modality(usage, _DETAILS_CACHED),
        DetailsList.OUTPUT: _by_modality(usage, _DETAILS_OUT[is_vertex]),
    }
    return check_total(
        Usage(
            input_tokens=prompt + tool,
            output_tokens=answer + thoughts,
            total_tokens=total,
            input_cached_tokens=read_count(usage, "cachedContentTokenCount") or 0,
            output_thought_tokens=thoughts,
            **{field: details[place][modality] for field, place, modality in PARTS},
        )
    )


def _by_modality(usage: Mapping[str, Any], *names: str) -> Mapping[str, int]:
    """The counts in the lists ``names``, added up. ``{"modality": "AUDIO"}`` counts zero."""
    if all(usage.get(name) is None for name in names):
        return _NO_DETAILS
    counts = {"text": 0, "audio": 0, "image": 0}
    for name in names:
        details = usage.get(name)
        if details is None:
            continue
        if not isinstance(details, list) or not all(isinstance(d, dict) for d in details):
            raise UnreadableUsageError(f"{name}: expected a list of objects")
        for detail in map(camel_case, details):
            count = read_count(detail, "tokenCount") or 0
            kind = _kind_of(detail)
            if kind is not None:
                counts[kind] += count
    if max(counts.values()) > TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(f"{names[0]}: more than {TOKENS_PER_RESPONSE_MAX} tokens")
    return counts


def _kind_of(detail: Mapping[str, Any]) -> str | None:
    return _MODALITIES.get(str(detail.get("modality")).upper())


def unknown_usage(usage: Mapping[str, Any]) -> str:
    """JSON text of what has no column: fields that are not known, and counts of other modalities
    (``{"modality": "DOCUMENT", "tokenCount": 3}``).
    """
    strange = {
        name: rest
        for name, kinds in _KINDS_BY_NAME.items()
        if isinstance(details := usage.get(name), list)
        and (rest := [d for d in details if not isinstance(d, dict) or _kind_of(d) not in kinds])
    }
    if not strange:
        return unknown_parts(usage, _KNOWN)
    known: Known = {name: {} for name in _KNOWN if name not in strange}
    return unknown_parts({**usage, **strange}, known)


def camel_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` in the server's own spelling: ``prompt_token_count`` is ``promptTokenCount``."""
    return {_camel_case(name) if "_" in name else name: value for name, value in fields.items()}


def _camel_case(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


class GroundingQueries:
    """The web searches by which the model's answers were grounded.

    Each different query of a turn is billed once. The server repeats queries on later messages of
    the turn, even after its end, so what was counted is remembered until the next turn begins.
    """

    __slots__ = ("_counted", "_more", "_new")

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._counted: set[int] = set()
        self._more = 0

    def read(self, content: Mapping[str, Any]) -> None:
        """Count the queries in the ``serverContent`` of a message."""
        for query in map(hash, _queries_in(content)):
            if query in self._counted:
                continue
            if query in self._new or len(self._new) + len(self._counted) < _QUERIES_MAX:
                self._new.add(query)
            else:
                self._more += 1

    def take(self) -> Usage:
        """The queries that were not charged yet; they are charged by this."""
        found = min(len(self._new) + self._more, TOKENS_PER_RESPONSE_MAX)
        self._counted |= self._new
        self._new, self._more = set(), 0
        return Usage(grounding_queries=found)

    def begin_turn(self) -> None:
        """Forget what was counted: in the new turn the same query counts again."""
        self._counted = set()


def _queries_in(content: Mapping[str, Any]) -> Iterator[str]:
    for name in _GROUNDING:
        metadata = content.get(name)
        if isinstance(metadata, dict):
            found = [metadata.get(spelled) for spelled in _QUERIES]
            lists = [queries for queries in found if isinstance(queries, list)]
            yield from (query for queries in lists for query in queries if isinstance(query, str))
