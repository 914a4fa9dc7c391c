"""The wire decoder on hostile bytes: only its documented outcomes."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.announcements import (
    AnnouncedBalance,
    Applied,
    Watermark,
    account_of_topic,
    balance_topic,
    decode_balance,
    decode_watermark,
    encode_balance,
    encode_watermark,
    topic_of,
    watermark_topic,
)
from shared.fields import RejectReason, WireError
from shared.requests import (
    decode_reply,
    decode_request,
)
from shared.usage import (
    TOKENS_PER_RESPONSE_MAX,
    USAGE_FIELDS,
    EndOfProducer,
    InvalidUsage,
    Kind,
    Usage,
    UsageBatch,
    UsageMessage,
)
from shared.wire import (
    EPOCH_MAX,
    SEQUENCE_MAX,
    decode_by_field,
    decode_envelope,
    decode_usage,
    encode_envelope,
    encode_usage,
)

PRODUCER = bytes(range(16))
texts = st.text(max_size=20)
counts = st.integers(0, 1000)
usages = st.builds(lambda i, o, *splits: Usage(i, o, i + o, *splits), counts, counts, *[counts] * 7)
certain = st.builds(
    UsageBatch,
    texts, texts, texts, texts, st.sampled_from(["response", "estimate"]), st.integers(1, 5),
    st.lists(texts, max_size=5).map(tuple), usages, st.integers(0, 2**42),
)  # fmt: skip
shared = certain.map(lambda b: replace(b, responses=1, response_ids=("r",), is_shared=True))
doubtful = (certain | shared).map(lambda b: replace(b, kind="doubtful", doubtful_kind=b.kind))
of_keys = (certain | shared | doubtful).map(lambda b: replace(b, key_hash="f" * 64))
batches = certain | shared | doubtful | of_keys
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(batches)
def test_a_batch_survives_the_wire(batch: UsageBatch) -> None:
    """What is encoded is decoded."""
    envelope = decode_envelope(encode_envelope(PRODUCER, 7, encode_usage(batch)))
    assert (envelope.producer, envelope.sequence) == (PRODUCER, 7)
    assert decode_usage(envelope.payload) == batch


@given(batches, st.lists(texts, max_size=2).map(tuple))
def test_a_batch_is_a_map_that_any_msgpack_reads(batch: UsageBatch, raw: tuple[str, ...]) -> None:
    """The version first, then the fields in their order; what says nothing is not there."""
    batch = replace(batch, raw=raw)
    body: dict[str, Any] = {"v": 1}
    body |= {name: getattr(batch, name) for name in UsageBatch.__struct_fields__}
    body["usage"] = {n: v for n in USAGE_FIELDS if (v := getattr(batch.usage, n))}
    optional = ("raw", "doubtful_kind", "is_shared", "key_hash")
    said = {name: value for name, value in body.items() if value or name not in optional}
    found = msgpack.unpackb(encode_usage(batch), use_list=False)
    assert list(found.items()) == list(said.items())
    assert found["usage"] == said["usage"]
    assert encode_usage(batch)[1:4] == b"\xa1v\x01", "where the fast reader looks for it"


@pytest.mark.parametrize("optional", [{"is_shared": True}, {"key_hash": "f" * 64}])
def test_what_is_not_said_takes_no_byte(optional: dict[str, Any]) -> None:
    """And who does not know the field reads the rest as before."""
    batch = UsageBatch("a", "s", "p", "m", "response", 1, ("r",), Usage(1, 1, 2), 0)
    plain = msgpack.unpackb(encode_usage(batch))
    assert not optional.keys() & plain.keys()
    marked = msgpack.unpackb(encode_usage(replace(batch, **optional)))
    assert marked == {**plain, **optional}


@pytest.mark.parametrize(
    "changes",
    [
        {"is_shared": 1},
        {"is_shared": None},
        {"responses": 2, "response_ids": ["r", "q"]},
        {"responses": 2},
        {"response_ids": []},
        {"response_ids": [""]},
    ],
)
def test_what_is_shared_is_one_response_with_a_name(changes: dict[str, Any]) -> None:
    """Of several nobody could say which one was charged before."""
    batch = UsageBatch("a", "s", "p", "m", "response", 1, ("r",), Usage(1, 1, 2), 0, is_shared=True)
    body = {**msgpack.unpackb(encode_usage(batch)), **changes}
    with pytest.raises(WireError) as caught:
        decode_usage(msgpack.packb(body))
    assert caught.value.reason == RejectReason.BAD_FIELD


def test_an_invalid_usage_survives_the_wire() -> None:
    """A quarantined usage object arrives whole."""
    invalid = InvalidUsage("a", "s", "p", "m", "r", "what was wrong", '{"input_tokens":-1}', 5)
    assert decode_usage(encode_usage(invalid)) == invalid


def test_an_end_marker_survives_the_wire() -> None:
    """It carries nothing but itself."""
    assert decode_usage(encode_usage(EndOfProducer())) == EndOfProducer()


@given(st.binary(min_size=16, max_size=16), st.integers(1, EPOCH_MAX), st.integers(0, SEQUENCE_MAX))
def test_a_watermark_survives_the_wire(producer: bytes, epoch: int, applied_through: int) -> None:
    """Its first frame is the topic that its gateway subscribes to."""
    watermark = Watermark(producer, epoch, applied_through)
    frames = encode_watermark(watermark)
    assert frames[0] == watermark_topic(producer)
    assert decode_watermark(frames) == watermark


@given(st.lists(st.binary(max_size=40) | values.map(msgpack.packb), max_size=3), st.booleans())
def test_any_frames_are_a_watermark_or_refused(frames: list[bytes], has_topic: bool) -> None:
    """The reader of announcements raises nothing but WireError."""
    try:
        decode_watermark([watermark_topic(PRODUCER), *frames] if has_topic else frames)
    except WireError as exc:
        assert str(exc)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_frames_are_an_envelope_or_refused(frames: list[bytes]) -> None:
    """The envelope's reader raises nothing but WireError."""
    try:
        envelope = decode_envelope(frames)
    except WireError:
        return
    assert encode_envelope(envelope.producer, envelope.sequence, envelope.payload) == frames


