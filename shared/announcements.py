"""What accountd announces on PUB, as values and as bytes. Pure.

Four kinds, each under a topic of its own, so that a gateway hears what it needs::

    [ "W" + producer (17 bytes) | watermark (msgpack map) ]
    [ "B" + account id, or name of a key's purse + "\\0" + balance (msgpack map) ]
    [ "S" | new holder of a stored conversation (msgpack map) ]
    [ "R" | recall (msgpack map) ]

A balance is a single frame: there may be one for every account in every commit, and each frame
costs accountd half a microsecond for every gateway that listens.

A commit's balances are announced before its watermarks, on the same socket: whoever has heard that
a message is durable has heard what it left, or missed that, and the next balance makes up for it.
Decoding never raises anything but ``WireError``, whatever the bytes are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgpack
from msgspec import Struct
from msgspec.msgpack import Encoder

from shared.fields import VERSION, RejectReason, WireError, integer_field, text_field, unpack_map
from shared.usage import ID_CHARS_MAX
from shared.wire import EPOCH_MAX, HOLDER_BYTES, PRODUCER_BYTES, SEQUENCE_MAX

WATERMARK_TOPIC: Final = b"W"
BALANCE_TOPIC: Final = b"B"
# One for all: a connection takes over from another one rarely, and every gateway may have that one.
HOLDER_TOPIC: Final = b"S"
# One for all: an operator takes something back rarely, and any gateway may have allowed it.
RECALL_TOPIC: Final = b"R"
# Ends the account id, which is printable: the topic of one account begins no other's.
TOPIC_END: Final = b"\0"
# Begins the name of a key's purse. It is not printable, so no account's name begins so.
_KEY_PURSE: Final = "\1"
CREDITS_MIN: Final = -(2**63)  # SQLite stores signed 64-bit integers
CREDITS_MAX: Final = 2**63 - 1
GATEWAYS_MAX: Final = 1_000_000
# Half the cost of a new one for every announcement. Announcements are made on one thread.
_PACKER: Final = msgpack.Packer()
# Sequences applied beyond a watermark that one balance names. More wait for the watermark.
AHEAD_MAX: Final = 1_000
_ENCODER: Final = Encoder()  # an eighth of msgpack's time for a struct


@dataclass(frozen=True, slots=True)
class Watermark:
    """Every message of ``producer`` up to ``applied_through`` is durable.

    ``epoch`` names the boot of accountd that says so; a later boot has a higher one.
    """

    producer: bytes
    epoch: int
    applied_through: int


class Applied(Struct, frozen=True, gc=False):
    """How far a producer's messages were applied: all up to ``through`` and those in ``ahead``."""

    through: int
    ahead: frozenset[int] = frozenset()

    def __contains__(self, sequence: int) -> bool:
        """Whether the message with this number was applied."""
        return sequence <= self.through or sequence in self.ahead


@dataclass(frozen=True, slots=True)
class NewHolder:
    """Another connection than before may write the stored conversation of a session."""

    account_id: str
    session_id: str
    holder: bytes


@dataclass(frozen=True, slots=True)
class Recall:
    """What accountd takes back of what gateways allowed: the sessions of an account, of a key and
    of a name end, as far as these are given. One at least is; an empty one stands for any.

    ``number`` is above those of all earlier recalls. With ``keeps_sessions`` live sessions go on.
    """

    number: int
    cause: str
    account_id: str = ""
    key_hash: str = ""
    session_id: str = ""
    keeps_sessions: bool = False

    def names(self, account_id: str, key_hash: str, session_id: str) -> bool:
        """Whether it is about this session."""
        return (
            self.account_id in ("", account_id)
            and self.key_hash in ("", key_hash)
            and self.session_id in ("", session_id)
        )


class RecallCause(StrEnum):
    """Why something is taken back. A gateway takes a cause that it does not know for the last."""

    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"  # known to gateways by themselves, never announced
    ACCOUNT_DISABLED = "account_disabled"
    SESSION_ENDED = "session_ended"
    LIMITS_CHANGED = "limits_changed"  # of a key or an account; live sessions go on


