"""How the usage objects of the OpenAI family are read: in tokens, or in seconds. Pure."""

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Any, Final, NamedTuple

from gateway.metering.parsing import (
    Known,
    UnreadableUsageError,
    check_total,
    read_count,
    read_map,
    read_milliseconds,
)
from shared.usage import Usage


class DetailsObject(StrEnum):
    """The object inside a usage object in which a count stands."""

    INPUT = auto()  # input_token_details
    OUTPUT = auto()  # output_token_details
    CACHED = auto()  # cached_tokens_details, inside input_token_details


class Count(NamedTuple):
    """A count: the field of ``Usage`` that it becomes, its place, and the provider's name of it."""

    field: str
    place: DetailsObject
    name: str


# All are parts of the input or of the output, and none is added to them.
COUNTS: Final = (
    Count("input_text_tokens", DetailsObject.INPUT, "text_tokens"),
    Count("input_audio_tokens", DetailsObject.INPUT, "audio_tokens"),
    Count("input_image_tokens", DetailsObject.INPUT, "image_tokens"),
    Count("input_cached_tokens", DetailsObject.INPUT, "cached_tokens"),
    Count("output_text_tokens", DetailsObject.OUTPUT, "text_tokens"),
    Count("output_audio_tokens", DetailsObject.OUTPUT, "audio_tokens"),
    Count("output_thought_tokens", DetailsObject.OUTPUT, "reasoning_tokens"),
    Count("input_cached_text_tokens", DetailsObject.CACHED, "text_tokens"),
    Count("input_cached_audio_tokens", DetailsObject.CACHED, "audio_tokens"),
    Count("input_cached_image_tokens", DetailsObject.CACHED, "image_tokens"),
    Count("input_cache_write_tokens", DetailsObject.INPUT, "cache_write_tokens"),
)
# The Responses API, which delegated responses come from, spells the details with one more s.
_INPUT_DETAILS: Final = ("input_token_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("output_token_details", "output_tokens_details")
_TOKENS: Final = ("total_tokens", "input_tokens", "output_tokens")
_CACHED: Final = "cached_tokens_details"
_MODALITIES: Final = ("text_tokens", "audio_tokens", "image_tokens")


def _known_in(place: DetailsObject) -> Known:
    return {count.name: {} for count in COUNTS if count.place is place}


_INPUT: Final[Known] = {**_known_in(DetailsObject.INPUT), _CACHED: _known_in(DetailsObject.CACHED)}
_OUTPUT: Final = _known_in(DetailsObject.OUTPUT)
KNOWN_TOKENS: Final[Known] = {
    **{name: {} for name in ("type", *_TOKENS)},
    **dict.fromkeys(_INPUT_DETAILS, _INPUT),
    **dict.fromkeys(_OUTPUT_DETAILS, _OUTPUT),
}
# xAI: the audio that is billed.
_BILLABLE: Final = "billable_audio_seconds"
# The highest total of a conversation, which may be resumed for days: ten days of talk.
_TOTAL_S_MAX: Final = 864_000
_WEB_SEARCH: Final = "web_search"
_REQUESTS: Final = "num_requests"
_SEARCH_CALLS: Final = ("web_search_call", "x_search_call")
_TOOL_CALLS: Final = ("file_search_call", "code_interpreter_call", "mcp_call")
NO_PIECES: Final = Usage()
KNOWN_XAI: Final[Known] = {**KNOWN_TOKENS, _BILLABLE: {}}
KNOWN_SECONDS: Final[Known] = {"type": {}, "seconds": {}}


class TokenTotals(NamedTuple):
    """Input, output and both together; ``total`` stands alone where only it was reported."""

    tokens_in: int
    tokens_out: int
    total: int


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A usage object in tokens. Raises ``UnreadableUsageError``.

    Every field is optional in the SDK's types; what is absent counts as zero. Where
    ``total_tokens`` and one of its parts are absent, the sum of that part's details stands for it;
    what is absent then is filled in (``fill_in``).
    """
    reported = read_count(usage, "total_tokens")
    tokens_in, tokens_out = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")
    into, out = _read_details(usage, _INPUT_DETAILS), _read_details(usage, _OUTPUT_DETAILS)
    if reported is None:
        tokens_in = _by_modality(into) if tokens_in is None else tokens_in
        tokens_out = _by_modality(out) if tokens_out is None else tokens_out
    totals = fill_in(reported, tokens_in=tokens_in, tokens_out=tokens_out)
    details = {
        DetailsObject.INPUT: into,
        DetailsObject.OUTPUT: out,
        DetailsObject.CACHED: read_map(into, _CACHED),
    }
    counts = {
        field: count
        for field, place, name in COUNTS
        if (count := read_count(details[place], name))  # the others are zero by themselves
    }
    return check_total(
        Usage(
            input_tokens=totals.tokens_in,
            output_tokens=totals.tokens_out,
            total_tokens=totals.total,
            **counts,
        )
    )


def fill_in(reported: int | None, *, tokens_in: int | None, tokens_out: int | None) -> TokenTotals:
    """The totals of a usage object in which some may be absent. Raises ``UnreadableUsageError``.

    What is charged is input plus output. A ``reported`` total counts only where one of them is
    absent: that one is the rest of it. Where both are, the total is all that there is.

    ========  =====  ======  ===============================
    reported  input  output  charged
    ========  =====  ======  ===============================
    any       6      3       9: 6 and 3
    10        6      absent  10: 6 and 4
    10        absent 4       10: 6 and 4
    absent    6      absent  6: 6 and 0
    10        absent absent  10, of which nobody knows which
    3         6      absent  unreadable
    ========  =====  ======  ===============================
    """
    if tokens_in is None and tokens_out is None:
        return TokenTotals(0, 0, reported or 0)
    if tokens_in is None:
        tokens_in = _rest(reported, tokens_out or 0)
    if tokens_out is None:
        tokens_out = _rest(reported, tokens_in)
    return TokenTotals(tokens_in, tokens_out, tokens_in + tokens_out)


def tells_tools(holder: object) -> bool:
    """Whether a response says which tools the provider ran; it may do so without a usage."""
    return isinstance(holder, dict) and bool(holder.get("tool_usage"))


def read_pieces(holder: object, *, counts_calls: bool) -> Usage:
    """The calls of tools that the provider ran. Raises ``UnreadableUsageError``.

    ``tool_usage`` beside ``usage`` counts them by tool (``{"web_search": {"num_requests": 3}}``).
    Where it is absent and the provider bills each call (``counts_calls``: xAI), the items of the
    output that are such calls are counted. Calls of the client's own functions are not among them.
    """
    if not isinstance(holder, dict):
        return NO_PIECES
    told = read_map(holder, "tool_usage")
    if told:
        searches = read_count(read_map(told, _WEB_SEARCH), _REQUESTS) or 0
        objects = {name for name, counts in told.items() if isinstance(counts, dict)}
        others = objects - {_WEB_SEARCH}
        calls = sum(read_count(read_map(told, name), _REQUESTS) or 0 for name in others)
        return Usage(web_searches=searches, tool_calls=calls)
    output = holder.get("output")
    if not counts_calls or not isinstance(output, list):
        return NO_PIECES
    kinds = [str(item.get("type")) for item in output if isinstance(item, dict)]
    searches = sum(kind in _SEARCH_CALLS for kind in kinds)
    return Usage(web_searches=searches, tool_calls=sum(kind in _TOOL_CALLS for kind in kinds))


def other_units_of_tools(holder: object) -> dict[str, Any]:
    """What ``tool_usage`` counts in other units than requests, without zeros. It has no column, so
    it is kept as it was reported; the tokens of images have a row of their own (``images``).
    """
    told = holder.get("tool_usage") if isinstance(holder, dict) else None
    if not isinstance(told, dict):
        return {}
    others = {
        name: {unit: count for unit, count in counts.items() if unit != _REQUESTS}
        if isinstance(counts, dict)
        else counts
        for name, counts in told.items()
    }
    found = {name: counts for name, counts in others.items() if _counts_any(counts)}
    return {"tool_usage": found} if found else {}


def _counts_any(value: object) -> bool:
    return any(map(_counts_any, value.values())) if isinstance(value, dict) else bool(value)


def read_billable_ms(usage: Any) -> int | None:
    """The seconds of audio that xAI bills, in milliseconds; None where they are absent.

    Raises ``UnreadableUsageError``.
    """
    if not isinstance(usage, dict) or usage.get(_BILLABLE) is None:
        return None
    return read_milliseconds(usage, _BILLABLE, most_s=_TOTAL_S_MAX)


def counts_nothing(usage: object) -> bool:
    """Whether ``usage`` is absent, or an object without a token, in its details as well."""
    if not isinstance(usage, dict):
        return usage is None
    try:
        return not read_usage(usage).total_tokens
    except UnreadableUsageError:
        return False


def is_by_duration(usage: object) -> bool:
    """Whether a transcription's usage is in seconds: by its ``type``, or because it has
    ``billed_seconds`` and no tokens.
    """
    if not isinstance(usage, dict):
        return False
    return usage.get("type") == "duration" or (
        "seconds" in usage and all(usage.get(name) is None for name in _TOKENS)
    )


def read_transcription(usage: Mapping[str, Any]) -> Usage:
    """A transcription's usage, in seconds or in tokens. Raises ``UnreadableUsageError``.

    A usage with neither is unreadable: words were heard, so it cannot mean that nothing was used.
    """
    if is_by_duration(usage):
        return Usage(billed_ms=read_milliseconds(usage, "seconds"))
    found = read_usage(usage)
    if not found.total_tokens and all(usage.get(name) is None for name in _TOKENS):
        raise UnreadableUsageError("found neither tokens nor seconds")
    return found


def _read_details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """The details under the first of ``names`` that holds any."""
    found = [details for name in names if (details := read_map(usage, name))]
    return found[0] if found else {}


def _by_modality(details: Mapping[str, Any]) -> int | None:
    """The sum over the modalities, None where there are none. Cached tokens and those of reasoning
    are part of it.
    """
    counts = [count for name in _MODALITIES if (count := read_count(details, name)) is not None]
    return sum(counts) if counts else None


def _rest(total: int | None, part: int) -> int:
    """What is left of ``total`` without ``part``; nothing where no total was reported."""
    if total is None:
        return 0
    if total < part:
        raise UnreadableUsageError(f"total_tokens {total} is less than its part {part}")
    return total - part
