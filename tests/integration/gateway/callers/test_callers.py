"""What one address, one key and one session's name may do, on real sockets, also behind haproxy."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway.limits import CROWDED_ANSWERS_MAX, SAME_SESSION_BURST, WRONG_KEYS_BURST
from tests.support.certificates import Pem
from tests.support.harness import Cluster, Daemon, eventually
from tests.support.named_sessions import STORING
from tests.support.ports import free_ports

PATH = "/v1/realtime?model=gpt-realtime&pace=0"
WRONG = "rslive_v1_" + "0" * 48
HERE, NEIGHBOUR = "127.0.0.1", "127.0.0.2"
TRUSTING = {"GATEWAY_TRUSTED_PROXIES": HERE}
WITH_PROXY_V2 = TRUSTING | {"GATEWAY_CLIENT_ADDRESS": "proxy-v2"}


@dataclass(frozen=True)
class Answer:
    """What a plain request hears: the door says the same to a handshake."""

    status: int
    code: str
    retry_after: str | None


OWING = Answer(429, "rate_limit_exceeded", "1")


def ask(address: str, key: str, *, path: str = PATH, source: str = HERE, **headers: str) -> Answer:
    """One request from ``source``."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), 20, source_address=(source, 0))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}", **named})
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
        code = body["error"]["code"] if "error" in body else ""
        return Answer(response.status, code, response.headers["Retry-After"])
    finally:
        connection.close()


def open_session(
    address: str, key: str, *, source: str = HERE, path: str = PATH
) -> ClientConnection:
    """A session from ``source``."""
    host, port = address.split(":")
    raw = socket.create_connection((host, int(port)), 20, source_address=(source, 0))
    headers = {"Authorization": f"Bearer {key}"}
    client = connect(f"ws://{address}{path}", sock=raw, additional_headers=headers, legacy=True)
    client.recv(timeout=20)
    return client


def refusal_of(address: str, key: str, **options: str) -> tuple[int, str, str | None]:
    """Status, code and ``Retry-After`` of a handshake's refusal."""
    with pytest.raises(InvalidStatus) as caught:
        open_session(address, key, **options)
    response = caught.value.response
    code = json.loads(response.body or b"")["error"]["code"]
    return response.status_code, code, response.headers.get("Retry-After")


def _when_owing(address: str, asked: Callable[[], Answer]) -> Answer:
    """What is heard right after the address was told to wait for its wrong keys."""
    eventually(lambda: ask(address, WRONG) == OWING)
    return asked()


def test_wrong_keys_of_an_address_are_slowed(cluster: Cluster) -> None:
    """200 in a row: after a burst one a second is looked at. A key that was let in before passes,
    and so does every client of another address; nothing reaches the provider, or is charged.
    """
    gateway = cluster.start_gateway(GATEWAY_PAGE="yes", GATEWAY_OPS_LISTEN="127.0.0.1:0")
    address = gateway.field("listen")
    known, new = cluster.create_account("known"), cluster.create_account("new")
    assert ask(address, known).status == 426
    heard = Counter(ask(address, WRONG) for _ in range(200))
    assert {(each.status, each.code) for each in heard} == {
        (401, "invalid_api_key"), (429, "rate_limit_exceeded"),
    }  # fmt: skip
    looked_at = sum(n for each, n in heard.items() if each.status == 401)
    assert WRONG_KEYS_BURST <= looked_at < 100
    assert {each.retry_after for each in heard if each.status == 429} == {"1"}
    for path in ("/api/account", "/v1/realtime/client_secrets", PATH):
        assert _when_owing(address, partial(ask, address, new, path=path)) == OWING
    assert _when_owing(address, lambda: Answer(*refusal_of(address, new))) == OWING
    assert ask(address, known).status == 426
    open_session(address, known).close()
    assert ask(address, new, source=NEIGHBOUR).status == 426
    assert ask(address, "", path="/healthz").status == 200
    assert gateway.log.read_text().count("wrong keys from one address") == 1
    assert gateway.metrics()["rts_gateway_callers_refused_total"] > 100
    assert cluster.usage_rows("new") == []


def test_an_address_has_so_many_connections(cluster: Cluster) -> None:
    """Sessions and slow handshakes alike: one more is told so, many more are cut. Other addresses
    and probes notice nothing, and one that has left makes room.
    """
    gateway = cluster.start_gateway(GATEWAY_CONNECTIONS_PER_ADDRESS="3")
    address, key = gateway.field("listen"), cluster.create_account("crowd")
    host, port = address.split(":")
    crowded = (429, "rate_limit_exceeded", "5")
    first = open_session(address, key)
    slow = [socket.create_connection((host, int(port)), 20) for _ in range(2)]
    slow[0].sendall(b"GET / HTTP/1.1\r\n")
    before = gateway.log.read_text().count("session opened")
    assert eventually(lambda: ask(address, key).status == 429)
    assert refusal_of(address, key) == crowded
    assert ask(address, key, path="/healthz").status == 200
    slow += [socket.create_connection((host, int(port)), 20) for _ in range(CROWDED_ANSWERS_MAX)]
    with socket.create_connection((host, int(port)), 20) as cut:
        assert cut.recv(1) == b""
    assert ask(address, key, source=NEIGHBOUR).status == 426
    assert gateway.log.read_text().count("session opened") == before
    for each in slow:
        each.close()
    eventually(lambda: _is_heard(address, key))
    first.close()


