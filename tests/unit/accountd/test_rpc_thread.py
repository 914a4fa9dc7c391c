"""The thread of requests: what it answers by itself, what it hands over, and how it ends."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from accountd import rpc_thread
from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.data import models
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params
from accountd.rpc import Answer
from accountd.rpc_thread import RpcThread
from shared.requests import Reply, Request, decode_reply, encode_reply, encode_request
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database

WAIT_MS = 60_000  # a busy machine may take seconds to open a connection
DONE = encode_reply(Reply("done"))
REPORTS: Mapping[str, Answer] = {"report": lambda _params: "told"}


class Caller:
    """One that asks, and the thread that it asks."""

    def __init__(self, socket: "zmq.Socket[bytes]", thread: RpcThread) -> None:
        self.socket, self.thread = socket, thread

    def send(self, name: bytes, method: str, **params: Any) -> None:
        """Ask without waiting."""
        self.socket.send_multipart([name, encode_request(Request(method, params))])

    def answer(self) -> tuple[bytes, Reply]:
        """The next answer: its name, and what it says."""
        assert self.socket.poll(WAIT_MS), "no answer"
        name, payload = self.socket.recv_multipart()
        return name, decode_reply(payload)

    def ask(self, method: str, **params: Any) -> Reply:
        """Ask and wait."""
        self.send(b"asked", method, **params)
        name, reply = self.answer()
        assert name == b"asked"
        return reply

    def loop_is_woken(self) -> bool:
        """Whether requests, or a failure, wait for the loop."""
        poller = zmq.Poller()
        poller.register(self.thread.wakeup, zmq.POLLIN)
        return bool(poller.poll(WAIT_MS))


@contextmanager
def caller(reports: Mapping[str, Answer] = REPORTS, **at_once: Answer) -> Iterator[Caller]:
    """A thread with these handlers; it is closed at the end."""
    with (
        empty_database(),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        router = context.socket(zmq.ROUTER)
        router.bind("inproc://requests")
        dealer.connect("inproc://requests")
        thread = RpcThread(router, at_once=at_once, reports=reports)
        thread.start()
        try:
            yield Caller(dealer, thread)
        finally:
            thread.close()


def test_keys_are_authorized_while_the_loop_is_busy() -> None:
    """A request for the loop waits; what only reads does not wait behind it."""
    with caller(authorize=lambda _params: "granted") as asking:
        asking.send(b"1", "ping")
        assert asking.ask("authorize").result == "granted"
        assert asking.loop_is_woken()
        ((address, request),) = asking.thread.requests(10)
        assert request.method == "ping"
        asking.thread.reply(address, DONE)
        assert asking.answer() == (b"1", Reply("done"))


def test_reports_are_told_while_the_loop_is_busy() -> None:
    """They run on a thread of their own."""
    with caller() as asking:
        assert asking.ask("report").result == "told"


def test_an_authorization_sees_what_was_answered_before() -> None:
    """Each change is committed on another connection; whoever asks after it finds it."""
    authorizations = Authorizations()
    accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
    with caller(authorize=authorizations.authorize) as asking:
        create_account("acct", tokens=5)
        for number in range(20):
            key = accounts.create_key(Params({"account_id": "acct", "label": f"{number}"}))
            name = key["key_hash"]
            assert asking.ask("authorize", key_hash=name).result["token_remaining"] == 5
            accounts.disable(Params({"account_id": "acct"}))
            assert asking.ask("authorize", key_hash=name).error[0] == "account_disabled"  # type: ignore[index]
            accounts.enable(Params({"account_id": "acct"}))
            assert asking.ask("authorize", key_hash=name).error is None
            accounts.revoke_key(Params({"key": name}))
            assert asking.ask("authorize", key_hash=name).error[0] == "invalid_api_key"  # type: ignore[index]


def test_an_authorization_reads_beside_a_transaction() -> None:
    """It gets what is committed, at once, whatever is being written."""
    authorizations = Authorizations()
    accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
    with caller(authorize=authorizations.authorize) as asking:
        create_account("acct", tokens=5)
        key = accounts.create_key(Params({"account_id": "acct", "label": "k"}))["key_hash"]
        with models.database.atomic("IMMEDIATE"):
            models.Account.update(token_remaining=0).execute()
            assert asking.ask("authorize", key_hash=key).result["token_remaining"] == 5
        assert asking.ask("authorize", key_hash=key).error[0] == "insufficient_credits"  # type: ignore[index]


def test_what_it_is_asked_at_once_cannot_write() -> None:
    """Only the daemon's thread writes: the connection refuses."""

    def write(_params: Params) -> Any:
        models.database.execute_sql("DELETE FROM accounts")

    with caller(write=write) as asking:
        assert asking.ask("write").error == ("internal", "accountd failed: OperationalError")


