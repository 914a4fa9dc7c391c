#!/usr/bin/env bash
# What: nginx before two gateways, with `proxy_next_upstream error timeout http_503`, as one sets it so that a
#   handshake that a full gateway refuses with 503 is tried on the other one. Both are full for a moment.
# Guess: a 503 is an answer: the client gets it when every gateway was asked, and each new client is
#   tried anew, as haproxy does with `retry-on 503`.
# Seen (nginx 1.22.1-9+deb12u9, Debian 12): the first client gets 503. The second gets nginx's own 502 in place
#   of the gateway's 503 and its Retry-After. From then on every client gets 502 and no gateway is
#   asked, although both have room again, for 10 s: by the option each such 503 also counts as a failure of
#   the server, and one failure (max_fails=1) takes it out. With max_fails=0 all is as guessed.
# Why it matters: a short rush becomes an outage of 10 s, and clients lose the word when to come back.
set -euo pipefail
command -v nginx > /dev/null || { echo "skipped: needs Debian's nginx"; exit 77; }
dir=$(mktemp -d); nginx=
# shellcheck disable=SC2317 # called by the trap
end() { [ -z "$nginx" ] || { kill "$nginx"; wait "$nginx" || true; }; rm -rf "$dir"; }
trap end EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4
read -r port first second < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in sockets))')
cat > "$dir/nginx.conf" <<CONF
daemon off;
master_process off;
pid $dir/pid;
error_log $dir/errors;
events {}
http {
    access_log off;
    upstream usual { server 127.0.0.1:$first; server 127.0.0.1:$second; }
    upstream never { server 127.0.0.1:$first max_fails=0; server 127.0.0.1:$second max_fails=0; }
    proxy_http_version 1.1;
    proxy_set_header Upgrade \$http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_next_upstream error timeout http_503;
    server {
        listen 127.0.0.1:$port;
        location /usual { proxy_pass http://usual; }
        location /never { proxy_pass http://never; }
    }
}
CONF
cat > "$dir/run.py" <<'PY'
import asyncio, http, sys
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

PORT, *BACKENDS = map(int, sys.argv[1:])
is_full, asked = False, 0


def admit(connection, request):
    global asked
    asked += 1
    if is_full:
        refusal = connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "full")
        refusal.headers["Retry-After"] = "1"
        return refusal


async def handshake(path):
    """The status, whether it says when to come again, and how many gateways were asked."""
    global asked
    asked = 0
    try:
        async with connect(f"ws://127.0.0.1:{PORT}/{path}"):
            return 101, False, asked
    except InvalidStatus as exc:
        return exc.response.status_code, "Retry-After" in exc.response.headers, asked


async def main(path):
    global is_full
    is_full = True
    found = [await handshake(path) for _ in range(2)]
    is_full = False
    found += [await handshake(path) for _ in range(3)]
    await asyncio.sleep(11 if path == "usual" else 0)
    return [*found, await handshake(path)]


async def both():
    await asyncio.sleep(1)  # until nginx listens
    options = {"handler": ServerConnection.wait_closed, "host": "127.0.0.1", "process_request": admit}
    async with serve(port=BACKENDS[0], **options), serve(port=BACKENDS[1], **options):
        return {path: await main(path) for path in ("usual", "never")}


full, out, good = (503, True, 2), (502, False, 0), (101, False, 1)
expected = {"usual": [full, (502, False, 1), out, out, out, good], "never": [full, full, good, good, good, good]}
found = asyncio.run(both())
for path, name in (("usual", "as it is"), ("never", "max_fails=0")):
    print(f"  {name}: (status, Retry-After, gateways asked) while both are full {found[path][:2]},")
    print(f"    with room again {found[path][2:5]}, later {found[path][5]}")
sys.exit(found != expected and f"CHANGED: expected {expected}")
PY
dpkg-query --show --showformat '${Package} ${Version}\n' nginx
nginx -p "$dir" -c "$dir/nginx.conf" 2> /dev/null & nginx=$!
"$dir/venv/bin/python" "$dir/run.py" "$port" "$first" "$second" 2> "$dir/log" || { cat "$dir/log" "$dir/errors"; exit 1; }