@given(st.binary(max_size=200) | values.map(msgpack.packb))
def test_any_payload_is_decoded_or_refused(payload: bytes) -> None:
    """The payload readers raise nothing but WireError."""
    for decode in (decode_usage, decode_request, decode_reply):
        try:
            decode(payload)
        except WireError as exc:
            assert exc.reason in RejectReason
            assert str(exc)


@given(
    batches,
    st.sampled_from(["usage", "responses", "account_id", "response_ids", "kind", "v"]),
    values,
)
def test_one_wrong_field_is_decoded_or_refused(batch: UsageBatch, name: str, value: Any) -> None:
    """A single field of any other type never gets further than the decoder."""
    body = msgpack.unpackb(encode_usage(batch)) | {name: value}
    try:
        decoded = decode_usage(msgpack.packb(body))
    except WireError:
        return
    assert isinstance(decoded, UsageBatch)
    assert all(type(getattr(decoded.usage, n)) is int for n in USAGE_FIELDS)


def outcome(decode: Callable[[bytes], UsageMessage], payload: bytes) -> object:
    """What a reader says: the message, or the reason and the words."""
    try:
        return decode(payload)
    except WireError as exc:
        return exc.reason, str(exc)


FIELDS = [*msgpack.unpackb(encode_usage(UsageBatch("", "", "", "", "", 1, (), Usage(), 0)))]
COUNTS = st.dictionaries(
    st.sampled_from(USAGE_FIELDS) | texts,
    st.integers(-1, TOKENS_PER_RESPONSE_MAX + 1) | st.integers(0, 2**64 - 1) | values,
    max_size=4,
)
CHANGES = st.dictionaries(
    st.sampled_from([*FIELDS, "raw", "doubtful_kind", "is_shared"]) | texts,
    values | st.integers(-1, 2**64 - 1) | st.lists(texts | values, max_size=6)
    | COUNTS | st.text(min_size=250, max_size=260) | st.sampled_from(list(Kind)),
    max_size=3,
)  # fmt: skip


@given(batches, CHANGES, st.sets(st.sampled_from(FIELDS), max_size=1), st.binary(max_size=1))
@settings(max_examples=600)
def test_both_readers_say_the_same(
    batch: UsageBatch, changes: dict[str, Any], missing: set[str], tail: bytes
) -> None:
    """The fast one takes only what the careful one takes, and as the same."""
    body = msgpack.unpackb(encode_usage(batch)) | changes
    payload = msgpack.packb({k: v for k, v in body.items() if k not in missing}) + tail
    assert outcome(decode_usage, payload) == outcome(decode_by_field, payload)