def test_a_gateway_has_so_many_sessions(cluster: Cluster) -> None:
    """One more gets 503, whoever it is; one that has left makes room."""
    gateway = cluster.start_gateway(GATEWAY_CONNECTIONS_MAX="2")
    address, key = gateway.field("listen"), cluster.create_account("full")
    opened = [open_session(address, key, source=source) for source in (HERE, NEIGHBOUR)]
    assert refusal_of(address, key) == (503, "service_unavailable", "1")
    opened[0].close()
    eventually(lambda: _opens(address, key))
    opened[1].close()


def _is_heard(address: str, key: str) -> bool:
    with contextlib.suppress(
        OSError, http.client.HTTPException
    ):  # cut, as long as others are there
        return ask(address, key).status == 426
    return False


def _opens(address: str, key: str) -> bool:
    with contextlib.suppress(InvalidStatus):
        open_session(address, key).close()
        return True
    return False


def test_a_key_begins_so_many_sessions(cluster: Cluster) -> None:
    """Ten seconds' worth at once, then 429; another key of the account has a rate of its own."""
    gateway = cluster.start_gateway(GATEWAY_SESSIONS_PER_KEY_S="0.2")
    address, key = gateway.field("listen"), cluster.create_account("busy")
    for _ in range(2):
        open_session(address, key).close()
    status, code, retry_after = refusal_of(address, key)
    assert (status, code) == (429, "rate_limit_exceeded")
    assert 1 <= int(retry_after or "") <= 5
    assert gateway.log.read_text().count("session opened") == 2
    other = cluster.ask("key.create", account_id="busy", label="2", expires_at=None)["key"]
    open_session(address, other).close()


