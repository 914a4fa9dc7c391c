"""accountctl rejected and audit over a real daemon: what could not be applied is charged once."""

import json
import signal
from typing import Any

import msgpack
import zmq
from sqlcipher3 import dbapi2 as sqlcipher

from shared.usage import EndOfProducer, InvalidUsage, LostBatch, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, eventually

PRODUCER, OTHER, THIRD = b"p" * 16, b"q" * 16, b"r" * 16
END = encode_usage(EndOfProducer())


def usage(
    tokens: int, account: str = "acct", kind: str = "response", names: tuple[str, ...] = ("r",)
) -> bytes:
    """A payload of the responses ``names``."""
    counts = Usage(tokens, 0, tokens)
    return encode_usage(UsageBatch(account, "s", "openai", "m", kind, len(names), names, counts, 0))


def retry(cluster: Cluster, *ids: int) -> tuple[int, dict[str, Any]]:
    """Exit code and results by id of ``accountctl rejected retry``."""
    done = cluster.run("accountctl", "rejected", "retry", *map(str, ids), "--json")
    return done.returncode, {r["id"]: r for r in json.loads(done.stdout)["results"]}


def waiting(cluster: Cluster, count: int) -> list[dict[str, Any]]:
    """The quarantine once it holds ``count`` messages, oldest first."""
    eventually(lambda: cluster.audit()["rejected"] == count)
    found = cluster.accountctl("rejected", "list")
    assert found["total"] == count
    return list(reversed(found["rejected"]))


def test_a_retry_charges_once(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """The account came later: the cascade charges it, and a second retry changes nothing."""
    for sequence in (1, 2):
        push.send_multipart(encode_envelope(PRODUCER, sequence, usage(60, "late")))
    first, second = waiting(running, 2)
    assert (first["reason"], first["account_id"]) == ("unknown_account", "late")
    code, results = retry(running, first["id"])
    assert (code, results[first["id"]]["outcome"]) == (1, "unknown_account")
    assert "no account 'late'" in results[first["id"]]["detail"]

    running.create_account("late", tokens=1_000, topup=100)
    code, results = retry(running, first["id"], second["id"])
    assert code == 0
    assert [(r["topup_deducted"], r["token_deducted"]) for r in results.values()] == [
        (60, 0), (40, 20),
    ]  # fmt: skip
    assert {r["usage_id"] for r in results.values()} == {
        row["id"] for row in running.usage_rows("late")
    }
    shown = running.accountctl("account", "show", "late")
    for _ in range(2):
        code, results = retry(running, first["id"], first["id"])
        assert (code, results[first["id"]]["outcome"]) == (1, "already_retried")
    plain = running.run("accountctl", "rejected", "retry", str(first["id"]))
    assert plain.returncode == 1
    assert "already retried" in plain.stderr
    assert running.accountctl("account", "show", "late") == shown
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(60, "late")))
    push.send_multipart(encode_envelope(PRODUCER, 3, usage(1, "late")))
    eventually(lambda: len(running.usage_rows("late")) == 3)
    audit = running.audit()
    assert audit["ok"]
    assert audit["rejected"] == 0
    assert running.accountctl("rejected", "list")["rejected"] == []
    retried = running.accountctl("rejected", "list", "--all")["rejected"]
    assert all(r["retried_at"] and r["usage_id"] for r in retried)


def test_a_conflict_can_be_charged_beside_the_first(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """Its sequence belongs to the other one: the row has no number."""
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(10)))
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(30, names=("other",))))
    (conflict,) = waiting(running, 1)
    audit = running.audit()
    assert not audit["ok"]
    assert audit["rejected_by_reason"] == audit["unsettled"] == {"conflict": 1}
    code, _ = retry(running, conflict["id"])
    assert code == 0
    newest, oldest = running.usage_rows("acct")
    assert (newest["producer"], newest["sequence"], newest["total_tokens"]) == (None, None, 30)
    assert (oldest["producer"], oldest["sequence"]) == (PRODUCER.hex(), 1)
    assert running.audit()["ok"]


