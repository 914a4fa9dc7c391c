"""Low-credit warnings: a real accountd tells a real HTTP receiver, whatever happens to either."""

import base64
import hmac
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import zmq

from accountd.clock import now_iso
from accountd.ledger.charging import Balance, Crossing
from accountd.ledger.group_commit import write_crossings
from accountd.notifications.low_credit import LowCredit
from accountd.notifications.webhook import (
    TRY_FOR_S,
    WAITING_MAX,
    DeliveryOutcome,
    WebhookMessage,
    WebhookSender,
    WebhookTarget,
    post,
)
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import empty_database
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.private_files import write_private
from tests.support.tuned import PATIENT_WEBHOOK
from tests.support.usage_socket import usage_socket

SECRET = b"0123456789abcdef0123456789abcdef"
PRODUCER = b"p" * 16


@dataclass
class Receiver:
    """An operator's web server: answers with each of ``statuses`` once, then with ``status``, and
    keeps everything it was sent, and when.
    """

    status: int = 200
    statuses: list[int] = field(default_factory=list)
    is_hanging: bool = False
    is_dripping: bool = False
    refused: str = ""
    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes, float]] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    def verified(self) -> list[tuple[str, dict[str, Any]]]:
        """Id and content of each request, in order; every signature must fit its content."""
        found = []
        for _, headers, body, came_at in list(self.requests):
            name, moment = headers["webhook-id"], headers["webhook-timestamp"]
            assert abs(int(moment) - came_at) < 60
            digest = hmac.digest(SECRET, f"{name}.{moment}.".encode() + body, "sha256")
            assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
            assert headers["content-type"] == "application/json"
            found.append((name, json.loads(body)))
        return found

    def totals(self) -> list[int]:
        """What was left in each warning."""
        data = [content["data"] for _, content in self.verified()]
        return [one["topup_remaining"] + one["token_remaining"] for one in data]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append((self.path, headers, body, time.time()))
            if receiver.is_hanging:
                receiver.freed.wait()
                return
            with suppress(OSError):
                while receiver.is_dripping and not receiver.freed.wait(0.05):
                    self.wfile.write(b"H")
            is_refused = headers["webhook-id"] == receiver.refused
            status = receiver.statuses.pop(0) if receiver.statuses else receiver.status
            self.send_response(400 if is_refused else status)
            if status == 302:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?from=rts"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.freed.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An operator's web server."""
    with receiving() as found:
        yield found


@pytest.fixture
def running(receiver: Receiver) -> Iterator[Cluster]:
    """accountd with a webhook and the account ``acct``: 1,000 tokens, marked at 400."""
    with cluster_folder() as cluster:
        secret = cluster.folder / "webhook.secret"
        write_private(secret, f"whsec_{base64.b64encode(SECRET).decode()}\n")
        cluster.env["ACCOUNTD_WEBHOOK_SECRET_FILE"] = str(secret)
        cluster.env["ACCOUNTD_WEBHOOK_URL"] = receiver.url
        cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000)
        cluster.accountctl("account", "mark", "acct", "400")
        yield cluster


@pytest.fixture
def push(running: Cluster) -> Iterator["zmq.Socket[bytes]"]:
    """A gateway's usage socket."""
    with usage_socket(running) as socket:
        yield socket


def message(sequence: int, tokens: int, kind: str = "response") -> list[bytes]:
    """The usage of one response."""
    counts = Usage(tokens, 0, tokens)
    batch = UsageBatch("acct", "s", "openai", "m", kind, 1, (f"r{sequence}",), counts, 0)
    return encode_envelope(PRODUCER, sequence, encode_usage(batch))


def left(cluster: Cluster) -> int:
    """The credits of the account."""
    shown = cluster.accountctl("account", "show", "acct")
    return int(shown["topup_remaining"] + shown["token_remaining"])


def adjust(cluster: Cluster, tokens: int) -> None:
    """Change the subscription."""
    cluster.accountctl("account", "adjust", "acct", "--tokens", str(tokens), "--reason", "test")


def metrics(cluster: Cluster) -> dict[str, float]:
    """The numbers of the running accountd."""
    assert cluster.accountd is not None
    return cluster.accountd.metrics()


