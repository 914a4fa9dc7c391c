"""wss, with real processes: what works over ws works over TLS, and a bad peer harms no other."""

import asyncio
import base64
import http.client
import json
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.certificates import Pem
from tests.support.conversation import charged_ids, conversation
from tests.support.deadlines import within
from tests.support.harness import Cluster, cluster_folder, eventually, running_cluster
from tests.support.speech import tone
from tests.support.tls_clients import (
    QUERY,
    LeavingClient,
    handshaken,
    read_all,
    respond,
    tls_port,
    wss,
)

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
AT_ONCE_S = 5.0  # half of the time for which a provider is dialled
MANUAL = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {"input": {"turn_detection": None}},
}


@pytest.fixture(scope="module")
def pem() -> Iterator[Pem]:
    """The certificate of the module's gateway."""
    with cluster_folder() as other:
        yield Pem.make(other.folder)


@pytest.fixture(scope="module")
def secure(pem: Pem) -> Iterator[Cluster]:
    """A cluster whose gateway serves ws and wss."""
    with running_cluster(0) as running:
        running.start_gateway(**pem.settings)
        yield running
        lines = running.gateways[0].log.read_text().splitlines()
        assert [line for line in lines if " level=info " not in line] == []


@pytest.fixture(scope="module")
def key(secure: Cluster) -> str:
    """A key for the module's cluster."""
    return secure.create_account("tls")


