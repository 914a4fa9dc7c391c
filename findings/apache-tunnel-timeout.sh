#!/usr/bin/env bash
# What: a WebSocket through Apache's mod_proxy (upgrade=websocket) on which nobody speaks.
# Guess: ProxyPass's timeout=, or else ProxyTimeout, ends it, as it ends a plain request to the same backend.
#   Timeout is for the client's side and for what names no timeout of its own.
# Seen (apache2-bin 2.4.68-1~deb12u1, Debian 12), with `Timeout 4`: with timeout=1 a request that takes 2 s gets
#   502, and the idle tunnel stands for 4 s; with timeout=7 it stands for 7 s. The larger of both counts,
#   and so it is with ProxyTimeout.
# Why it matters: with Debian's `Timeout 300` no ProxyTimeout rids a backend of dead calls any sooner; who lowers
#   Timeout against slow clients may find that calls end as well. A ping more often than both keeps it open.
set -euo pipefail
command -v apache2 > /dev/null || { echo "skipped: needs Debian's apache2-bin"; exit 77; }
dir=$(mktemp -d); apache=
# shellcheck disable=SC2317 # called by the trap
end() { [ -z "$apache" ] || { kill "$apache"; wait "$apache" || true; }; rm -rf "$dir"; }
trap end EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4
read -r port plain shorter longer < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(one.getsockname()[1] for one in sockets))')
modules=/usr/lib/apache2/modules
cat > "$dir/apache.conf" <<CONF
ServerRoot $dir
ServerName localhost
PidFile $dir/pid
DefaultRuntimeDir $dir
ErrorLog $dir/errors
Listen 127.0.0.1:$port
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule proxy_module $modules/mod_proxy.so
LoadModule proxy_http_module $modules/mod_proxy_http.so
User www-data
Group www-data
Timeout 4
ProxyPass /plain http://127.0.0.1:$plain/ timeout=1
ProxyPass /shorter http://127.0.0.1:$shorter/ upgrade=websocket timeout=1
ProxyPass /longer http://127.0.0.1:$longer/ upgrade=websocket timeout=7
CONF
cat > "$dir/run.py" <<'PY'
import asyncio, sys, time
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection as WebSocket, serve

PORT, *BACKENDS = map(int, sys.argv[1:])
WAIT = 12


async def late(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(2)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    writer.close()


async def request():
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(b"GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer[9:12].decode()


async def stands(path):
    async with connect(f"ws://127.0.0.1:{PORT}{path}", ping_interval=None) as connection:
        begun = time.monotonic()
        try:
            await asyncio.wait_for(connection.wait_closed(), WAIT)
        except TimeoutError:
            return None, None
        return round(time.monotonic() - begun), connection.close_code


async def main():
    for _ in range(100):  # until Apache listens
        try:
            (await asyncio.open_connection("127.0.0.1", PORT))[1].close()
            break
        except OSError:
            await asyncio.sleep(0.1)
    async with await asyncio.start_server(late, "127.0.0.1", BACKENDS[0]):
        silent = {"handler": WebSocket.wait_closed, "host": "127.0.0.1", "ping_interval": None}
        async with serve(port=BACKENDS[1], **silent), serve(port=BACKENDS[2], **silent):
            return await asyncio.gather(request(), stands("/shorter"), stands("/longer"))


found = asyncio.run(main())
print(f"  timeout=1, a plain request that is answered after 2 s: {found[0]}")
for timeout, (seconds, code) in zip((1, 7), found[1:]):
    print(f"  timeout={timeout}, an idle tunnel: cut after {seconds} s, the client sees {code}")
expected = ["502", (4, 1006), (7, 1006)]
sys.exit(found != expected and f"CHANGED: expected {expected}")
PY
dpkg-query --show --showformat '${Package} ${Version}\n' apache2-bin
apache2 -d "$dir" -f "$dir/apache.conf" -DFOREGROUND & apache=$!
"$dir/venv/bin/python" "$dir/run.py" "$port" "$plain" "$shorter" "$longer" 2> "$dir/log" || { cat "$dir/log" "$dir/errors"; exit 1; }