class AnnouncedBalance(Struct, frozen=True, gc=False):
    """What an account has left, in credits, as committed.

    Of two from one boot (``epoch``) the one with the higher ``revision`` is newer. ``gateways`` is
    how many listen for this account, and may spend from it. ``applied`` names what was applied of
    producers that this balance is news of. ``rates`` is the version of the rate card.
    """

    account_id: str
    epoch: int
    revision: int
    topup: int
    tokens: int
    gateways: int = 1
    rates: str = ""
    applied: Mapping[bytes, Applied] = MappingProxyType({})

    @property
    def credits(self) -> int:
        """Both buckets together; negative in debt."""
        return self.topup + self.tokens


class _BalanceBody(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="v", tag=VERSION):
    """The map of a balance's announcement."""

    epoch: int
    revision: int
    topup: int
    tokens: int
    gateways: int
    rates: str
    applied: dict[bytes, list[int]] = {}


# --- watermarks ----------------------------------------------------------------------------------


def watermark_topic(producer: bytes) -> bytes:
    """What a gateway subscribes to, to hear what of ``producer`` is durable."""
    return WATERMARK_TOPIC + producer


def encode_watermark(watermark: Watermark) -> list[bytes]:
    """The frames of an announcement."""
    body = {
        "v": VERSION, "epoch": watermark.epoch, "applied_through": watermark.applied_through,
    }  # fmt: skip
    return [watermark_topic(watermark.producer), _packed(body)]


def decode_watermark(frames: Sequence[bytes]) -> Watermark:
    """Read the frames of an announcement; raises ``WireError`` when it is not one."""
    if len(frames) != 2 or len(frames[0]) != len(WATERMARK_TOPIC) + PRODUCER_BYTES:
        raise WireError(RejectReason.UNREADABLE, "not the frames of a watermark")
    topic, payload = frames
    if not topic.startswith(WATERMARK_TOPIC):
        raise WireError(RejectReason.UNREADABLE, "not the topic of a watermark")
    body = unpack_map(payload)
    return Watermark(
        producer=topic.removeprefix(WATERMARK_TOPIC),
        epoch=integer_field(body, "epoch", 1, EPOCH_MAX),
        applied_through=integer_field(body, "applied_through", 0, SEQUENCE_MAX),
    )


# --- balances ------------------------------------------------------------------------------------


def balance_topic(account_id: str) -> bytes:
    """What a gateway subscribes to, to hear what the account has left."""
    return BALANCE_TOPIC + account_id.encode() + TOPIC_END


def account_of_topic(topic: bytes) -> str | None:
    """The account of a balance's topic; None for any other topic."""
    if not topic.startswith(BALANCE_TOPIC) or topic.find(TOPIC_END) != len(topic) - 1:
        return None
    try:
        return topic[len(BALANCE_TOPIC) : -len(TOPIC_END)].decode()
    except UnicodeDecodeError:
        return None


def purse_of_key(key_hash: str) -> str:
    """The name under which it is announced what a key may still spend, as if it were an account."""
    return _KEY_PURSE + key_hash


def key_of_purse(name: str) -> str | None:
    """The hash of the key whose spending is announced under ``name``; None: it is an account's."""
    return name[len(_KEY_PURSE) :] if name.startswith(_KEY_PURSE) else None


def topic_of(frames: Sequence[bytes]) -> bytes:
    """The topic of an announcement, as it was subscribed to."""
    first = frames[0]
    if first.startswith(BALANCE_TOPIC):
        return first[: first.find(TOPIC_END) + 1]
    return first


def encode_balance(balance: AnnouncedBalance) -> list[bytes]:
    """The frames of an announcement."""
    applied = {
        producer: [applied.through, *applied.ahead] if applied.ahead else [applied.through]
        for producer, applied in balance.applied.items()
    }
    body = _BalanceBody(
        balance.epoch, balance.revision, balance.topup, balance.tokens, balance.gateways,
        balance.rates, applied,
    )  # fmt: skip
    return [balance_topic(balance.account_id) + _ENCODER.encode(body)]


