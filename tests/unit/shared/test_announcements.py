"""Frames that are no announcement, and the word that says why."""

from typing import Any

import msgpack
import pytest

from shared.announcements import (
    AHEAD_MAX,
    HOLDER_TOPIC,
    RECALL_TOPIC,
    AnnouncedBalance,
    Applied,
    NewHolder,
    Recall,
    RecallCause,
    Watermark,
    account_of_topic,
    balance_topic,
    decode_balance,
    decode_new_holder,
    decode_recall,
    decode_watermark,
    encode_balance,
    encode_new_holder,
    encode_recall,
    encode_watermark,
    topic_of,
)
from shared.fields import VERSION, RejectReason, WireError
from shared.wire import SEQUENCE_MAX

P = b"p" * 16
BODY = {"v": VERSION, "epoch": 1, "applied_through": 0}


def packed(**changes: Any) -> bytes:
    """The body of a watermark with some of it changed."""
    return bytes(msgpack.packb({**BODY, **changes}))


WATERMARKS = [
    # frames; why they are no watermark
    ([], RejectReason.UNREADABLE),
    ([b"W" + P], RejectReason.UNREADABLE),
    ([b"W" + P, packed(), b""], RejectReason.UNREADABLE),
    ([b"W" + P[1:], packed()], RejectReason.UNREADABLE),
    ([b"B" + P, packed()], RejectReason.UNREADABLE),
    ([b"W" + P, b"\xc1"], RejectReason.UNREADABLE),
    ([b"W" + P, packed(v=VERSION + 1)], RejectReason.UNKNOWN_VERSION),
    ([b"W" + P, packed(epoch=0)], RejectReason.BAD_FIELD),
    ([b"W" + P, packed(applied_through=SEQUENCE_MAX + 1)], RejectReason.BAD_FIELD),
]


@pytest.mark.parametrize(("frames", "reason"), WATERMARKS)
def test_what_is_no_watermark_is_refused(frames: list[bytes], reason: RejectReason) -> None:
    """Whatever a stranger publishes, a gateway takes nothing for durable that is not."""
    with pytest.raises(WireError) as caught:
        decode_watermark(frames)
    assert caught.value.reason is reason


HOLDERS = [
    # frames; why they are no new holder
    ([b"S"], RejectReason.UNREADABLE),
    ([b"W", packed()], RejectReason.UNREADABLE),
    ([b"S", b"\xc1"], RejectReason.UNREADABLE),
    ([b"S", packed(holder=b"short")], RejectReason.BAD_FIELD),
    ([b"S", packed(holder=P)], RejectReason.BAD_FIELD),
    ([b"S", packed(holder=P, account_id="a", session_id=7)], RejectReason.BAD_FIELD),
]


@pytest.mark.parametrize(("frames", "reason"), HOLDERS)
def test_what_is_no_new_holder_is_refused(frames: list[bytes], reason: RejectReason) -> None:
    """A stranger closes no session."""
    with pytest.raises(WireError) as caught:
        decode_new_holder(frames)
    assert caught.value.reason is reason


RECALL = {
    "v": VERSION, "number": 1, "cause": "key_revoked", "account_id": "a", "key_hash": "k",
    "session_id": "", "keeps_sessions": False,
}  # fmt: skip
RECALLS = [
    # frames; why they are no recall
    ([b"R"], RejectReason.UNREADABLE),
    ([b"S", msgpack.packb(RECALL)], RejectReason.UNREADABLE),
    ([b"R", b"\xc1"], RejectReason.UNREADABLE),
    ([b"R", msgpack.packb({**RECALL, "number": 0})], RejectReason.BAD_FIELD),
    ([b"R", msgpack.packb({**RECALL, "key_hash": 7})], RejectReason.BAD_FIELD),
    ([b"R", msgpack.packb({**RECALL, "account_id": "", "key_hash": ""})], RejectReason.BAD_FIELD),
]


@pytest.mark.parametrize(("frames", "reason"), RECALLS)
def test_what_is_no_recall_is_refused(frames: list[bytes], reason: RejectReason) -> None:
    """One that names nothing would end every session."""
    with pytest.raises(WireError) as caught:
        decode_recall(frames)
    assert caught.value.reason is reason