@given(batches, st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=600)
def test_both_readers_say_the_same_of_damage(batch: UsageBatch, at: int, byte: int) -> None:
    """A name that is damaged is no field that may be left out."""
    payload = bytearray(encode_usage(batch))
    payload[at % len(payload)] = byte
    assert outcome(decode_usage, bytes(payload)) == outcome(decode_by_field, bytes(payload))


WRONG = [
    ({"v": 2}, RejectReason.UNKNOWN_VERSION),
    ({"v": True}, RejectReason.UNKNOWN_VERSION),
    ({"v": None}, RejectReason.UNKNOWN_VERSION),
    ({"kind": "gift"}, RejectReason.BAD_FIELD),
    ({"kind": ""}, RejectReason.BAD_FIELD),
    ({"kind": None}, RejectReason.BAD_FIELD),
    ({"account_id": 5}, RejectReason.BAD_FIELD),
    ({"session_id": "s" * 257}, RejectReason.BAD_FIELD),
    ({"responses": 0}, RejectReason.BAD_FIELD),
    ({"responses": 1001}, RejectReason.BAD_FIELD),
    ({"responses": True}, RejectReason.BAD_FIELD),
    ({"metered_at_ms": -1}, RejectReason.BAD_FIELD),
    ({"usage": []}, RejectReason.BAD_FIELD),
    ({"usage": {"input_tokens": -1}}, RejectReason.ABSURD_COUNT),
    ({"usage": {"input_tokens": True}}, RejectReason.ABSURD_COUNT),
    ({"usage": {"input_tokens": 1.0}}, RejectReason.ABSURD_COUNT),
    ({"usage": {"input_tokens": "1"}}, RejectReason.ABSURD_COUNT),
    ({"usage": {"input_tokens": 5, "total_tokens": 4}}, RejectReason.ABSURD_COUNT),
    ({"usage": {"total_tokens": TOKENS_PER_RESPONSE_MAX + 1}}, RejectReason.ABSURD_COUNT),
]


@pytest.mark.parametrize(("change", "reason"), WRONG)
def test_each_mistake_has_its_reason(change: dict[str, Any], reason: RejectReason) -> None:
    """The quarantine says why in one word."""
    batch = UsageBatch("a", "s", "p", "m", "response", 1, ("r",), Usage(1, 1, 2), 0)
    payload = msgpack.packb(msgpack.unpackb(encode_usage(batch)) | change)
    with pytest.raises(WireError) as caught:
        decode_usage(payload)
    assert caught.value.reason is reason


def test_unknown_fields_are_ignored() -> None:
    """A newer gateway may send more."""
    batch = UsageBatch("a", "s", "p", "m", "response", 1, ("r",), Usage(1, 1, 2), 0)
    payload = msgpack.packb(msgpack.unpackb(encode_usage(batch)) | {"new": [1]})
    assert decode_usage(payload) == batch


credits_left = st.integers(-(2**63), 2**63 - 1)
applied = st.builds(
    Applied, st.integers(0, 2**63 - 1), st.frozensets(st.integers(0, 2**63 - 1), max_size=9)
)
balances = st.builds(
    AnnouncedBalance,
    account_id=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=256
    ),
    epoch=st.integers(1, 2**63 - 1),
    revision=st.integers(1, 2**63 - 1),
    topup=credits_left,
    tokens=credits_left,
    gateways=st.integers(1, 10**6),
    rates=st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
    applied=st.dictionaries(st.binary(min_size=16, max_size=16), applied, max_size=3),
)


@given(balances)
def test_a_balance_survives_the_wire(balance: AnnouncedBalance) -> None:
    """Under the topic that its account's listeners subscribe to, and no other's."""
    frames = encode_balance(balance)
    assert topic_of(frames) == balance_topic(balance.account_id)
    assert account_of_topic(topic_of(frames)) == balance.account_id
    assert decode_balance(frames) == balance


@given(st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9))
def test_no_account_hears_of_another(one: str, other: str) -> None:
    """A subscription is a prefix: of no two accounts is one topic the beginning of the other."""
    if one != other and "\0" not in one + other:
        assert not balance_topic(one).startswith(balance_topic(other))


@given(st.lists(st.binary(max_size=60), max_size=3), st.booleans())
def test_any_frames_are_a_balance_or_refused(frames: list[bytes], has_topic: bool) -> None:
    """Nothing but ``WireError``, whatever the bytes are."""
    if has_topic and frames:
        frames = [balance_topic("a") + frames[0], *frames[1:]]
    try:
        decode_balance(frames)
    except WireError as exc:
        assert str(exc)