def test_two_clients_with_one_session_do_not_put_each_other_out_for_ever(cluster: Cluster) -> None:
    """Each dials again at once when it is superseded, as livekit's plugin does: after a burst once
    a second, with 429 in between, which costs accountd nothing. Other sessions of the key begin.
    """
    gateway = cluster.start_gateway(**STORING)
    address, key = gateway.field("listen"), cluster.create_account("twins")
    named = f"{PATH}&rs_sessid=twin"
    heard = Counter[int]()

    def redial() -> None:
        for _ in range(2 * SAME_SESSION_BURST):
            try:
                client = open_session(address, key, path=named)
            except InvalidStatus as refused:
                heard[refused.response.status_code] += 1
            else:
                heard[101] += 1
                client.close()

    twins = [threading.Thread(target=redial) for _ in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    assert set(heard) == {101, 429}
    assert heard[101] >= SAME_SESSION_BURST
    assert heard[429] > SAME_SESSION_BURST
    open_session(address, key, path=f"{PATH}&rs_sessid=single").close()


def test_a_trusted_proxy_says_who_asks(cluster: Cluster) -> None:
    """In ``X-Forwarded-For``; what an address says that is not trusted counts for nothing."""
    gateway = cluster.start_gateway(**TRUSTING)
    address = gateway.field("listen")
    guesser = "198.51.100.1, 203.0.113.7"  # the first is its own invention
    eventually(lambda: ask(address, WRONG, X_Forwarded_For=guesser) == OWING)
    assert ask(address, WRONG, X_Forwarded_For="198.51.100.1").status == 401
    assert ask(address, WRONG).status == 401
    eventually(lambda: ask(address, WRONG, source=NEIGHBOUR, X_Forwarded_For="1.1.1.1") == OWING)
    assert ask(address, WRONG, source=NEIGHBOUR, X_Forwarded_For="1.1.1.2") == OWING


def proxied(client: str, port: int = 4711) -> bytes:
    """The header that haproxy sends for a client."""
    addresses = socket.inet_aton(client) + socket.inet_aton(HERE)
    ports = port.to_bytes(2, "big") + (8080).to_bytes(2, "big")
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + addresses + ports


GET = f"GET {PATH} HTTP/1.1\r\nHost: x\r\napi-key: {WRONG}\r\n\r\n".encode()
PRELUDES = [
    # from where; the first bytes; the beginning of the answer, nothing where the connection is cut
    (HERE, proxied("203.0.113.7") + GET, b"HTTP/1.1 401 "),
    (HERE, GET, b""),
    (HERE, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8080\r\n" + GET, b""),
    (HERE, proxied("203.0.113.7")[:-1] + GET, b"HTTP/1.1 405 "),  # a byte of it is the request's
    (HERE, proxied("203.0.113.7") * 2 + GET, b"HTTP/1.1 400 "),  # the client has sent one itself
    (NEIGHBOUR, GET, b"HTTP/1.1 401 "),
    (NEIGHBOUR, proxied("203.0.113.7") + GET, b"HTTP/1.1 400 "),
]


def test_only_a_trusted_proxy_begins_with_a_header(cluster: Cluster) -> None:
    """It must, and nobody else may; in one piece or byte by byte."""
    host, port = cluster.start_gateway(**WITH_PROXY_V2).field("listen").split(":")
    for source, sent, expected in PRELUDES:
        for step in (len(sent), 1):
            with socket.create_connection(
                (host, int(port)), 20, source_address=(source, 0)
            ) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                heard = b""
                with contextlib.suppress(ConnectionError):
                    for at in range(0, len(sent), step):
                        client.sendall(sent[at : at + step])
                    while data := client.recv(65_536):
                        heard += data
            assert heard[: len(expected) or None] == expected, (source, sent, step)


HAPROXY = """
global
    log stdout format raw local0
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend plain
    bind 127.0.0.1:{plain}
    {front}
    default_backend plain
backend plain
    server gateway {gateway} {plain_options}
frontend tls
    mode tcp
    bind 127.0.0.1:{tls}
    default_backend tls
backend tls
    mode tcp
    server gateway {gateway_tls} {tls_options}
"""


@dataclass(frozen=True)
class Haproxy:
    """A running haproxy, which passes TLS on as it is."""

    plain: str
    tls: int


@contextlib.contextmanager
def haproxy(
    folder: Path, gateway: Daemon, *, mode: str, front: str = "", options: str = ""
) -> Iterator[Haproxy]:
    """Debian's haproxy before a gateway; ``options`` are those of its servers."""
    plain, tls = free_ports(2)
    path = folder / f"haproxy-{plain}.cfg"
    path.write_text(
        HAPROXY.format(
            mode=mode, plain=plain, tls=tls, front=front, plain_options=options,
            tls_options=options, gateway=gateway.field("listen"), gateway_tls=gateway.field("tls"),
        )
    )  # fmt: skip
    with (folder / f"haproxy-{plain}.log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=log, stderr=log)
    try:
        eventually(lambda: _accepts(plain))
        yield Haproxy(f"127.0.0.1:{plain}", tls)
    finally:
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HERE, port), 5):
        return True
    return False


def test_clients_behind_haproxy_are_told_apart_by_the_proxy_protocol(cluster: Cluster) -> None:
    """On the plain port and before TLS: one that guesses keys does not slow its neighbour, and its
    sessions work. haproxy's own checks are answered.
    """
    pem = Pem.make(cluster.folder, "proxied")
    gateway = cluster.start_gateway(**WITH_PROXY_V2, **pem.settings)
    key = cluster.create_account("behind")
    options = "send-proxy-v2 check check-send-proxy inter 100"
    with haproxy(cluster.folder, gateway, mode="tcp", options=options) as front:
        eventually(lambda: ask(front.plain, WRONG, source="127.0.0.3") == OWING)
        assert ask(front.plain, WRONG, source=NEIGHBOUR).status == 401
        open_session(front.plain, key, source=NEIGHBOUR).close()
        raw = socket.create_connection((HERE, front.tls), 20, source_address=(NEIGHBOUR, 0))
        url, headers = f"wss://localhost:{front.tls}{PATH}", {"api-key": key}
        secure = ssl.create_default_context(cafile=str(pem.cert))
        with connect(url, sock=raw, ssl=secure, additional_headers=headers) as client:
            assert json.loads(client.recv(timeout=20))["type"] == "session.created"
    assert "proxy refused" not in gateway.log.read_text()


def test_clients_behind_haproxy_are_told_apart_by_a_header(cluster: Cluster) -> None:
    """As compose's file has it: what a client writes into the header itself is replaced."""
    pem = Pem.make(cluster.folder, "header")
    gateway = cluster.start_gateway(**TRUSTING, **pem.settings)
    front = "http-request set-header X-Forwarded-For %[src]"
    with haproxy(cluster.folder, gateway, mode="http", front=front) as before:
        eventually(lambda: ask(before.plain, WRONG, source="127.0.0.3") == OWING)
        assert ask(before.plain, WRONG, source=NEIGHBOUR).status == 401
        spoofed = ask(before.plain, WRONG, source="127.0.0.3", X_Forwarded_For="203.0.113.9")
        assert spoofed == OWING
