"""A real accountd fed through a real PUSH socket, as a gateway would or should never."""

import csv
import json
import signal
from typing import Any

import msgpack
import zmq
from sqlcipher3 import dbapi2 as sqlcipher

from shared.requests import Reply, Request, decode_reply, encode_request
from shared.usage import InvalidUsage, Usage, UsageBatch
from shared.wire import LEVEL, encode_envelope, encode_usage
from tests.support.harness import ASK_S, Cluster, eventually
from tests.support.usage_socket import usage_socket

PRODUCER, OTHER = b"p" * 16, b"q" * 16


def batch(tokens: int = 10, **changes: Any) -> UsageBatch:
    """One response of the account."""
    fields: dict[str, Any] = {
        "account_id": "acct", "session_id": "s", "provider": "openai", "model": "m",
        "kind": "response", "responses": 1, "response_ids": ("r",),
        "usage": Usage(tokens, 0, tokens), "metered_at_ms": 1_790_000_000_000,
    }  # fmt: skip
    return UsageBatch(**{**fields, **changes})


def payload(**changes: Any) -> bytes:
    """A payload with some fields replaced by anything."""
    packed = msgpack.packb(msgpack.unpackb(encode_usage(batch())) | changes)
    assert isinstance(packed, bytes)
    return packed


def total(cluster: Cluster) -> int:
    """What the account has been charged."""
    found = cluster.accountctl("usage", "acct")["totals"]["total_tokens"]
    assert isinstance(found, int)
    return found


