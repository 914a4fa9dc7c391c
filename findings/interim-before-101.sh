#!/usr/bin/env bash
# What: a WebSocket server, or what stands before it, sends an interim response (100 Continue, 103 Early Hints) and then
#   its 101. HTTP allows any number of 1xx responses before the last one, and a client has to read them also
#   where it expects none (RFC 9110 section 15.2).
# Guess: clients skip them, as for plain requests; haproxy passes them on, or drops them.
# Seen (haproxy 2.6.12-1+deb12u4, websockets 17.4, aiohttp 3.14.5, ws 8.23.0, undici 7.30.2 on Node 20): haproxy passes 103 on
#   before a 200, also for a request that asks for an upgrade, and answers 502 where a 101 follows it. The client of
#   websockets takes 103 for the refusal ("server rejected WebSocket connection: HTTP 103"), undici takes
#   103 but not 100. aiohttp and ws take both.
# Why it matters: a CDN that begins to send Early Hints for every path breaks the handshakes of openai-python and
#   google-genai, which have websockets below them, and all that go through haproxy, while HTTP beside them works.
set -euo pipefail
for needed in haproxy npm; do command -v $needed > /dev/null || { echo "skipped: needs Debian's haproxy, and npm"; exit 77; }; done
dir=$(mktemp -d); haproxy=
# shellcheck disable=SC2317 # called by the trap
end() { [ -z "$haproxy" ] || { kill "$haproxy"; wait "$haproxy" || true; }; rm -rf "$dir"; }
trap end EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4
npm install --silent --no-audit --no-fund --prefix "$dir" ws@8.23.0 undici@7.30.2 > /dev/null
read -r proxy server < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in sockets))')
cat > haproxy.cfg <<CFG
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen proxy
    bind 127.0.0.1:$proxy
    server only 127.0.0.1:$server
CFG
cat > client.cjs <<'JS'
const [, , library, url] = process.argv;
const socket = new (require(library).WebSocket)(url);
socket.onopen = () => (console.log('opens'), process.exit());
socket.onerror = ({ message }) => (console.log(message || 'fails'), process.exit());
JS
cat > run.py <<'PY'
import asyncio, base64, hashlib, importlib.metadata, json, re, subprocess, sys
import aiohttp
from websockets.asyncio.client import connect

PROXY, SERVER = map(int, sys.argv[1:])
INTERIM = {"none": b"", "100": b"HTTP/1.1 100 Continue\r\n\r\n", "103": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"}
ASK = "GET /{} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
KEY = base64.b64encode(bytes(16)).decode()
serving = []
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def serve(reader, writer):
    """Answers /INTERIM with a 101, and /INTERIM/plain with a 200."""
    serving.append(asyncio.current_task())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().strip("/").split("/")
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        plain = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(INTERIM[path[0]] + (plain if path[1:] else upgrade))
        if not path[1:]:
            await reader.read(1)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def statuses(path):
    """The status lines that come through haproxy, to the last response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PROXY)
    writer.write(ASK.format(path, KEY).encode())
    found = []
    while not found or found[-1] in (100, 103):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        found.append(int(head.split()[1]))
    writer.close()
    return found


async def by_websockets(url):
    try:
        async with connect(url, close_timeout=0.1):
            return "opens"
    except Exception as exc:
        return str(exc)


async def by_aiohttp(url):
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=0.1)):
            return "opens"
    except Exception as exc:
        return str(exc)


async def by_node(library, url):
    process = await asyncio.create_subprocess_exec("node", "client.cjs", library, url, stdout=subprocess.PIPE)
    return (await process.communicate())[0].decode().strip()


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", SERVER):
        for _ in range(100):  # until haproxy listens
            try:
                (await asyncio.open_connection("127.0.0.1", PROXY))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        through = {path: await statuses(path) for name in INTERIM for path in (f"{name}/plain", name)}
        clients = {}
        for name in INTERIM:
            url = f"ws://127.0.0.1:{SERVER}/{name}"
            clients[name] = {"websockets": await by_websockets(url), "aiohttp": await by_aiohttp(url), "ws": await by_node("ws", url), "undici": await by_node("undici", url)}
        await asyncio.gather(*serving)
        return through, clients


versions = {name: importlib.metadata.version(name) for name in ("websockets", "aiohttp")}
versions |= {name: json.load(open(f"node_modules/{name}/package.json"))["version"] for name in ("ws", "undici")}
print(*(f"{name} {version}" for name, version in versions.items()))
through, clients = asyncio.run(main())
for path, codes in through.items():
    print(f"  the server's interim response: {path.replace('/plain', ', then 200') if '/' in path else path + ', then 101'}; through haproxy: {codes}")
for name, told in clients.items():
    print(f"  interim response {name}: {told}")
opens = {name: [client for client in told if told[client] == "opens"] for name, told in clients.items()}
expected = {"none": ["websockets", "aiohttp", "ws", "undici"], "100": ["aiohttp", "ws"], "103": ["aiohttp", "ws", "undici"]}
is_same = through["none"] == [101] and through["103/plain"] == [103, 200] and through["103"] == through["100"] == [502] and opens == expected
sys.exit(not is_same and f"CHANGED: expected 502 for a 101 after an interim response, and {expected}")
PY
dpkg-query --show --showformat '${Package} ${Version}\n' haproxy
haproxy -q -db -f haproxy.cfg & haproxy=$!
"$dir/venv/bin/python" run.py "$proxy" "$server"
