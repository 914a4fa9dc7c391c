#!/usr/bin/env bash
# What: a TLS connection whose reader has called pause_reading(); the peer sends 40,000 bytes and
#   closes, with close_notify ("polite") or without; a second later the reader resumes.
# Guess: pausing only delays; after resume_reading() all bytes arrive, then the end, as over TCP.
# Seen (uvloop 0.23.0, Python 3.11.7): under uvloop none of the 40,000 bytes is ever delivered,
#   connection_lost comes at once. Over TCP, and with asyncio's own TLS, all of them arrive.
# Why it matters: a relay pauses reading for backpressure, and the last message before a close is
#   the one that says what a response cost.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 cryptography==46.0.3
cat > "$dir/run.py" <<'PY'
import asyncio, datetime, ipaddress, pathlib, socket, ssl, sys
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BYTES = 40_000
folder = pathlib.Path(sys.argv[1])


def make_certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


class Receiver(asyncio.Protocol):
    """Pauses at once, resumes a second later, counts."""

    def __init__(self):
        self.received, self.lost = 0, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.received:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(1, self.resume)
        self.received += len(data)

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc):
        self.lost.set_result(None)


async def received(tls, polite):
    receivers = []

    def make():
        receivers.append(Receiver())
        return receivers[-1]

    server_tls = client_tls = None
    if tls:
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        client_tls = ssl.create_default_context(cafile=folder / "cert.pem")
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=server_tls)
    peer = socket.create_connection(server.sockets[0].getsockname(), timeout=10)
    if client_tls is not None:
        peer = await asyncio.to_thread(client_tls.wrap_socket, peer, server_hostname="127.0.0.1")
    if client_tls is not None:  # session tickets: closing on unread bytes would be a reset
        peer.setblocking(False)
        try:
            peer.recv(1)
        except ssl.SSLWantReadError:
            peer.settimeout(10)
    peer.sendall(b"!")
    while not receivers or not receivers[0].received:
        await asyncio.sleep(0.01)
    peer.sendall(b"x" * BYTES)
    if client_tls is not None and polite:
        peer.setblocking(False)
        try:
            peer.unwrap()  # close_notify, without waiting for the other one
        except ssl.SSLWantReadError:
            pass
    peer.close()
    await asyncio.wait_for(receivers[0].lost, 20)
    server.close()
    return receivers[0].received - 1


make_certificate()
print("uvloop", uvloop.__version__, "Python", sys.version.split()[0])
found = {
    (loop, "TLS" if tls else "TCP", polite): runner(received(tls, polite))
    for loop, runner in (("asyncio", asyncio.run), ("uvloop", uvloop.run))
    for tls in (False, True)
    for polite in (False, True)
}
for (loop, kind, polite), count in found.items():
    print(f"{loop:8} {kind} polite={polite}: {count} of {BYTES} bytes arrived")
expected = {key: 0 if key[:2] == ("uvloop", "TLS") else BYTES for key in found}
sys.exit(found != expected and f"CHANGED: expected {expected}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