# --- what works -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["argument", "environment"])
async def test_the_sdk_over_https(
    secure: Cluster, pem: Pem, key: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openai-python with an https base URL, the certificate given in either of its ways."""
    options: Any = {"ssl": pem.trusting()} if how == "argument" else {}
    if how == "environment":
        monkeypatch.setenv("SSL_CERT_FILE", str(pem.cert))
    base_url = f"https://localhost:{tls_port(secure)}/v1"
    client = AsyncOpenAI(api_key=key, base_url=base_url)
    async with client.realtime.connect(
        model="gpt-realtime", extra_query={"pace": "0"}, websocket_connection_options=options
    ) as connection:
        await connection.response.create()
        async for event in connection:
            assert event.type != "error"
            if event.type == "response.done":
                break


async def test_usage_over_wss_is_charged_once(secure: Cluster, pem: Pem) -> None:
    """The usual road, with the certificate trusted explicitly."""
    name = secure.create_account("charged")
    url = f"{wss(secure)}{QUERY}{name}"
    async with connect(url, ssl=pem.trusting(), max_size=None) as client:
        for _ in range(6):
            await respond(client)
    eventually(lambda: len(charged_ids(secure, "charged")) == 6)
    assert secure.audit()["ok"]


async def test_plain_and_secure_clients_share_a_gateway(
    secure: Cluster, pem: Pem, key: str
) -> None:
    """Neither port disturbs the other."""
    async with (
        connect(f"{wss(secure)}{QUERY}{key}", ssl=pem.trusting(), max_size=None) as safe,
        conversation(secure.url, key) as plain,
    ):
        response, _ = await asyncio.gather(respond(safe), plain.respond())
    assert response["status"] == "completed"


async def test_long_audio_both_ways_byte_for_byte(secure: Cluster, pem: Pem, key: str) -> None:
    """One message of 320 KB, echoed in bursts: TLS records and frames need not fall together."""
    spoken = tone(5.0, hertz=330)
    events = [
        {"type": "session.update", "session": MANUAL},
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(spoken).decode()},
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create"},
    ]
    heard = b""
    async with connect(f"{wss(secure)}{QUERY}{key}", ssl=pem.trusting(), max_size=None) as client:
        for event in events:
            await client.send(json.dumps(event))
        while (event := json.loads(await client.recv()))["type"] != "response.done":
            if event["type"] == "response.output_audio.delta":
                heard += base64.b64decode(event["delta"])
    assert heard == spoken


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_provider_over_wss(secure: Cluster, pem: Pem, key: str, is_trusted: bool) -> None:
    """A gateway as another gateway's provider; one that is not trusted is explained at once."""
    name = f"chain-{is_trusted}"
    trust = {"SSL_CERT_FILE": str(pem.cert)} if is_trusted else {}
    provider = f"https://localhost:{tls_port(secure)}/v1"
    front = secure.start_gateway(OPENAI_BASE_URL=provider, OPENAI_API_KEY=key, **trust)
    account = secure.create_account(name)
    url = f"ws://{front.field('listen')}/v1/realtime"
    async with conversation(url, account) as client:
        if is_trusted:
            await client.respond_times(3)
        else:
            with within(AT_ONCE_S, front, secure.gateways[0]):
                event = json.loads(await client.socket.recv())
            assert event["error"]["code"] == "provider_unavailable"
    assert await asyncio.to_thread(front.stop) == 0
    secure.gateways.remove(front)
    assert ("CERTIFICATE_VERIFY_FAILED" in front.log.read_text()) is not is_trusted
    assert len(charged_ids(secure, name)) == (3 if is_trusted else 0)


# --- refusals and nonsense ------------------------------------------------------------------------

REQUESTS = [
    (b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: x\r\n" + UPGRADE, 401),
    (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n" + UPGRADE, 404),
    (b"GET / HTTP/1.1\r\nX-Filler: " + b"a" * 200_000 + b"\r\n\r\n", 400),
    (b"soup\r\n\r\n", 400),
    (b"\x16\x03\x01", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
]


@pytest.mark.parametrize(("request_", "status"), REQUESTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_answers_arrive_whole(
    secure: Cluster, pem: Pem, request_: bytes, status: int, version: ssl.TLSVersion
) -> None:
    """The JSON body comes whole and the end is said in TLS, not by a cut connection."""
    context = pem.trusting()
    context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", tls_port(secure)), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(request_)
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert f"Content-Length: {len(body)}".encode() in head
    json.loads(body)


def test_plain_http_to_the_tls_port_is_told(secure: Cluster) -> None:
    """A JSON answer in plain HTTP, because an alert would say nothing to such a client."""
    connection = http.client.HTTPConnection("127.0.0.1", tls_port(secure), timeout=20)
    connection.request("GET", "/v1/realtime")
    response = connection.getresponse()
    assert response.status == 400
    assert json.loads(response.read())["error"]["code"] == "tls_required"
    connection.close()


def test_tls_to_the_plain_port_ends_at_once(secure: Cluster, pem: Pem) -> None:
    """The client learns it from OpenSSL, and not from its own timeout."""
    host, port = secure.address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)wrong.version|record"),
    ):
        pem.trusting().wrap_socket(raw, server_hostname="localhost")


OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]


def test_who_offers_http_2_is_answered_in_http_1(secure: Cluster, pem: Pem) -> None:
    """A browser that is let have h2 opens its WebSocket with it (RFC 8441), which is not served."""
    context = pem.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", tls_port(secure)), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as client,
    ):
        assert client.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", OLD)
def test_old_versions_are_refused_with_an_alert(
    secure: Cluster, pem: Pem, version: ssl.TLSVersion
) -> None:
    """TLS 1.2 is the least."""
    context = pem.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", tls_port(secure)), timeout=20) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_a_client_that_does_not_trust_us_is_no_event(secure: Cluster) -> None:
    """It sends an alert and leaves."""
    with (
        socket.create_connection(("127.0.0.1", tls_port(secure)), timeout=20) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")


def cut(client: socket.socket) -> None:
    """Close with a reset, as a machine that lost its network state does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_connections_that_never_finish_hurt_nobody(secure: Cluster, pem: Pem) -> None:
    """Half handshakes, resets in the middle, silence: others are served meanwhile."""
    address = ("127.0.0.1", tls_port(secure))
    silent = [socket.create_connection(address) for _ in range(20)]
    for number, client in enumerate(silent):
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
    cut(silent.pop())
    silent.pop().close()
    garbled = socket.create_connection(address, timeout=20)
    garbled.sendall(b"\x16\x03\x01\x00\x05soup!" * 10)
    assert garbled.recv(65_536).startswith(b"\x15\x03"), "an alert"
    with handshaken(secure, pem) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200")
    for client in silent:
        client.settimeout(15)
        try:
            while client.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        client.close()
    garbled.close()


# --- endings --------------------------------------------------------------------------------------


def opened(secure: Cluster) -> int:
    """Sessions that the gateway has opened and not ended."""
    text = secure.gateways[0].log.read_text()
    return text.count("session opened") - text.count("session ended")


@pytest.mark.parametrize("how", ["reset", "no close_notify", "half a record"])
def test_a_client_that_vanishes_mid_stream(secure: Cluster, pem: Pem, key: str, how: str) -> None:
    """Whatever ended the connection, the session ends and the log stays clean."""
    before = len(secure.usage_sent())
    client = handshaken(secure, pem)
    hear_a_reply_begin(client, key)
    if how == "reset":
        cut(client)
    elif how == "no close_notify":
        client.close()
    else:
        plain = socket.socket(fileno=os.dup(client.fileno()))
        plain.sendall(b"\x17\x03\x03\x40\x00half")
        plain.close()
        client.close()
    eventually(lambda: opened(secure) == 0)
    assert len(secure.usage_sent()) == before + 1, "what was generated is known"


def test_a_client_that_leaves_mid_stream(secure: Cluster, pem: Pem, key: str) -> None:
    """Its close_notify, said over audio that is under way, is answered with ours."""
    before = len(secure.usage_sent())
    client = LeavingClient(secure, pem)
    hear_a_reply_begin(client, key)
    client.leave()
    eventually(lambda: opened(secure) == 0)
    assert len(secure.usage_sent()) == before + 1, "what was generated is known"


def hear_a_reply_begin(client: ssl.SSLSocket | LeavingClient, key: str) -> None:
    """Open a session, ask for a long reply and wait for its audio."""
    target = f"/v1/realtime?model=gpt-realtime&pace=2&reply_ms=20000&rs_key={key}"
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode() + UPGRADE)
    text = b'{"type":"response.create"}'
    client.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
    while b"response.output_audio.delta" not in client.recv(65_536):
        pass


async def test_the_close_handshake_is_whole(secure: Cluster, pem: Pem, key: str) -> None:
    """The code of either side's close arrives, then both ends of TLS."""
    async with connect(f"{wss(secure)}{QUERY}{key}", ssl=pem.trusting()) as client:
        await client.recv()
        await client.close(4321, "bye")
        assert (client.close_code, client.close_reason) == (4321, "bye")
    async with connect(f"{wss(secure)}{QUERY}{key}", ssl=pem.trusting()) as client:
        client.transport.write(b"\x83\x80\0\0\0\0")  # an opcode that is none
        with pytest.raises(ConnectionClosed):
            while True:
                await client.recv()
        assert client.close_code == 1002
