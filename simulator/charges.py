"""The charge that a correct meter computes from a usage object. Pure.

The rules are the providers' own arithmetic: cached tokens are part of the input, thoughts are
output, the answer of a tool is input. Totals are ignored, since they are inconsistent. A usage with
a count that is not an integer, negative or too large has no charge (None): the gateway sends it to
quarantine.
"""

from collections.abc import Iterable
from typing import Any, Final

from simulator.openai_events import Event

TOKENS_MAX: Final = 10_000_000  # in one response
SECONDS_MAX: Final = 86_400  # of audio, in one session

Charge = dict[str, int]


def charge(into: int, out: int, *, billed_ms: int = 0, **units: int) -> Charge:
    """A charge; ``units`` are counts that are billed beside tokens, e.g. ``web_searches``, or
    tokens with a price of their own, e.g. ``input_cache_write_tokens``. Zero counts are left out.
    """
    return {
        "input_tokens": into,
        "output_tokens": out,
        "total_tokens": into + out,
        "billed_ms": billed_ms,
        **{name: count for name, count in units.items() if count},
    }


def for_response(
    usage: Event | None, *, already_ms: int = 0, tools: Event | None = None
) -> Charge | None:
    """For a response of the OpenAI family, or a transcription billed by tokens.

    ``tools`` is the Responses API's ``tool_usage``, a field beside ``usage``. ``already_ms`` is the
    part of xAI's running total of audio that was charged before.
    """
    counts = [(usage or {}).get(name) or 0 for name in ("input_tokens", "output_tokens")]
    if not _are_sane(usage, counts):
        return None
    # Only xAI sends this: the total of the conversation so far.
    billable = (usage or {}).get("billable_audio_seconds") or 0
    details = (usage or {}).get("input_tokens_details") or {}
    return charge(
        *counts,
        billed_ms=max(0, round(billable * 1000) - already_ms),
        input_cache_write_tokens=details.get("cache_write_tokens") or 0,
        web_searches=(tools or {}).get("web_search", {}).get("num_requests", 0),
    )


def for_transcription(usage: Event) -> Charge | None:
    """For a transcription: by duration or by tokens."""
    if usage.get("type") == "duration":
        return charge(0, 0, billed_ms=round(usage["seconds"] * 1000))
    return for_response(usage)


def for_turn(usage: Event | None, *, queries: Iterable[str] = ()) -> Charge | None:
    """For a turn of Gemini, with the field names of the developer API or Vertex AI.

    A query that stands in ``queries`` twice is charged once.
    """
    found = usage or {}
    out = "responseTokenCount" if "responseTokenCount" in found else "candidatesTokenCount"
    names = ("promptTokenCount", "toolUsePromptTokenCount", out, "thoughtsTokenCount")
    prompt, tool, answer, thoughts = counts = [found.get(name) or 0 for name in names]
    if not _are_sane(usage, counts):
        return None
    return charge(prompt + tool, answer + thoughts, grounding_queries=len(set(queries)))


def for_words(heard_ms: int) -> Charge:
    """For audio of a Gemini transcriber, which reports no usage: 25 tokens a second."""
    tokens = heard_ms * 25 // 1000
    return charge(tokens, 0, billed_ms=heard_ms)


def for_seconds(usage: Event | None, *, already_ms: int) -> Charge | None:
    """For a total of seconds (GPT-Live): what exceeds the ``already_ms`` that were charged."""
    seconds = (usage or {}).get("seconds") or 0
    if type(seconds) not in (int, float) or not 0 <= seconds <= SECONDS_MAX:
        return None
    return charge(0, 0, billed_ms=max(0, round(seconds * 1000) - already_ms))


def _are_sane(usage: Event | None, counts: list[Any]) -> bool:
    """Whether the counts, and every other integer in the usage, are within bounds."""
    others = [x for x in (usage or {}).values() if not isinstance(x, dict | list)]
    return all(type(x) is int and 0 <= x <= TOKENS_MAX for x in counts) and all(
        x is None or isinstance(x, str | float) or (type(x) is int and 0 <= x <= TOKENS_MAX)
        for x in others
    )
