"""What travels between gateway and accountd, as values and as bytes. Pure.

Usage goes one way, gateway to accountd, as a ZeroMQ multipart message::

    [ producer (16 bytes) | sequence (uint64, big endian) | payload (msgpack map) ]

The envelope stays readable when the payload is not, so that a bad payload can still be counted as
received and put into quarantine. A payload carries its version; unknown fields are ignored, an
unknown version is refused. What is durable, and what an account has left, is announced the other
way: ``shared.announcements``. Requests and their replies are in ``shared.requests``.

Decoding never raises anything but ``WireError``, whatever the bytes are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import msgpack
import msgspec

from shared.fields import (
    MESSAGE_BYTES_MAX,
    REQUEST_BYTES_MAX,
    TEXT_CHARS_MAX,
    VERSION,
    RejectReason,
    WireError,
    integer_field,
    shown,
    text_field,
    unpack_map,
)
from shared.usage import (
    BATCH_KINDS,
    EPOCH_MS_MAX,
    RAW_PART_CHARS_MAX,
    RAW_USAGE_CHARS_MAX,
    RESPONSES_PER_BATCH_MAX,
    TOKENS_PER_RESPONSE_MAX,
    USAGE_FIELDS,
    EndOfProducer,
    InvalidUsage,
    Kind,
    LostBatch,
    Usage,
    UsageBatch,
    UsageMessage,
)

PRODUCER_BYTES: Final = 16
HANDLE_BYTES: Final = 16  # what names a provider's handle: the beginning of its hash
HANDLES_MAX: Final = 500  # in one request; names of accounts may make it fewer
# What names the connection that may write a stored conversation: it is random.
HOLDER_BYTES: Final = 16
# Of one stored conversation: how its session was configured, and what was said in it, as text.
CONFIGURATION_BYTES_MAX: Final = 128 * 1024
ITEMS_BYTES_MAX: Final = 320 * 1024
CONVERSATIONS_MAX: Final = 100  # in one request; their texts may make it fewer
CONVERSATIONS_OPENED_MAX: Final = 20  # in one request: the answer holds their texts, however long
ENDED_MAX: Final = 100  # recalls of which one request says how many sessions they ended
SEQUENCE_BYTES: Final = 8
SEQUENCE_MAX: Final = 2**63 - 1  # SQLite stores signed 64-bit integers
EPOCH_MAX: Final = 2**63 - 1

# The level of the protocol that an accountd understands, answered to a ping. It rises with every
# field, kind or request that an older accountd would drop or refuse. An accountd without levels
# drops searches, cache writes and the mark of shared responses; of level 2, what gateways remember
# of a ledger that was replaced by an older one.
LEVEL: Final = 3

assert CONFIGURATION_BYTES_MAX + ITEMS_BYTES_MAX + MESSAGE_BYTES_MAX <= REQUEST_BYTES_MAX


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A received usage message before its payload is looked at."""

    producer: bytes
    sequence: int
    payload: bytes


_KIND_BY_TYPE: Final[Mapping[type, Kind]] = {
    InvalidUsage: Kind.INVALID, EndOfProducer: Kind.END, LostBatch: Kind.LOST,
}  # fmt: skip
_FIELDS_BY_TYPE: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(f.name for f in fields(kind)) for kind in _KIND_BY_TYPE
}
_ENCODER: Final = msgspec.msgpack.Encoder()
_BATCHES: Final = msgspec.msgpack.Decoder(UsageBatch)
# After the byte that says how many fields there are: the version, which ``encode_usage`` writes
# first. msgspec would take a payload without one.
_VERSION_FIRST: Final = bytes(msgpack.packb("v") + msgpack.packb(VERSION))


# --- usage ---------------------------------------------------------------------------------------


def encode_envelope(producer: bytes, sequence: int, payload: bytes) -> list[bytes]:
    """The frames of a usage message. ``sequence`` counts from 1 without holes."""
    assert len(producer) == PRODUCER_BYTES
    assert 1 <= sequence <= SEQUENCE_MAX
    assert len(payload) + PRODUCER_BYTES + SEQUENCE_BYTES <= MESSAGE_BYTES_MAX
    return [producer, sequence.to_bytes(SEQUENCE_BYTES, "big"), payload]


def decode_envelope(frames: Sequence[bytes]) -> Envelope:
    """Read the frames of a usage message; raises ``WireError`` when it is not one."""
    if len(frames) != 3:
        raise WireError(RejectReason.UNREADABLE, f"found {len(frames)} frames, expected 3")
    producer, sequence_bytes, payload = frames
    sequence = int.from_bytes(sequence_bytes, "big")
    if len(producer) != PRODUCER_BYTES:
        detail = f"producer of {len(producer)} bytes, expected {PRODUCER_BYTES}"
    elif len(sequence_bytes) != SEQUENCE_BYTES:
        detail = f"sequence of {len(sequence_bytes)} bytes, expected {SEQUENCE_BYTES}"
    elif not 1 <= sequence <= SEQUENCE_MAX:
        detail = f"sequence {sequence} is out of range"
    else:
        return Envelope(producer, sequence, payload)
    raise WireError(RejectReason.UNREADABLE, detail)


def encode_usage(message: UsageMessage) -> bytes:
    """The payload for ``message``; fields that say nothing (a count of 0) are left out."""
    if isinstance(message, UsageBatch):
        return _ENCODER.encode(message)
    body: dict[str, Any] = {"v": VERSION}
    for name in _FIELDS_BY_TYPE[type(message)]:
        body[name] = getattr(message, name)
    body["kind"] = _KIND_BY_TYPE[type(message)]
    packed = msgpack.packb(body)
    assert isinstance(packed, bytes)
    return packed


