"""How meters read what a peer wrote: JSON, counts, texts, and a client's masked frames. Pure.

Nothing of a peer's is taken as it is: a count is an integer within bounds, a text is short and
printable on the wire, and an object that cannot be understood raises ``UnreadableUsageError`` or
``ValueError``, which the meters turn into a row for the quarantine.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.frames import Frame, unmask
from shared.usage import (
    ID_CHARS_MAX,
    RAW_PART_CHARS_MAX,
    RAW_USAGE_CHARS_MAX,
    TOKENS_PER_RESPONSE_MAX,
    Usage,
)

# The fields of a usage object that have a column. An object maps to its own known fields, a plain
# value to nothing: {"input_tokens": {}, "input_token_details": {"text_tokens": {}}}.
Known = Mapping[str, "Known"]


# A token is about four characters of English (OpenAI's help, "What are tokens", and Google's "Count
# tokens"). Other scripts have more bytes in a character, and fewer characters in a token.
TEXT_BYTES_PER_TOKEN: Final = 4


class UnreadableUsageError(Exception):
    """The provider's usage object cannot be charged; the text says what was found."""


def unmasked(frame: Frame) -> bytes:
    """The payload of a client's frame."""
    return unmask(frame.raw[frame.start :], frame.raw[frame.start - 4 : frame.start])


def without_prefix(prefix: re.Pattern[str], model: object) -> str:
    """A model's name without what stands before it; empty when it is no text."""
    if not isinstance(model, str):
        return ""
    found = prefix.match(model)
    return model if found is None else model[found.end() :]


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A hook for ``read_object``: refuses an object in which a name stands twice. Some readers take
    the first value of it and some the last, so the provider could read what nobody checked here.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def read_object(
    message: bytes, *, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> dict[str, Any] | None:
    """The JSON object in ``message``; None when it is another value. Raises ``ValueError``.

    ``pairs_hook`` makes each object of its pairs, or raises ``ValueError``. Without one the last
    value counts of a name that stands twice.
    """
    try:
        value = json.loads(message.removeprefix(BOM_UTF8).decode(), object_pairs_hook=pairs_hook)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value if isinstance(value, dict) else None


def read_count(counts: Mapping[str, Any], name: str) -> int | None:
    """The token count ``name``; None when it is absent or null. Raises ``UnreadableUsageError``.

    A count is a real integer from 0 to 10,000,000: booleans, floats and text are refused, and
    nothing is clamped.
    """
    value = counts.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(
            f"{name}: found {as_json(value)[:64]},"
            f" expected an integer from 0 to {TOKENS_PER_RESPONSE_MAX}"
        )
    return value


def read_milliseconds(
    values: Mapping[str, Any], name: str, *, most_s: float = TOKENS_PER_RESPONSE_MAX / 1000
) -> int:
    """The seconds ``name``, at most ``most_s``, in milliseconds, rounded half up.

    Raises ``UnreadableUsageError``.
    """
    value = values.get(name)
    # Compared before it is multiplied: an integer of 400 digits does not fit into a float.
    if type(value) in (int, float) and 0 <= (value or 0) <= most_s:
        return int((value or 0) * 1000 + 0.5)
    raise UnreadableUsageError(f"{name}: found {as_json(value)[:64]}, expected seconds")


def read_map(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object ``name``; empty when it is absent or null. Raises ``UnreadableUsageError``."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableUsageError(f"{name}: found a {type(value).__name__}, expected an object")
    return value


def rows_of(ms: int) -> Iterator[int]:
    """``ms`` in pieces that fit into a row, the longest first; none for 0."""
    while ms > 0:
        yield min(ms, TOKENS_PER_RESPONSE_MAX)
        ms -= TOKENS_PER_RESPONSE_MAX


def estimate(*, audio_in: int, audio_out: int, text_bytes_out: int = 0) -> Usage:
    """An estimate in tokens: of audio, which are counted, and of the text that the model wrote.
    Each direction is cut at half of what a row may hold.
    """
    most = TOKENS_PER_RESPONSE_MAX // 2
    audio_in, audio_out = min(audio_in, most), min(audio_out, most)
    text_out = min(-(-text_bytes_out // TEXT_BYTES_PER_TOKEN), most - audio_out)
    return Usage(
        input_tokens=audio_in,
        output_tokens=audio_out + text_out,
        total_tokens=audio_in + audio_out + text_out,
        input_audio_tokens=audio_in,
        output_text_tokens=text_out,
        output_audio_tokens=audio_out,
    )


def check_total(usage: Usage) -> Usage:
    """``usage``. Raises ``UnreadableUsageError`` where it is more than one response can use."""
    if usage.total_tokens > TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(
            f"{usage.total_tokens} tokens, expected at most {TOKENS_PER_RESPONSE_MAX}"
        )
    return usage


def unknown_parts(usage: Mapping[str, Any], known: Known) -> str:
    """JSON text of the fields of ``usage`` that are not known; empty when there are none.

    Those that count nothing (zero, null, an empty object) are left out.
    """
    found = _unknown(usage, known)
    return as_json(found)[:RAW_PART_CHARS_MAX] if found else ""


def _unknown(values: Mapping[str, Any], known: Known) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = known.get(name)
        if inner is None:
            rest = value
        else:
            rest = _unknown(value, inner) if inner and isinstance(value, dict) else None
        if rest:
            found[name] = rest
    return found


def clean_text(value: object) -> str:
    """A peer's text, fit for the wire: no lone surrogates, at most ``ID_CHARS_MAX`` characters."""
    if not isinstance(value, str):
        return ""
    return value[:ID_CHARS_MAX].encode(errors="replace").decode()


def as_json(value: object) -> str:
    """Text of a peer's value for the quarantine, at most ``RAW_USAGE_CHARS_MAX`` characters."""
    try:
        return json.dumps(value)[:RAW_USAGE_CHARS_MAX]
    except RecursionError:  # writing nests a little deeper than parsing, which has passed
        return ""
