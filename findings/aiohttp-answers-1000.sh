#!/usr/bin/env bash
# What: a server closes a WebSocket with 1013 "full". What the client answers, and what the server's library then gives as
#   the close code, for four client libraries.
# Guess: a client answers a close with the code it got ("typically echoes the status code", RFC 6455 section 5.5.1),
#   so that connection.close_code at the server is 1013, whoever the client is.
# Seen (aiohttp 3.14.5, websockets 17.4, ws 8.23.0 and undici 7.30.2 on Node 20): aiohttp's client gives its application
#   1013, and answers 1000 without a reason. The others answer 1013; undici leaves the reason out. The server of
#   websockets has the client's answer as close_code and close_reason: "1000" for a session that it ended itself.
# Why it matters: a count of sessions by close_code takes a failure for a normal end, for the clients that are built
#   on aiohttp (livekit's plugins among them) and no others. What was sent has to be counted, not what came.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node and npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4
npm install --silent --no-audit --no-fund --prefix "$dir" ws@8.23.0 undici@7.30.2 > /dev/null
cat > client.cjs <<'JS'
const [, , library, url] = process.argv;
const socket = new (require(library).WebSocket)(url);
socket.onclose = ({ code }) => console.log(code);
JS
cat > run.py <<'PY'
import asyncio, importlib.metadata, json, subprocess, sys
import aiohttp
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

CODE, REASON = 1013, "full"


async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        async for _ in socket:
            pass
        return socket.close_code


async def by_websockets(url):
    async with connect(url) as socket:
        await socket.wait_closed()
        return socket.close_code


async def by_node(library, url):
    process = await asyncio.create_subprocess_exec("node", "client.cjs", library, url, stdout=subprocess.PIPE)
    return int((await process.communicate())[0])


async def main():
    ended = asyncio.Queue()

    async def handler(connection):
        await connection.close(CODE, REASON)
        ended.put_nowait((connection.close_code, connection.close_reason))

    async with serve(handler, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        clients = {"aiohttp": by_aiohttp(url), "websockets": by_websockets(url), "ws": by_node("ws", url), "undici": by_node("undici", url)}
        return {name: (int(await told), *await asyncio.wait_for(ended.get(), 20)) for name, told in clients.items()}


versions = {name: importlib.metadata.version(name) for name in ("aiohttp", "websockets")}
versions |= {name: json.load(open(f"node_modules/{name}/package.json"))["version"] for name in ("ws", "undici")}
print(*(f"{name} {version}" for name, version in versions.items()))
found = asyncio.run(main())
for name, (told, code, reason) in found.items():
    print(f"  {name}: the client is told {told}; the server's close_code is {code}, its close_reason {reason!r}")
expected = {"aiohttp": (CODE, 1000, ""), "websockets": (CODE, CODE, REASON), "ws": (CODE, CODE, REASON), "undici": (CODE, CODE, "")}
sys.exit(found != expected and f"CHANGED: expected {expected}")
PY
"$dir/venv/bin/python" run.py