def test_a_warning_arrives_once_the_receiver_takes_it(
    running: Cluster, push: "zmq.Socket[bytes]", receiver: Receiver
) -> None:
    """Refused and redirected first: the same message comes again, and is signed anew."""
    receiver.statuses = [503, 302, 204]
    push.send_multipart(message(1, 600))
    eventually(lambda: metrics(running)["rts_accountd_webhook_sent_total"] == 1)
    first, second, third = receiver.verified()
    assert first == second == third
    assert first[1]["type"] == "account.low_credit"
    assert first[1]["data"] == {
        "account_id": "acct", "low_credit_mark": 400, "topup_remaining": 0, "token_remaining": 400,
    }  # fmt: skip
    assert {path for path, *_ in receiver.requests} == {"/hook?from=rts"}
    found = metrics(running)
    assert found["rts_accountd_low_credit_total"] == 1
    assert found["rts_accountd_webhook_failures_total"] == 2
    assert found["rts_accountd_webhook_waiting"] == 0
    assert running.accountd is not None
    log = running.accountd.log.read_text()
    assert log.count('event="low credit"') == 1
    assert "account_id=acct low_credit_mark=400" in log
    assert base64.b64encode(SECRET).decode() not in log


def test_each_crossing_is_told_once(
    running: Cluster, push: "zmq.Socket[bytes]", receiver: Receiver
) -> None:
    """By usage, by an adjustment, by a renewal, by a retry; staying below tells nothing."""
    push.send_multipart(message(1, 700))
    eventually(lambda: receiver.totals() == [300])
    push.send_multipart(message(2, 50))
    push.send_multipart(message(2, 50))
    eventually(lambda: left(running) == 250)
    adjust(running, -50)
    running.accountctl("account", "topup", "acct", "500")
    adjust(running, -400)
    eventually(lambda: receiver.totals() == [300, 300])
    running.accountctl("account", "adjust", "acct", "--topup", "-500", "--reason", "test")
    running.accountctl("account", "renew", "acct", "--debt", "forgive")
    push.send_multipart(message(3, 999, kind="doubtful"))
    (waiting,) = eventually(lambda: running.accountctl("rejected", "list")["rejected"])
    running.accountctl("rejected", "retry", str(waiting["id"]))
    eventually(lambda: receiver.totals() == [300, 300, 1])
    adjust(running, 5_000)
    running.accountctl("account", "mark", "acct", "1500")
    running.accountctl("account", "renew", "acct")
    eventually(lambda: receiver.totals() == [300, 300, 1, 1_000])
    assert len({name for name, _ in receiver.verified()}) == 4
    assert running.audit()["ok"]


def test_a_killed_accountd_sends_after_its_restart(running: Cluster, receiver: Receiver) -> None:
    """Under the same id, even though nothing of it arrived; and no third time."""
    receiver.is_hanging = True  # it is tried once only before the kill
    adjust(running, -700)
    eventually(lambda: receiver.requests)
    assert running.accountd is not None
    running.accountd.stop(signal.SIGKILL)
    receiver.is_hanging = False
    known = len(receiver.requests)
    running.start_accountd()
    eventually(lambda: metrics(running)["rts_accountd_webhook_sent_total"] == 1)
    assert len(receiver.requests) == known + 1
    assert len({name for name, _ in receiver.verified()}) == 1
    assert running.accountd.stop() == 0
    running.start_accountd()
    # What is sent now comes after whatever the new process still had to send.
    adjust(running, 700)
    adjust(running, -700)
    eventually(lambda: metrics(running)["rts_accountd_webhook_sent_total"] == 1)
    assert len(receiver.requests) == known + 2


def test_a_receiver_that_hangs_holds_nothing_up(
    running: Cluster, push: "zmq.Socket[bytes]", receiver: Receiver
) -> None:
    """Usage is applied and requests are answered meanwhile, and accountd stops at once, although
    it would wait for the receiver far longer than this test for anything.
    """
    assert running.accountd is not None
    assert running.accountd.stop() == 0
    running.start_accountd(tuned=PATIENT_WEBHOOK)
    receiver.is_hanging = True
    adjust(running, -700)
    eventually(lambda: receiver.requests)
    for sequence in range(1, 101):
        push.send_multipart(message(sequence, 2))
    eventually(lambda: left(running) == 100)
    assert running.accountd.stop() == 0
    receiver.is_hanging = False
    running.start_accountd()
    eventually(lambda: metrics(running)["rts_accountd_webhook_sent_total"] == 1)
    assert len({name for name, _ in receiver.verified()}) == 1


