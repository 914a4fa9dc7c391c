"""Messages in msgpack maps: how long they may be, and checked access to what is in them. Pure.

What travels between the daemons is such a map, with its version: usage (``shared.wire``),
announcements, requests. It imports no more than ``accountctl`` needs, which is started anew for
every command.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgpack

VERSION: Final = 1
TEXT_CHARS_MAX: Final = 256  # of a field, where nothing else is said

# A batch is a few hundred bytes. 64 KiB leaves room for a quarantined usage object; above it ZeroMQ
# would cut the connection, and a resend would cut it again for ever.
MESSAGE_BYTES_MAX: Final = 64 * 1024
# A request may hold a whole conversation; all others are as short as usage.
REQUEST_BYTES_MAX: Final = 512 * 1024


class RejectReason(StrEnum):
    """Why usage could not be applied; the ``reason`` column of ``rejected_usage``."""

    UNREADABLE = "unreadable"  # not a msgpack map
    UNKNOWN_VERSION = "unknown_version"
    BAD_FIELD = "bad_field"  # a field is missing, of the wrong type or out of bounds
    ABSURD_COUNT = "absurd_count"  # token counts that no provider can mean
    UNREADABLE_USAGE = "unreadable_usage"  # the provider's own usage object made no sense
    UNKNOWN_ACCOUNT = "unknown_account"
    OUT_OF_RANGE = "out_of_range"  # the balance would leave the 64-bit range
    CONFLICT = "conflict"  # a sequence seen before, with other content (a cloned machine)
    LOST = "lost"  # it was durable, accountd lost it, and no gateway holds it any more
    DOUBTFUL = "doubtful"  # the spool was damaged: it may have been charged already


class WireError(Exception):
    """A message could not be read; ``reason`` says why in one word, the text in one line."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def unpack_map(payload: bytes) -> dict[str, Any]:
    """The map in ``payload``, of our version; raises ``WireError``."""
    try:
        body = msgpack.unpackb(payload, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as exc:
        raise WireError(RejectReason.UNREADABLE, f"not msgpack: {type(exc).__name__}") from exc
    if not isinstance(body, dict):
        raise WireError(RejectReason.UNREADABLE, f"found {shown(body)}, expected a map")
    version = body.get("v")
    if type(version) is not int or version != VERSION:
        raise WireError(
            RejectReason.UNKNOWN_VERSION, f"version {shown(version)}, expected {VERSION}"
        )
    return body


def text_field(body: Mapping[str, Any], name: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text ``name``, at most ``chars_max`` characters; raises ``WireError``."""
    value = body.get(name)
    if not isinstance(value, str) or len(value) > chars_max:
        raise WireError(
            RejectReason.BAD_FIELD,
            f"{name}: found {shown(value)}, expected at most {chars_max} characters",
        )
    return value


def integer_field(body: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """The integer ``name``, both bounds included; raises ``WireError``."""
    value = body.get(name)
    if type(value) is not int or not low <= value <= high:
        raise WireError(
            RejectReason.BAD_FIELD,
            f"{name}: found {shown(value)}, expected an integer from {low} to {high}",
        )
    return value


def shown(value: object) -> str:
    """A value for an error line: its type, and its text when that is short and harmless."""
    if value is None:
        return "nothing"
    if isinstance(value, (bool, int, float)):
        return repr(value)[:40]
    return f"a {type(value).__name__}"
