"""How the usage objects of the OpenAI family are read: in tokens, or in seconds. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.metering.reading import (
    Known,
    UnreadableUsageError,
    check_total,
    read_count,
    read_map,
    read_milliseconds,
)
from shared.usage import Usage

# The Responses API, which delegated responses come from, spells the details with one more s.
_INPUT_DETAILS: Final = ("input_token_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("output_token_details", "output_tokens_details")
_TOKENS: Final = ("total_tokens", "input_tokens", "output_tokens")
_CACHED: Final = "cached_tokens_details"  # inside the input's details
_MODALITIES: Final[Known] = {"text_tokens": {}, "audio_tokens": {}, "image_tokens": {}}
_INPUT: Final[Known] = {
    **_MODALITIES, "cached_tokens": {}, _CACHED: _MODALITIES, "cache_write_tokens": {},
}  # fmt: skip
_OUTPUT: Final[Known] = {"text_tokens": {}, "audio_tokens": {}, "reasoning_tokens": {}}
KNOWN_TOKENS: Final[Known] = {
    **{name: {} for name in ("type", *_TOKENS)},
    **dict.fromkeys(_INPUT_DETAILS, _INPUT),
    **dict.fromkeys(_OUTPUT_DETAILS, _OUTPUT),
}
# xAI: the audio that is billed.
_BILLABLE: Final = "billable_audio_seconds"
# A conversation is resumed for as long as the provider keeps it: ten days of talk.
_TOTAL_S_MAX: Final = 864_000
_WEB_SEARCH: Final = "web_search"
_REQUESTS: Final = "num_requests"
_SEARCH_CALLS: Final = ("web_search_call", "x_search_call")
_TOOL_CALLS: Final = ("file_search_call", "code_interpreter_call", "mcp_call")
NO_PIECES: Final = Usage()
KNOWN_XAI: Final[Known] = {**KNOWN_TOKENS, _BILLABLE: {}}
KNOWN_SECONDS: Final[Known] = {"type": {}, "seconds": {}}


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A usage object in tokens. Raises ``UnreadableUsageError``.

    Every field is optional in the SDK's types; what is absent counts as zero. Input plus output is
    charged; only where one of them is absent the reported total fills in, or where that is absent,
    too, what the details say.
    """
    reported = read_count(usage, "total_tokens")
    tokens_in, tokens_out = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")
    into, out = _read_details(usage, _INPUT_DETAILS), _read_details(usage, _OUTPUT_DETAILS)
    if reported is None:
        tokens_in = _by_modality(into) if tokens_in is None else tokens_in
        tokens_out = _by_modality(out) if tokens_out is None else tokens_out
    if reported is not None and tokens_in is None and tokens_out is not None:
        tokens_in = _rest(reported, tokens_out)
    if reported is not None and tokens_out is None and tokens_in is not None:
        tokens_out = _rest(reported, tokens_in)
    if tokens_in is None and tokens_out is None:
        total = reported or 0
    else:
        total = (tokens_in or 0) + (tokens_out or 0)
    cached = read_map(into, _CACHED)
    return check_total(
        Usage(
            input_tokens=tokens_in or 0,
            output_tokens=tokens_out or 0,
            total_tokens=total,
            input_text_tokens=read_count(into, "text_tokens") or 0,
            input_audio_tokens=read_count(into, "audio_tokens") or 0,
            input_image_tokens=read_count(into, "image_tokens") or 0,
            input_cached_tokens=read_count(into, "cached_tokens") or 0,
            output_text_tokens=read_count(out, "text_tokens") or 0,
            output_audio_tokens=read_count(out, "audio_tokens") or 0,
            output_thought_tokens=read_count(out, "reasoning_tokens") or 0,
            input_cached_text_tokens=read_count(cached, "text_tokens") or 0,
            input_cached_audio_tokens=read_count(cached, "audio_tokens") or 0,
            input_cached_image_tokens=read_count(cached, "image_tokens") or 0,
            input_cache_write_tokens=read_count(into, "cache_write_tokens") or 0,
        )
    )


def tells_tools(holder: object) -> bool:
    """Whether a response counts the tools that the provider ran, with or without a usage."""
    return isinstance(holder, dict) and bool(holder.get("tool_usage"))


def read_pieces(holder: object, *, counts_calls: bool) -> Usage:
    """What a response tells of tools that the provider ran. Raises ``UnreadableUsageError``.

    ``tool_usage`` beside ``usage`` counts requests by tool (``{"web_search": {"num_requests":
    3}}``). Where it is absent and the provider bills calls by the piece (``counts_calls``: xAI),
    they are the calls among the output; the client's own functions are none of them.
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
    """What tools count in other units than requests. But for images (``openai_images``) no row has
    a column for them, so they are kept as they were told. Those of zero are left out.
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
    """The seconds of audio that xAI bills, in milliseconds; None when it does not say.

    Raises ``UnreadableUsageError``.
    """
    if not isinstance(usage, dict) or usage.get(_BILLABLE) is None:
        return None
    return read_milliseconds(usage, _BILLABLE, most_s=_TOTAL_S_MAX)


def counts_nothing(usage: object) -> bool:
    """Whether ``usage`` is absent, or an object that counts no token, not even in its details."""
    if not isinstance(usage, dict):
        return usage is None
    try:
        return not read_usage(usage).total_tokens
    except UnreadableUsageError:
        return False


def is_by_duration(usage: object) -> bool:
    """Whether a transcription's usage is in seconds, by its ``type`` or, where it says nothing of
    tokens, by what it counts.
    """
    if not isinstance(usage, dict):
        return False
    return usage.get("type") == "duration" or (
        "seconds" in usage and all(usage.get(name) is None for name in _TOKENS)
    )


def read_transcription(usage: Mapping[str, Any]) -> Usage:
    """A transcription's usage, in seconds or in tokens. Raises ``UnreadableUsageError``.

    One that counts neither is not taken for nothing: the caller's words were heard.
    """
    if is_by_duration(usage):
        return Usage(billed_ms=read_milliseconds(usage, "seconds"))
    found = read_usage(usage)
    if not found.total_tokens and all(usage.get(name) is None for name in _TOKENS):
        raise UnreadableUsageError("found neither tokens nor seconds")
    return found


def _read_details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """The details under the first of ``names`` that there are any under."""
    found = [details for name in names if (details := read_map(usage, name))]
    return found[0] if found else {}


def _by_modality(details: Mapping[str, Any]) -> int | None:
    """The sum of the details; cached and reasoning tokens are among them already."""
    counts = [count for name in _MODALITIES if (count := read_count(details, name)) is not None]
    return sum(counts) if counts else None


def _rest(total: int, part: int) -> int:
    if total < part:
        raise UnreadableUsageError(f"total_tokens {total} is less than its part {part}")
    return total - part