def test_a_copied_spool_is_charged_once(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """The copy sealed the two noted responses by themselves, the original with three more: what
    shares a response with a charged row is refused, also within one retry.
    """
    first, noted = ("r1", "r2", "r3", "r4", "r5"), ("r6", "r7")
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(50, names=first)))
    push.send_multipart(encode_envelope(PRODUCER, 2, usage(20, names=noted)))
    whole = usage(50, names=(*noted, "r8", "r9", "r10"))
    push.send_multipart(encode_envelope(PRODUCER, 2, whole))
    push.send_multipart(encode_envelope(PRODUCER, 3, usage(10, names=("r11",))))
    push.send_multipart(encode_envelope(PRODUCER, 3, usage(20, names=("r12", "r13"))))
    push.send_multipart(encode_envelope(PRODUCER, 3, usage(20, names=("r13", "r14"))))
    overlapping, fresh, also_fresh = (row["id"] for row in waiting(running, 3))
    code, results = retry(running, overlapping, fresh, also_fresh)
    assert code == 1
    assert [r["outcome"] for r in results.values()] == [
        "already_charged", "charged", "already_charged",
    ]  # fmt: skip
    assert results[overlapping]["detail"] == "2 of 5 responses are charged: r6, r7"
    assert results[also_fresh]["detail"] == "1 of 2 responses are charged: r13"
    charged = [n for row in running.usage_rows("acct") for n in row["response_ids"]]
    assert len(charged) == len(set(charged)) == 10
    assert not running.audit()["drift"]


def test_a_copied_spool_is_noticed_after_a_restart(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """accountd is killed between the copy's message and the original's: still a conflict."""
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(20, names=("r6", "r7"))))
    push.send_multipart(encode_envelope(PRODUCER, 2, END))
    push.send_multipart(encode_envelope(OTHER, 1, b"\xc1 junk"))
    eventually(lambda: running.audit()["producers"]["total"] == 2)
    for _ in range(2):
        assert running.accountd is not None
        running.accountd.stop(signal.SIGKILL)
        running.start_accountd()
        push.send_multipart(encode_envelope(PRODUCER, 1, usage(20, names=("r6", "r7"))))
        push.send_multipart(encode_envelope(PRODUCER, 2, END))
        push.send_multipart(encode_envelope(OTHER, 1, b"\xc1 junk"))
        push.send_multipart(encode_envelope(PRODUCER, 1, usage(50, names=("r6", "r8"))))
        push.send_multipart(encode_envelope(PRODUCER, 2, usage(10, names=("r9",))))
        push.send_multipart(encode_envelope(OTHER, 1, usage(10, names=("r10",))))
        push.send_multipart(encode_envelope(THIRD, 1, usage(1, "nobody")))
        eventually(lambda: "unknown_account" in running.audit()["rejected_by_reason"])
        assert running.audit()["unsettled"] == {"conflict": 3}
        assert running.audit()["rejected"] == 5
        assert len(running.usage_rows("acct")) == 1


def test_a_doubtful_response_is_charged_as_a_response(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """Once: not when another message has it already."""
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(5, names=("charged",))))
    for sequence, name in enumerate(("charged", "new"), start=2):
        payload = usage(5, kind="doubtful", names=(name,))
        push.send_multipart(encode_envelope(PRODUCER, sequence, payload))
    first, second = waiting(running, 2)
    assert {first["reason"], second["reason"]} == {"doubtful"}
    assert running.audit()["unsettled"] == {"doubtful": 2}
    code, results = retry(running, first["id"], second["id"])
    assert (code, results[first["id"]]["outcome"]) == (1, "already_charged")
    newest, _ = running.usage_rows("acct")
    assert newest["id"] == results[second["id"]]["usage_id"]
    assert (newest["kind"], newest["sequence"]) == ("response", 3)
    assert running.accountctl("usage", "acct")["totals"]["responses"] == 2


