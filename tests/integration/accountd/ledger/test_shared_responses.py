"""What several sockets report is charged once by a real accountd, before and after a restart."""

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from accountd.clock import now_iso
from accountd.data import models
from accountd.data.retention import RowRetention
from accountd.ledger.group_commit import Ledger
from accountd.services import RETENTION_RULES
from shared.usage import EndOfProducer, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import create_account, empty_database
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

P, Q, R = b"p" * 16, b"q" * 16, b"r" * 16


@pytest.fixture
def running() -> Iterator[Cluster]:
    """accountd with one account, ``acct``: 1,000 tokens."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000)
        yield cluster


@pytest.fixture
def push(running: Cluster) -> Iterator["zmq.Socket[bytes]"]:
    """A gateway's usage socket."""
    with usage_socket(running) as socket:
        yield socket


def heard(producer: bytes, sequence: int, *, tokens: int = 10, **changes: Any) -> list[bytes]:
    """A message about the response ``r``, which other sockets report as well."""
    fields: dict[str, Any] = {
        "account_id": "acct", "session_id": f"s{sequence}", "provider": "openai", "model": "m",
        "kind": "response", "responses": 1, "response_ids": ("r",),
        "usage": Usage(tokens, 0, tokens), "metered_at_ms": 0, "is_shared": True,
    }  # fmt: skip
    return encode_envelope(producer, sequence, encode_usage(UsageBatch(**{**fields, **changes})))


def end(producer: bytes, sequence: int) -> list[bytes]:
    """Nothing more will come."""
    return encode_envelope(producer, sequence, encode_usage(EndOfProducer()))


def left(cluster: Cluster) -> int:
    """What the account has."""
    tokens = cluster.accountctl("account", "show", "acct")["token_remaining"]
    assert isinstance(tokens, int)
    return tokens


def numbers(cluster: Cluster) -> dict[str, int]:
    """What became of messages since accountd started."""
    assert cluster.accountd is not None
    found = cluster.accountd.metrics()
    names = ("batches_applied", "repeated", "duplicates", "conflicts")
    return {name: int(found[f"rts_accountd_{name}_total"]) for name in names}


def test_a_response_is_charged_once_over_a_restart(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """By one producer, then by another one, then by a third after the restart, and all of them
    again; every producer is complete, and the books are in order.
    """
    first, second, third = heard(P, 1), heard(Q, 1, session_id="observer"), heard(R, 1)
    for message in (first, second):
        push.send_multipart(message)
    eventually(lambda: numbers(running)["repeated"] == 1)
    assert left(running) == 990
    assert running.accountd is not None
    assert running.accountd.stop() == 0
    running.start_accountd()
    for message in (third, first, second, third, end(P, 2), end(Q, 2), end(R, 2)):
        push.send_multipart(message)
    eventually(lambda: running.audit()["producers"]["complete"] == 3)
    assert numbers(running) == {
        "batches_applied": 0, "repeated": 1, "duplicates": 3, "conflicts": 0,
    }  # fmt: skip
    assert left(running) == 990
    audit = running.audit()
    assert (audit["ok"], audit["repeated"], audit["usage_rows"]) == (True, 2, 1)
    assert "heard again and not charged 2" in running.run("accountctl", "audit").stdout


def test_other_content_under_the_number_of_a_repetition_is_a_conflict(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """After a restart as well: somebody uses another's producer id."""
    for message in (heard(P, 1), heard(Q, 1)):
        push.send_multipart(message)
    eventually(lambda: numbers(running)["repeated"] == 1)
    assert running.accountd is not None
    running.accountd.stop()
    running.start_accountd()
    push.send_multipart(heard(Q, 1, tokens=500))
    eventually(lambda: numbers(running)["conflicts"] == 1)
    (row,) = running.accountctl("rejected", "list")["rejected"]
    assert (row["reason"], left(running)) == ("conflict", 990)


def test_a_retry_of_what_another_socket_charged_is_refused(
    running: Cluster, push: "zmq.Socket[bytes]"
) -> None:
    """It came from a damaged spool, in a session of another name; the first is charged, once."""
    doubtful = {"kind": "doubtful", "doubtful_kind": "response"}
    for sequence in (1, 2):
        push.send_multipart(heard(P, sequence, **doubtful))
    eventually(lambda: running.audit()["rejected"] == 2)
    done = running.run("accountctl", "rejected", "retry", "1", "2", "--json")
    assert done.returncode != 0
    assert '"already_charged"' in done.stdout
    assert left(running) == 990
    push.send_multipart(heard(Q, 1))
    eventually(lambda: numbers(running)["repeated"] == 1)
    assert left(running) == 990


def test_what_was_charged_long_ago_is_forgotten() -> None:
    """Names of charged responses, and what repeated them; not the rows."""
    with empty_database() as database:
        create_account("acct", tokens=1_000)
        ledger = Ledger(database.connection())
        for now, name in (("2020-01-01T00:00:00.000Z", "old"), (now_iso(), "new")):
            producer = name.encode().ljust(16)
            ledger.apply([heard(producer, 1, response_ids=(name,))], now=now)
            ledger.apply([heard(producer, 2, response_ids=(name,))], now=now)
        for rule in RETENTION_RULES:
            RowRetention(database.connection(), rule).tick(now=0.0)
        counts = {
            table: models.database.execute_sql(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("shared_responses", "repeated_usage", "usage_metrics")
        }
    assert counts == {"shared_responses": 1, "repeated_usage": 1, "usage_metrics": 2}