def decode_usage(payload: bytes) -> UsageMessage:
    """Read and check a payload; raises ``WireError`` with the reason when it cannot be applied.

    Nearly every payload is a batch without optional fields, which msgspec reads and checks in a
    third of the time. All others, and all that are wrong, are read field by field.
    """
    if payload.startswith(_VERSION_FIRST, 1):
        try:
            batch = _BATCHES.decode(payload)
        except (ValueError, RecursionError):
            return decode_by_field(payload)
        if batch.kind in BATCH_KINDS and _is_plain(batch):
            return batch
    return decode_by_field(payload)


def _is_plain(batch: UsageBatch) -> bool:
    """Whether there is nothing to check that its types do not say."""
    usage = batch.usage
    return usage.total_tokens >= usage.input_tokens + usage.output_tokens and not (
        batch.raw or batch.doubtful_kind or batch.is_shared
    )


def decode_by_field(payload: bytes) -> UsageMessage:
    """The same as ``decode_usage``, slowly: every field is looked at by itself."""
    body = unpack_map(payload)
    kind = text_field(body, "kind")
    if kind == Kind.END:
        return EndOfProducer()
    if kind == Kind.LOST:
        return LostBatch()
    if kind == Kind.INVALID:
        return InvalidUsage(
            **{n: text_field(body, n) for n in ("account_id", "session_id", "provider", "model")},
            response_id=text_field(body, "response_id"),
            detail=text_field(body, "detail", chars_max=1024),
            raw=text_field(body, "raw", chars_max=RAW_USAGE_CHARS_MAX),
            metered_at_ms=integer_field(body, "metered_at_ms", 0, EPOCH_MS_MAX),
        )
    if kind not in BATCH_KINDS:
        raise WireError(RejectReason.BAD_FIELD, "kind: found one that is unknown here")
    responses = integer_field(body, "responses", 1, RESPONSES_PER_BATCH_MAX)
    response_ids = _texts(body, "response_ids")
    return UsageBatch(
        **{n: text_field(body, n) for n in ("account_id", "session_id", "provider", "model")},
        kind=kind,
        responses=responses,
        response_ids=response_ids,
        usage=_usage(body, responses),
        metered_at_ms=integer_field(body, "metered_at_ms", 0, EPOCH_MS_MAX),
        raw=_texts(body, "raw", chars_max=RAW_PART_CHARS_MAX) if "raw" in body else (),
        doubtful_kind=_doubtful_kind(body, kind),
        is_shared=_is_shared(body, responses, response_ids) if "is_shared" in body else False,
        key_hash=text_field(body, "key_hash") if "key_hash" in body else "",
    )


def _is_shared(body: Mapping[str, Any], responses: int, response_ids: tuple[str, ...]) -> bool:
    """Whether another socket may report the same one response."""
    is_shared = body["is_shared"]
    if type(is_shared) is not bool:
        found = shown(is_shared)
        raise WireError(RejectReason.BAD_FIELD, f"is_shared: found {found}, expected a boolean")
    if is_shared and not (responses == len(response_ids) == 1 and response_ids[0]):
        detail = "is_shared: found several responses, or none with a name, expected one"
        raise WireError(RejectReason.BAD_FIELD, detail)
    return is_shared


def _doubtful_kind(body: Mapping[str, Any], kind: str) -> str:
    """The kind of a doubtful batch; from gateways that do not say it, a response."""
    if body.get("doubtful_kind", "") == "":
        return ""
    found = text_field(body, "doubtful_kind")
    if kind != Kind.DOUBTFUL or found not in BATCH_KINDS - {Kind.DOUBTFUL}:
        raise WireError(RejectReason.BAD_FIELD, "doubtful_kind: found one that is unknown here")
    return found


def _usage(body: Mapping[str, Any], responses: int) -> Usage:
    counts = body.get("usage")
    if not isinstance(counts, dict):
        raise WireError(RejectReason.BAD_FIELD, f"usage: found {shown(counts)}, expected a map")
    tokens_max = responses * TOKENS_PER_RESPONSE_MAX
    usage = Usage(**{n: _count(counts, n, tokens_max) for n in USAGE_FIELDS if n in counts})
    if usage.total_tokens < usage.input_tokens + usage.output_tokens:
        raise WireError(RejectReason.ABSURD_COUNT, "total_tokens is less than input plus output")
    return usage


def _count(counts: Mapping[str, Any], name: str, tokens_max: int) -> int:
    value = counts[name]
    # bool is a subclass of int: True would be charged as one token.
    if type(value) is not int or not 0 <= value <= tokens_max:
        raise WireError(
            RejectReason.ABSURD_COUNT,
            f"{name}: found {shown(value)}, expected an integer from 0 to {tokens_max}",
        )
    return value


def _texts(body: Mapping[str, Any], name: str, chars_max: int = TEXT_CHARS_MAX) -> tuple[str, ...]:
    values = body.get(name)
    if not isinstance(values, list) or len(values) > RESPONSES_PER_BATCH_MAX:
        raise WireError(RejectReason.BAD_FIELD, f"{name}: found {shown(values)}, expected a list")
    return tuple(text_field({name: value}, name, chars_max) for value in values)