def decode_balance(frames: Sequence[bytes]) -> AnnouncedBalance:
    """Read the frames of an announcement; raises ``WireError`` when it is not one."""
    topic = topic_of(frames) if len(frames) == 1 else b""
    account_id = account_of_topic(topic)
    if account_id is None:
        raise WireError(RejectReason.UNREADABLE, "not the frame of a balance")
    body = unpack_map(frames[0][len(topic) :])
    return AnnouncedBalance(
        account_id=account_id,
        epoch=integer_field(body, "epoch", 1, EPOCH_MAX),
        revision=integer_field(body, "revision", 1, EPOCH_MAX),
        topup=integer_field(body, "topup", CREDITS_MIN, CREDITS_MAX),
        tokens=integer_field(body, "tokens", CREDITS_MIN, CREDITS_MAX),
        gateways=integer_field(body, "gateways", 1, GATEWAYS_MAX),
        rates=text_field(body, "rates", ID_CHARS_MAX),
        applied=_applied(body.get("applied", {})),
    )


def _applied(found: object) -> dict[bytes, Applied]:
    if not isinstance(found, dict):
        raise WireError(RejectReason.BAD_FIELD, "applied: expected a map")
    applied = {}
    for producer, numbers in found.items():
        match numbers:
            case [int(through), *ahead] if (
                isinstance(producer, bytes)
                and len(producer) == PRODUCER_BYTES
                and len(ahead) <= AHEAD_MAX
                and all(type(n) is int and 0 <= n <= SEQUENCE_MAX for n in numbers)
            ):
                applied[producer] = Applied(through, frozenset(ahead))
            case _:
                raise WireError(RejectReason.BAD_FIELD, "applied: expected producers and numbers")
    return applied


# --- holders --------------------------------------------------------------------------------------


def encode_new_holder(change: NewHolder) -> list[bytes]:
    """The frames of an announcement."""
    body = {
        "v": VERSION, "account_id": change.account_id, "session_id": change.session_id,
        "holder": change.holder,
    }  # fmt: skip
    return [HOLDER_TOPIC, _packed(body)]


def decode_new_holder(frames: Sequence[bytes]) -> NewHolder:
    """Read the frames of an announcement; raises ``WireError`` when it is not one."""
    if len(frames) != 2 or frames[0] != HOLDER_TOPIC:
        raise WireError(RejectReason.UNREADABLE, "not the frames of a new holder")
    body = unpack_map(frames[1])
    holder = body.get("holder")
    if not isinstance(holder, bytes) or len(holder) != HOLDER_BYTES:
        raise WireError(RejectReason.BAD_FIELD, f"holder: expected {HOLDER_BYTES} bytes")
    return NewHolder(text_field(body, "account_id"), text_field(body, "session_id"), holder)


# --- recalls --------------------------------------------------------------------------------------


def encode_recall(recall: Recall) -> list[bytes]:
    """The frames of an announcement."""
    body = {
        "v": VERSION, "number": recall.number, "cause": recall.cause,
        "account_id": recall.account_id, "key_hash": recall.key_hash,
        "session_id": recall.session_id, "keeps_sessions": recall.keeps_sessions,
    }  # fmt: skip
    return [RECALL_TOPIC, _packed(body)]


def decode_recall(frames: Sequence[bytes]) -> Recall:
    """Read the frames of an announcement; raises ``WireError`` when it is not one."""
    if len(frames) != 2 or frames[0] != RECALL_TOPIC:
        raise WireError(RejectReason.UNREADABLE, "not the frames of a recall")
    body = unpack_map(frames[1])
    if not any(body.get(name) for name in ("account_id", "key_hash", "session_id")):
        raise WireError(RejectReason.BAD_FIELD, "found no name: it would be about every session")
    return Recall(
        number=integer_field(body, "number", 1, EPOCH_MAX),
        cause=text_field(body, "cause"),
        account_id=text_field(body, "account_id"),
        key_hash=text_field(body, "key_hash"),
        session_id=text_field(body, "session_id"),
        keeps_sessions=body.get("keeps_sessions") is True,
    )


def _packed(body: Mapping[str, Any]) -> bytes:
    packed = _PACKER.pack(body)
    assert isinstance(packed, bytes)
    return packed