def test_duplicates_and_gaps(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """A sequence counts once; a gap holds the watermark back, not the money."""
    for sequence in (1, 2, 2, 5, 1, 5, 4):
        push.send_multipart(encode_envelope(PRODUCER, sequence, encode_usage(batch())))
    push.send_multipart(encode_envelope(OTHER, 1, encode_usage(batch())))
    eventually(lambda: total(running) == 50)
    found = running.audit()
    assert not found["ok"]
    assert found["producers"]["incomplete"] == [
        {
            "producer": PRODUCER.hex(),
            "applied_through": 2,
            "ended_at": None,
            "missing": [3],
            "missing_total": 1,
        }
    ]
    push.send_multipart(encode_envelope(PRODUCER, 3, encode_usage(batch())))
    eventually(lambda: running.audit()["ok"])
    assert total(running) == 60
    shown = running.accountctl("account", "show", "acct")
    assert (shown["topup_remaining"], shown["token_remaining"]) == (40, 1_000)


REJECTED = [
    (b"\xc1 not msgpack", "unreadable"),
    (b"", "unreadable"),
    (msgpack.packb([1]), "unreadable"),
    (payload(v=99), "unknown_version"),
    (payload(account_id="nobody"), "unknown_account"),
    (payload(account_id=7), "bad_field"),
    (payload(usage={"input_tokens": -5, "total_tokens": 5}), "absurd_count"),
    (payload(usage={"total_tokens": 10**9}), "absurd_count"),
    (payload(usage={"total_tokens": True}), "absurd_count"),
    (payload(usage={"total_tokens": 2.5}), "absurd_count"),
    (payload(usage={"total_tokens": "9"}), "absurd_count"),
    (payload(usage=None), "bad_field"),
    (encode_usage(InvalidUsage("acct", "s", "p", "m", "r", "bad", "{}", 0)), "unreadable_usage"),
]


def test_what_cannot_be_applied_is_quarantined_whole(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """Bad messages block nobody, are kept byte for byte with a reason, and once only."""
    for _ in range(2):  # a resend must not quarantine it again
        for sequence, (content, _) in enumerate(REJECTED, start=1):
            push.send_multipart(encode_envelope(PRODUCER, sequence, content))
    push.send_multipart([b"short", b"x"])
    push.send_multipart([b"short" * 9, b"x" * 8, b"payload"])
    good = len(REJECTED) + 1
    push.send_multipart(encode_envelope(PRODUCER, good, encode_usage(batch())))
    eventually(lambda: total(running) == 10)
    audit = eventually(lambda: (a := running.audit())["rejected"] == len(REJECTED) + 2 and a)
    assert audit["ok"], "a quarantined message counts as received"
    assert running.accountd is not None
    running.accountd.stop()
    rows = quarantine(running)
    assert [(r[2], r[3]) for r in rows if r[0]] == [(reason, raw) for raw, reason in REJECTED]
    assert [r[1] for r in rows if r[0]] == list(range(1, len(REJECTED) + 1))
    assert [r[3] for r in rows if not r[0]] == [b"shortx", b"short" * 9 + b"x" * 8 + b"payload"]


def quarantine(cluster: Cluster) -> list[Any]:
    """The rejected rows as they are in the file."""
    connection = sqlcipher.connect(str(cluster.folder / "accounts.db"))
    connection.execute(f"PRAGMA key = \"x'{(cluster.folder / 'db.key').read_text()}'\"")
    query = "SELECT producer, sequence, reason, payload FROM rejected_usage ORDER BY sequence, id"
    rows = connection.execute(query).fetchall()
    connection.close()
    assert isinstance(rows, list)
    return rows


def test_sigterm_commits_what_has_arrived(running: Cluster) -> None:
    """Right after a burst the daemon is told to stop: it exits 0 and nothing it got is lost."""
    burst = 3_000
    with usage_socket(running) as push:  # at the end everything has left
        for sequence in range(1, burst + 1):
            push.send_multipart(encode_envelope(PRODUCER, sequence, encode_usage(batch(1))))
    assert running.accountd is not None
    eventually(lambda: total(running) > 0)
    running.accountd.process.send_signal(signal.SIGTERM)
    assert running.accountd.stop() == 0
    running.start_accountd()
    assert total(running) == burst
    assert running.audit()["ok"]


def test_huge_charges_are_exact(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """Far below zero and far beyond 32 bits every token still counts."""
    lowest = -(2**53)
    running.accountctl(
        "account", "create", "--email", "e@example.org", "--id", "deep", "--tokens", str(lowest)
    )
    huge = batch(10_000_000_000, account_id="deep", responses=1000)
    for sequence in range(1, 4):
        push.send_multipart(encode_envelope(PRODUCER, sequence, encode_usage(huge)))
    eventually(lambda: len(running.usage_rows("deep")) == 3)
    shown = running.accountctl("account", "show", "deep")
    assert shown["token_remaining"] == lowest - 3 * 10_000_000_000


def ask(cluster: Cluster, *requests: tuple[bytes, ...]) -> tuple[bytes, Reply]:
    """The first answer to raw requests that were sent one after the other: its id, and what it
    is.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(cluster.env["ACCOUNTD_RPC_ENDPOINT"])
        for frames in requests:
            socket.send_multipart(list(frames))
        assert socket.poll(int(ASK_S * 1000)), "no answer"
        request_id, reply = socket.recv_multipart()
        return request_id, decode_reply(reply)


BAD_REQUESTS = [
    ((b"id", b"\xc1"), "bad_request"),
    ((b"id", msgpack.packb({"v": 2})), "bad_request"),
    ((b"id", encode_request(Request("fly", {}))), "unknown_method"),
    ((b"id", encode_request(Request("authorize", {}))), "bad_request"),
    ((b"id", encode_request(Request("authorize", {"key_hash": 5}))), "bad_request"),
    ((b"id", encode_request(Request("account.show", {"account_id": "no"}))), "not_found"),
    ((b"id", encode_request(Request("account.create", {"email": ""}))), "bad_request"),
    ((b"id", encode_request(Request("account.create", {"email": "a\nb"}))), "bad_request"),
    ((b"id", encode_request(Request("usage", {"account_id": "acct", "limit": 0}))), "bad_request"),
]


def test_bad_requests_are_answered_and_harm_nobody(running: Cluster) -> None:
    """Each mistake has its code, and the daemon goes on."""
    for frames, code in BAD_REQUESTS:
        _, reply = ask(running, frames)
        assert reply.error is not None
        assert reply.error[0] == code, frames
    ping = (b"id", encode_request(Request("ping")))
    name, pong = ask(running, (b"only one frame",), ping)
    assert (name, pong.error, pong.result["level"]) == (b"id", None, LEVEL)
    assert running.accountd is not None
    assert running.accountd.stop() == 0


def test_every_row_is_exported_and_what_is_cut_is_said(running: Cluster) -> None:
    """2,500 rows: the table shows some and says so, programs get all, in three forms."""
    running.create_account("busy")
    total = 2_500
    with usage_socket(running) as push:
        for sequence in range(1, total + 1):
            usage = Usage(sequence, 0, sequence)
            row = UsageBatch("busy", "s", "openai", "m", "response", 1, (f"r{sequence}",), usage, 0)
            push.send_multipart(encode_envelope(b"e" * 16, sequence, encode_usage(row)))
        eventually(
            lambda: running.accountctl("usage", "busy", "--limit", "1")["rows_total"] == total
        )
    found = running.accountctl("usage", "busy")
    counts = [row["total_tokens"] for row in found["rows"]]
    assert counts == list(range(total, 0, -1))
    assert (found["rows_total"], found["truncated"]) == (total, False)
    lines = running.run("accountctl", "usage", "busy", "--json-lines")
    assert [json.loads(line) for line in lines.stdout.splitlines()] == found["rows"]
    text = running.run("accountctl", "usage", "busy", "--csv")
    assert [int(r["total_tokens"]) for r in csv.DictReader(text.stdout.splitlines())] == counts
    assert (lines.stderr, text.stderr) == ("", "")
    shown = running.run("accountctl", "usage", "busy")
    assert "1,500 more rows are not shown" in shown.stderr
    cut = running.run("accountctl", "usage", "busy", "--limit", "7", "--json")
    assert (len(json.loads(cut.stdout)["rows"]), json.loads(cut.stdout)["truncated"]) == (7, True)
    assert "2,493 more rows are not shown" in cut.stderr