def test_without_a_webhook_a_crossing_is_logged_and_counted(receiver: Receiver) -> None:
    """And told later, once there is one: it is in the database."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        daemon = cluster.start_accountd()
        cluster.create_account("acct", tokens=10)
        cluster.accountctl("account", "mark", "acct", "0")
        adjust(cluster, -10)
        eventually(lambda: metrics(cluster).get("rts_accountd_low_credit_total") == 1)
        assert 'event="low credit"' in daemon.log.read_text()
        assert daemon.stop() == 0
        cluster.env["ACCOUNTD_WEBHOOK_URL"] = receiver.url
        cluster.env["ACCOUNTD_WEBHOOK_SECRET"] = f"whsec_{base64.b64encode(SECRET).decode()}"
        cluster.start_accountd()
        eventually(lambda: receiver.totals() == [0])
        assert metrics(cluster)["rts_accountd_low_credit_total"] == 0


def sending(receiver: Receiver) -> WebhookSender:
    """A sender of its own."""
    return WebhookSender(WebhookTarget(urlsplit(receiver.url), SECRET))


def test_a_message_is_given_up_when_its_time_is_over(receiver: Receiver) -> None:
    """Tried once more, and then no more."""
    receiver.status = 500
    sender = sending(receiver)
    sender.put([WebhookMessage(7, "msg_old", time.time() - TRY_FOR_S, b"{}")])
    assert eventually(sender.finished) == [(7, DeliveryOutcome.GIVEN_UP)]
    sender.forget(1)
    sender.close()
    assert sender.finished() == []
    assert len(receiver.requests) == 1


def test_a_receiver_that_drips_has_as_long_as_one_that_hangs(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of an attempt is that of all of it."""
    monkeypatch.setattr("accountd.notifications.webhook.TIMEOUT_S", 0.5)
    receiver.is_dripping = True
    target = WebhookTarget(urlsplit(receiver.url), SECRET)
    message = WebhookMessage(1, "msg_1", time.time(), b"{}")
    assert post(target, message, now=time.time()) == "no answer within 0.5 s"


def test_a_message_that_is_refused_holds_no_other_back(receiver: Receiver) -> None:
    """The next one is tried meanwhile."""
    receiver.refused = "msg_bad"
    sender = sending(receiver)
    sender.put(
        WebhookMessage(n, name, time.time(), b"{}") for n, name in ((1, "msg_bad"), (2, "msg_good"))
    )
    assert eventually(sender.finished) == [(2, DeliveryOutcome.SENT)]
    receiver.refused = ""
    eventually(lambda: sender.finished() == [(2, DeliveryOutcome.SENT), (1, DeliveryOutcome.SENT)])
    sender.close()
    assert [name for name, _ in receiver.verified()][:2] == ["msg_bad", "msg_good"]


def test_more_warnings_than_fit_into_memory_are_all_sent(receiver: Receiver) -> None:
    """The database is the queue: each is sent once, in its order, while there is room."""
    count = WAITING_MAX + 200
    with empty_database() as opened:
        connection = opened.connection()
        connection.execute("INSERT INTO accounts (id, email) VALUES ('a', 'a')")
        crossings = [Crossing("a", Balance(0, n, count)) for n in range(count)]
        write_crossings(connection, crossings, now=now_iso())
        low_credit = LowCredit(connection, sending(receiver))

        def waiting() -> int:
            low_credit.tick(now=time.monotonic())
            query = "SELECT count(*) FROM low_credit_warnings WHERE outcome IS NULL"
            (found,) = connection.execute(query).fetchone()
            return int(found)

        eventually(lambda: waiting() == 0, seconds=60)
        low_credit.stop()
    assert receiver.totals() == list(range(count))
