"""Plain HTTP on the port of the clients: the page's files, and what is asked for wrongly."""

import socket
from collections.abc import Iterator

import pytest

from gateway.endpoints.pages import POLICY
from gateway.limits import BODY_BYTES_MAX
from tests.support.harness import Cluster, running_cluster
from tests.support.http_client import ask
from tests.support.tuned import SHORT_HANDSHAKE


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A gateway that serves the page."""
    with running_cluster(gateways=0) as running:
        running.start_gateway(GATEWAY_PAGE="yes")
        yield running


def send(address: str, raw: bytes) -> bytes:
    """Everything that comes back for some bytes."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(raw)
        answer = b""
        while data := client.recv(65_536):
            answer += data
    return answer


@pytest.mark.parametrize("path", ["/", "/console", "//", "/?lang=en"])
def test_a_page_comes_with_its_policy(cluster: Cluster, path: str) -> None:
    """Nothing but the gateway's own files may run in it."""
    answer = ask(cluster.address, "GET", path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "microphone=(self)" in answer.headers["Permissions-Policy"]


def test_what_a_browser_has_is_not_sent_again(cluster: Cluster) -> None:
    """Its ETag is asked about, and the answer is 304 without a body."""
    first = ask(cluster.address, "GET", "/")
    again = ask(
        cluster.address, "GET", "/", headers={"If-None-Match": f'"other", {first.headers["ETag"]}'}
    )
    changed = ask(cluster.address, "GET", "/", headers={"If-None-Match": '"other"'})
    assert (again.status, again.body) == (304, b"")
    assert (changed.status, changed.body) == (200, first.body)


def test_head_answers_as_get_without_the_body(cluster: Cluster) -> None:
    """So do the probes."""
    for path in ("/", "/healthz"):
        get, head = ask(cluster.address, "GET", path), ask(cluster.address, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(get.body))


WRONG = [
    ("GET", "/web/../server.py", 404, "not_found"),
    ("GET", "/web/%2e%2e/server.py", 404, "not_found"),
    ("GET", "/index.html", 404, "not_found"),
    ("GET", "/web/", 404, "not_found"),
    ("GET", "/nothing", 404, "not_found"),
    ("DELETE", "/nothing", 404, "not_found"),
    ("POST", "/", 405, "method_not_allowed"),
    ("PUT", "/healthz", 405, "method_not_allowed"),
    ("PUT", "/v1/realtime?model=gpt-realtime", 405, "method_not_allowed"),
    ("POST", "/v1/realtime?model=gpt-realtime", 401, "invalid_api_key"),
    ("GET", "/v1/realtime?model=gpt-realtime", 401, "invalid_api_key"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), WRONG)
def test_requests_for_what_there_is_not(
    cluster: Cluster, method: str, path: str, status: int, code: str
) -> None:
    """Each has its status and an error in the project's shape; 405 names the methods."""
    answer = ask(cluster.address, method, path)
    assert (answer.status, answer.error) == (status, code)
    assert ("Allow" in answer.headers) == (status == 405)


RAW = [
    (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 ", b"bad_request"),
    (b"GET / with spaces HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 400 ", b"bad_request"),
    (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 ", b"<!doctype html>"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 413 ", b"body_too_large",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n" % (BODY_BYTES_MAX + 1, b"a" * (BODY_BYTES_MAX + 1)),
        b"HTTP/1.1 413 ", b"body_too_large",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 400 ", b"bad_request",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 405 ", b"method_not_allowed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "begin", "within"), RAW)
def test_bytes_as_they_come(cluster: Cluster, raw: bytes, begin: bytes, within: bytes) -> None:
    """Old, broken and oversized requests get an answer, and the connection closes."""
    answer = send(cluster.address, raw)
    assert answer.startswith(begin)
    assert within in answer


def test_a_body_that_never_ends_is_not_waited_for(cluster: Cluster) -> None:
    """A request has as long as a handshake."""
    hurried = cluster.start_gateway(tuned=SHORT_HANDSHAKE)
    assert (
        send(hurried.field("listen"), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
        == b""
    )


def test_a_gateway_serves_no_page_unless_it_is_told_to(cluster: Cluster) -> None:
    """It is off by default."""
    plain = cluster.start_gateway()
    for path in ("/", "/console", "/api/account"):
        assert ask(plain.field("listen"), "GET", path).status == 404


def test_nothing_was_worth_a_complaint(cluster: Cluster) -> None:
    """What clients do wrong is their affair."""
    assert [line for gateway in cluster.gateways for line in gateway.complaints()] == []


ASKING = "GET /v1/realtime HTTP/1.1\r\nHost: h\r\n"
HIDDEN = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
AMBIGUOUS = [
    # what stands in a request, beside what others might take for another one; the answer's code
    (f"Content-Length: {len(HIDDEN)}\r\nContent-Length: {len(HIDDEN)}\r\n\r\n", "missing_model"),
    (f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n", "bad_request"),
    (f"Content-Length: 0, {len(HIDDEN)}\r\n\r\n", "bad_request"),
    (f"Content-Length: +{len(HIDDEN)}\r\n\r\n", "bad_request"),
    (f"Content-Length: {'9' * 30}\r\n\r\n", "bad_request"),
    (f"Content-Length: {len(HIDDEN)}\r\n{CHUNKED}\r\n0\r\n\r\n", "missing_model"),
    (f"{CHUNKED}Content-Length: 0\r\n\r\n0\r\n\r\n", "missing_model"),
    (f"{CHUNKED}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "bad_request"),
    ("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "bad_request"),
    ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "bad_request"),
    (f"{CHUNKED}\r\n-1\r\nx\r\n0\r\n\r\n", "bad_request"),
    (f"{CHUNKED}\r\n0x1\r\nx\r\n0\r\n\r\n", "bad_request"),
    (f"{CHUNKED}\r\n0\r\nHost: other\r\n\r\n", "missing_model"),
    ("X: a\0b\r\n\r\n", "bad_request"),
    ("X: a\rb\r\n\r\n", "bad_request"),
    ("Host: other\r\n\r\n", "bad_request"),
    ("X: a\r\n" * 200 + "\r\n", "headers_too_large"),
    ("\r\n", "missing_model"),
]


@pytest.mark.parametrize(("rest", "code"), AMBIGUOUS)
def test_one_request_stays_one(cluster: Cluster, rest: str, code: str) -> None:
    """Whatever its end could be taken for: one answer, and then the end of the connection."""
    heard = send(cluster.address, (ASKING + rest + HIDDEN).encode("latin-1"))
    assert heard.count(b"HTTP/1.1 ") == 1
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert f'"code": "{code}"'.encode() in heard
    assert b"Connection: close\r\n" in heard
