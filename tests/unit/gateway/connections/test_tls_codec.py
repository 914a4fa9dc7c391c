"""TLS in memory: two sides that exchange records without a socket."""

import ssl
from pathlib import Path

import pytest

from gateway.connections.certificate import load
from gateway.connections.tls import TRANSITIONS, TLSPhase
from gateway.connections.tls_codec import TlsCodec
from tests.support.certificates import Pem


def handshaken(tmp_path: Path) -> tuple[TlsCodec, TlsCodec]:
    """A server's and a client's side after their handshake."""
    pem = Pem.make(tmp_path)
    server = TlsCodec(load(pem.cert, pem.key).context, None)
    client = TlsCodec(pem.trusting(), "localhost")
    client.handshake(b"")
    is_done = [False, False]
    while not all(is_done):
        is_done[0] = server.handshake(client.outgoing.read())
        is_done[1] = client.handshake(server.outgoing.read())
    client.decrypt(server.outgoing.read())  # the session tickets of TLS 1.3
    return server, client


@pytest.mark.parametrize("size", [1, 16, 10_000])
def test_bytes_arrive_however_the_records_are_cut(tmp_path: Path, size: int) -> None:
    """Also when several records come at once."""
    server, client = handshaken(tmp_path)
    records = client.encrypt([b"one", bytearray(b"two"), b"3" * 40_000])
    received = [server.decrypt(records[at : at + size]) for at in range(0, len(records), size)]
    assert b"".join(received) == b"onetwo" + b"3" * 40_000
    assert (server.has_end, server.failure) == (False, None)


def test_an_end_stands_behind_what_was_sent_before(tmp_path: Path) -> None:
    """And the other direction goes on."""
    server, client = handshaken(tmp_path)
    records = client.encrypt([b"last words"])
    client.close_notify()
    assert server.decrypt(records + client.outgoing.read()) == b"last words"
    assert server.has_end
    assert client.decrypt(server.encrypt([b"answer"])) == b"answer"


def test_a_record_that_was_changed_fails_and_what_came_before_it_counts(tmp_path: Path) -> None:
    """The alert that says so waits to be sent."""
    server, client = handshaken(tmp_path)
    first, second = client.encrypt([b"usage"]), bytearray(client.encrypt([b"more"]))
    second[-1] ^= 1
    assert server.decrypt(first + bytes(second)) == b"usage"
    assert isinstance(server.failure, ssl.SSLError)
    assert server.outgoing.pending


def test_the_phases_of_tls_are_complete() -> None:
    """Every phase has an entry, every one can fail, and nothing follows a failure."""
    assert set(TRANSITIONS) == set(TLSPhase)
    assert TRANSITIONS[TLSPhase.FAILED] == set()
    assert all(
        TLSPhase.FAILED in TRANSITIONS[one] for one in TLSPhase if one is not TLSPhase.FAILED
    )