def test_requests_beyond_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, so that the authorizations behind them are not kept waiting."""
    monkeypatch.setattr(rpc_thread, "LOOP_WAITING_MAX", 5)
    with caller(authorize=lambda _params: "granted") as asking:
        names = [b"%d" % number for number in range(8)]
        for name in names:
            asking.send(name, "account.topup")
        asking.send(b"key", "authorize")
        for name in names[5:]:
            assert asking.answer() == (name, Reply(error=("busy", "too many requests wait")))
        assert asking.answer() == (b"key", Reply("granted"))
        for address, _request in asking.thread.requests(10):
            asking.thread.reply(address, DONE)
        assert [asking.answer() for _ in names[:5]] == [(name, Reply("done")) for name in names[:5]]


def test_reports_that_wait_are_not_begun_once_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left to send their answers."""
    begun, goes_on = threading.Event(), threading.Event()
    told = []

    def report(params: Params) -> str:
        told.append(params.integer("number", 0, 9))
        begun.set()
        assert goes_on.wait(WAIT_MS / 1000)
        return "told"

    class Executor(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            goes_on.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    monkeypatch.setattr(rpc_thread, "ThreadPoolExecutor", Executor)
    with caller({"report": report}, authorize=lambda _params: "granted") as asking:
        for number in (1, 2, 3):
            asking.send(b"%d" % number, "report", number=number)
        asking.ask("authorize")  # all three have been handed over
        assert begun.wait(WAIT_MS / 1000)
    assert told == [1]


def test_a_reader_that_cannot_connect_ends_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the error that it met, and everything is closed."""

    class DiskError(Exception):
        pass

    def fail() -> None:
        raise DiskError

    with caller(authorize=lambda _params: "granted") as asking:
        asking.ask("authorize")  # the thread of requests has connected
        monkeypatch.setattr(rpc_thread, "_connect_reader", fail)
        assert asking.ask("report").error == ("internal", "the database cannot be read")
        assert isinstance(asking.thread.failure, DiskError)


def test_requests_that_were_left_wake_the_loop_again() -> None:
    """A turn takes some; the next one need not wait for another request."""
    with caller(authorize=lambda _params: "granted") as asking:
        for name in (b"1", b"2", b"3"):
            asking.send(name, "ping")
        asking.ask("authorize")  # the three have been handed over
        for _ in range(3):
            assert asking.loop_is_woken()
            assert len(list(asking.thread.requests(1))) == 1
        assert not list(asking.thread.requests(1))


def test_an_error_that_ends_the_daemon_wakes_its_loop() -> None:
    """The loop raises it: whoever watches the daemon has to see it end."""

    class DiskError(Exception):
        sqlite_errorname = "SQLITE_IOERR_READ"

    def fail(_params: Params) -> Any:
        raise DiskError

    with caller(fail=fail) as asking:
        asking.send(b"1", "fail")
        assert asking.loop_is_woken()
        assert isinstance(asking.thread.failure, DiskError)


def test_stopping_sends_the_answers_that_are_ready() -> None:
    """What was done for a caller is told to it, also in the last turn."""
    with caller() as asking:
        asking.send(b"1", "account.topup")
        assert asking.loop_is_woken()
        for address, _request in asking.thread.requests(10):
            asking.thread.reply(address, DONE)
        asking.thread.stop()
        assert asking.answer() == (b"1", Reply("done"))
        assert "requests" not in {thread.name for thread in threading.enumerate()}