@pytest.mark.parametrize("keeps_sessions", [False, True])
def test_a_recall_survives_the_wire(keeps_sessions: bool) -> None:
    """Under the one topic that all gateways hear."""
    recall = Recall(7, RecallCause.SESSION_ENDED, "acct", "hash", "s", keeps_sessions)
    frames = encode_recall(recall)
    assert topic_of(frames) == RECALL_TOPIC
    assert decode_recall(frames) == recall


NAMED = [
    # a recall's account, key and session; whether it is about account a, key k, session s
    (("a", "", ""), True),
    (("a", "k", ""), True),
    (("", "", "s"), True),
    (("a", "k", "s"), True),
    (("b", "", ""), False),
    (("a", "l", ""), False),
    (("a", "k", "t"), False),
    (("b", "k", "s"), False),
]


@pytest.mark.parametrize(("names", "is_named"), NAMED)
def test_a_recall_is_about_what_all_of_its_names_fit(
    names: tuple[str, str, str], is_named: bool
) -> None:
    """An empty one stands for any."""
    assert Recall(1, "any", *names).names("a", "k", "s") is is_named


def test_a_new_holder_survives_the_wire() -> None:
    """Under the one topic that all gateways which store conversations hear."""
    change = NewHolder("acct", "s", P)
    frames = encode_new_holder(change)
    assert frames[0] == HOLDER_TOPIC
    assert topic_of(frames) == HOLDER_TOPIC
    assert decode_new_holder(frames) == change


def test_the_frames_of_a_watermark_are_its_topic_and_its_body() -> None:
    """A gateway subscribes to the first and reads the second."""
    assert encode_watermark(Watermark(P, 1, 0)) == [b"W" + P, packed()]
    assert decode_watermark([b"W" + P, packed()]) == Watermark(P, 1, 0)


APPLIED = [
    # what a balance says of the producers that it is news of
    [],
    {P: []},
    {P: 5},
    {P: ["1"]},
    {P: [True]},
    {P: [-1]},
    {P: [1, SEQUENCE_MAX + 1]},
    {P: [0, *range(2, AHEAD_MAX + 3)]},
    {P[1:]: [1]},
    {"p" * 16: [1]},
]


@pytest.mark.parametrize("applied", APPLIED, ids=lambda found: str(found)[:40])
def test_numbers_that_make_no_sense_are_refused(applied: object) -> None:
    """Each producer has a number up to which all is applied, and a bounded list beyond it."""
    (frame,) = encode_balance(AnnouncedBalance("a", 1, 1, 5, 5))
    topic = balance_topic("a")
    body = msgpack.unpackb(frame[len(topic) :])
    with pytest.raises(WireError) as caught:
        decode_balance([topic + msgpack.packb({**body, "applied": applied})])
    assert caught.value.reason is RejectReason.BAD_FIELD


def test_as_many_numbers_as_one_balance_names_are_read() -> None:
    """One more waits for the watermark."""
    balance = AnnouncedBalance(
        "a", 1, 1, 5, 5, applied={P: Applied(0, frozenset(range(2, AHEAD_MAX + 2)))}
    )
    assert decode_balance(encode_balance(balance)) == balance


TOPICS = [
    # topic; the account that it is of
    (b"Ba\0", "a"),
    (b"B\xc3\xa4\0", "ä"),
    (b"Ba", None),
    (b"Ba\0b\0", None),
    (b"B\xff\0", None),
    (b"W" + P, None),
    (b"", None),
]


@pytest.mark.parametrize(("topic", "account"), TOPICS)
def test_a_topic_is_of_one_account_or_of_none(topic: bytes, account: str | None) -> None:
    """accountd reads subscriptions, which are any bytes."""
    assert account_of_topic(topic) == account


@pytest.mark.parametrize(("sequence", "is_applied"), [(1, True), (2, False), (3, True), (4, False)])
def test_a_message_is_applied_up_to_a_number_or_beyond_it(sequence: int, is_applied: bool) -> None:
    """As accountd applied them: some came early."""
    assert (sequence in Applied(1, frozenset({3}))) is is_applied


def test_both_buckets_are_what_an_account_has() -> None:
    """One may be in debt."""
    assert AnnouncedBalance("a", 1, 1, topup=5, tokens=-7).credits == -2