def test_usage_known_to_be_lost_is_not_ok_until_it_is_settled(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """Lost, doubtful and conflicting usage fails the audit; a dismissal keeps its reason."""
    push.send_multipart(encode_envelope(PRODUCER, 1, encode_usage(LostBatch())))
    push.send_multipart(encode_envelope(PRODUCER, 2, usage(5, kind="doubtful")))
    push.send_multipart(encode_envelope(PRODUCER, 3, usage(5, "nobody")))
    lost, doubtful, _ = (row["id"] for row in waiting(running, 3))
    assert running.audit()["unsettled"] == {"lost": 1, "doubtful": 1}
    plain = running.run("accountctl", "audit")
    assert plain.returncode == 1
    assert "unsettled: lost 1, doubtful 1" in plain.stdout

    assert retry(running, doubtful)[0] == 0
    dismissed = running.accountctl("rejected", "dismiss", str(lost), "--reason", "refunded")
    assert dismissed["ok"]
    again = running.run("accountctl", "rejected", "dismiss", str(lost), "--reason", "twice")
    assert again.returncode == 0
    assert "refunded" in again.stdout
    assert running.accountctl("rejected", "show", str(lost))["dismissed_reason"] == "refunded"
    audit = running.audit()
    assert (audit["ok"], audit["unsettled"], audit["rejected"]) == (True, {}, 1)
    assert lost not in {row["id"] for row in waiting(running, 1)}
    listed = running.accountctl("rejected", "list", "--all")["rejected"]
    assert {row["id"]: row["dismissed_reason"] for row in listed}[lost] == "refunded"

    code, results = retry(running, lost)
    assert (code, results[lost]["outcome"]) == (1, "dismissed")
    done = running.run(
        "accountctl", "rejected", "dismiss", str(doubtful), "99", "--reason", "x", "--json"
    )
    assert done.returncode == 1
    outcomes = [r["outcome"] for r in json.loads(done.stdout)["results"]]
    assert outcomes == ["already_retried", "not_found"]


STUCK = [
    (b"\xc1 nonsense", "unreadable", "not msgpack"),
    (msgpack.packb({"v": 9, "account_id": "acct"}), "unknown_version", "version 9"),
    (encode_usage(InvalidUsage("acct", "s", "p", "m", "r", "bad", '{"x":1}', 0)),
     "unreadable_usage", "no readable counts"),
    (usage(5, kind="gift"), "bad_field", "kind"),
]  # fmt: skip


def test_what_still_cannot_be_applied_stays(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """It says why; beside it, what can be charged is."""
    payloads = [*(payload for payload, _, _ in STUCK), usage(7, "late")]
    for sequence, payload in enumerate(payloads, start=1):
        push.send_multipart(encode_envelope(PRODUCER, sequence, payload))
    rows = waiting(running, len(payloads))
    running.create_account("late")
    code, results = retry(running, *(row["id"] for row in rows), 999)
    assert code == 1
    for row, (payload, reason, detail) in zip(rows, STUCK, strict=False):
        assert row["reason"] == reason
        assert results[row["id"]]["outcome"] == reason
        assert detail in results[row["id"]]["detail"]
        shown = running.accountctl("rejected", "show", str(row["id"]))
        assert bytes.fromhex(shown["payload"]) == payload
        assert shown["retried_at"] is None
    assert results[999]["outcome"] == "not_found"
    assert results[rows[-1]["id"]]["outcome"] == "charged"
    assert len(running.usage_rows("late")) == 1
    assert running.audit()["rejected"] == len(STUCK)


def test_hostile_messages_can_be_shown(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """Anything that msgpack carries becomes JSON, and a table for people."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    bodies = [
        {
            "v": 1,
            "account_id": "a" * 300,
            "session_id": 5,
            "blob": b"\x00\xff",
            "nan": float("nan"),
        },
        {"v": 1, "deep": deep, "big": 2**64 - 1},
        {5: {6: msgpack.ExtType(3, b"x")}, "account_id": "\x1b[31m\n"},
    ]
    for sequence, body in enumerate(bodies, start=1):
        push.send_multipart(encode_envelope(PRODUCER, sequence, msgpack.packb(body)))
    push.send_multipart([b"one frame"])
    for row in waiting(running, len(bodies) + 1):
        for flags in ((), ("--json",)):
            done = running.run("accountctl", "rejected", "show", str(row["id"]), *flags)
            assert done.returncode == 0, done.stderr
            assert "\x1b" not in done.stdout
    listed = running.run("accountctl", "rejected", "list", "--limit", "2")
    assert "2 of 4" in listed.stdout
    assert "\x1b" not in running.run("accountctl", "rejected", "list").stdout
    assert running.run("accountctl", "rejected", "show", "99").returncode == 1


def test_the_audit_knows_three_states(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """COMPLETE, OPEN and INCOMPLETE, each with what is missing."""
    for sequence in (1, 2):
        push.send_multipart(encode_envelope(PRODUCER, sequence, usage(1)))
    push.send_multipart(encode_envelope(PRODUCER, 3, END))
    push.send_multipart(encode_envelope(OTHER, 1, usage(1)))
    eventually(lambda: running.audit()["producers"]["total"] == 2)
    audit = running.audit()
    assert audit["ok"]
    assert audit["producers"] == {
        "total": 2, "complete": 1, "open": 1, "incomplete": [], "incomplete_total": 0,
    }  # fmt: skip

    push.send_multipart(encode_envelope(PRODUCER, 4, usage(1)))  # beyond its end
    push.send_multipart(encode_envelope(OTHER, 90, END))
    push.send_multipart(encode_envelope(THIRD, 2, usage(1)))  # a hole, no end
    eventually(lambda: running.audit()["producers"]["incomplete_total"] == 3)
    found = {p["producer"]: p for p in running.audit()["producers"]["incomplete"]}
    assert found[PRODUCER.hex()] == {
        "producer": PRODUCER.hex(), "applied_through": 4, "ended_at": 3, "missing": [],
        "missing_total": 0,
    }  # fmt: skip
    assert found[OTHER.hex()]["missing"] == list(range(2, 22))
    assert found[OTHER.hex()]["missing_total"] == 88
    assert (found[THIRD.hex()]["missing"], found[THIRD.hex()]["missing_total"]) == ([1], 1)
    text = running.run("accountctl", "audit").stdout
    assert "NOT OK" in text
    assert "incomplete 3" in text
    assert running.accountd is not None
    alarms = [x for x in running.accountd.complaints() if "usage beyond an end" in x]
    assert len(alarms) == 1
    assert "level=error" in alarms[0]
    assert PRODUCER.hex() in alarms[0]


def test_the_audit_of_many_producers_is_quick(running: Cluster) -> None:
    """100,000 gateway processes, one of them with a hole: well within the deadline of a request."""
    assert running.accountd is not None
    running.accountd.stop()
    connection = sqlcipher.connect(str(running.folder / "accounts.db"))
    connection.execute(f"PRAGMA key = \"x'{(running.folder / 'db.key').read_text()}'\"")
    connection.executemany(
        "INSERT INTO producers VALUES (?, 9, '2026', '2026', 9)",
        [(n.to_bytes(16, "big"),) for n in range(100_000)],
    )
    connection.execute("INSERT INTO applied_ahead VALUES (?, 11)", ((5).to_bytes(16, "big"),))
    connection.commit()
    connection.close()
    running.start_accountd()
    producers = running.audit()["producers"]
    assert (producers["complete"], producers["incomplete_total"]) == (99_999, 1)
    assert producers["incomplete"][0]["missing"] == [10]


def test_estimates_do_not_distort_the_totals(running: Cluster, push: "zmq.Socket[bytes]") -> None:
    """They are rows and counted apart."""
    push.send_multipart(encode_envelope(PRODUCER, 1, usage(500, kind="estimate")))
    push.send_multipart(encode_envelope(PRODUCER, 2, usage(7)))
    eventually(lambda: len(running.usage_rows("acct")) == 2)
    found = running.accountctl("usage", "acct")
    assert [row["kind"] for row in found["rows"]] == ["response", "estimate"]
    assert found["totals"]["total_tokens"] == 7
    assert found["totals"]["responses"] == 1
    assert found["estimates"] == {"rows": 1, "total_tokens": 500, "waived": 500}
    assert running.audit()["estimates"] == 1
    text = running.run("accountctl", "usage", "acct").stdout
    assert "estimates: 1 rows, 500 tokens, 500 credits not charged" in text
    head, _, response, estimate, *_ = text.splitlines()
    assert "provider" in head
    assert "kind" in head
    assert "openai" in response
    assert "response" not in response
    assert "openai" in estimate
    assert "estimate" in estimate
