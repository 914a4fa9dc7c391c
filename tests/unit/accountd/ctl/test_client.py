"""The client of the daemon: how long it waits, and for whom."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from accountd.ctl.client import call
from shared import zmq_sockets
from shared.errors import UnreachableError
from shared.requests import Reply, decode_request, encode_reply

DEADLINE_S = 0.2
Pong = Callable[[int], Reply]


def pong_of_one_boot(_number: int) -> Reply:
    """What a daemon answers to a ping."""
    return Reply({"level": 1, "epoch": 5})


@contextmanager
def daemon(
    answers_after: Callable[[int], bool], *, pongs: int, pong: Pong = pong_of_one_boot
) -> Iterator[str]:
    """A daemon that answers a number of pings, and its request when so many have come."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        stop = threading.Event()

        def serve() -> None:
            asked: list[bytes] | None = None
            pings = 0
            while not stop.is_set():
                if not socket.poll(20):
                    continue
                peer, name, payload = socket.recv_multipart()
                request = decode_request(payload)
                if request.method == "ping":
                    pings += 1
                    if pings <= pongs:
                        socket.send_multipart([peer, name, encode_reply(pong(pings))])
                else:
                    asked = [peer, name]
                if asked and answers_after(pings):
                    socket.send_multipart([*asked, encode_reply(Reply({"done": pings}))])
                    asked = None

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            stop.set()
            thread.join()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that a test can wait for."""
    monkeypatch.setattr(zmq_sockets, "RPC_DEADLINE_S", DEADLINE_S)


@pytest.mark.parametrize("needed", [0, 1, 4])
def test_a_report_may_take_longer_than_the_deadline(needed: int) -> None:
    """As long as pings are answered, the daemon is at work."""
    with daemon(lambda pings: pings >= needed, pongs=9) as endpoint:
        found: Any = call(endpoint, "audit", {})
        assert found["done"] >= needed


@pytest.mark.parametrize("pongs", [0, 2])
def test_who_answers_no_pings_is_not_waited_for(pongs: int) -> None:
    """Also when it stops to in the middle of a report."""
    with (
        daemon(lambda _pings: False, pongs=pongs) as endpoint,
        pytest.raises(UnreachableError, match="no answer from accountd"),
    ):
        call(endpoint, "audit", {})


def test_a_daemon_that_was_started_anew_does_not_know_the_request() -> None:
    """It would answer pings for ever."""
    with (
        daemon(lambda _pings: False, pongs=9, pong=lambda n: Reply({"epoch": n})) as endpoint,
        pytest.raises(UnreachableError, match="started anew before it answered"),
    ):
        call(endpoint, "audit", {})


def test_a_ping_that_is_refused_is_no_sign_of_life() -> None:
    """A daemon that knows no pings is waited for as long as one that is not there."""
    refusal = Reply(error=("unknown_method", "ping"))
    with (
        daemon(lambda _pings: False, pongs=9, pong=lambda _n: refusal) as endpoint,
        pytest.raises(UnreachableError, match="no answer from accountd"),
    ):
        call(endpoint, "audit", {})
