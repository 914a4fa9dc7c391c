#!/usr/bin/env bash
# What: a plain HTTP request with a body on the port of a WebSocket server.
# Guess: since the library reads all methods, and answers a wrong one with 405 and "Allow: GET", it
#   answers every POST so; its process_request hook sees the request before and may answer itself.
# Seen (websockets 17.4): true of a POST without a body. One whose head announces a body, whenever that
#   comes, gets no answer: the hook is not called, and the connection ends. So an HTTP client hears of a
#   lost connection, tries again, and never learns that it has the wrong port or method; and no endpoint
#   that takes a body can live in the hook.
# Why it matters: what is plain HTTP must be told apart before the library reads the head.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import logging
import sys

import websockets
from websockets.asyncio.server import serve

logging.getLogger("websockets").setLevel(logging.CRITICAL)
HEAD = b"POST /v1/thing HTTP/1.1\r\nHost: here\r\n"
BODY = b'{"a": 1}'
WITH_BODY = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)


async def ask(port, *parts):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.3)
    try:
        answer = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        answer = b""
    writer.close()
    return answer.split(b"\r\n")[0].decode() or "closed without an answer"


async def main():
    hooked = []

    async def handler(connection):
        await connection.wait_closed()

    def hook(_connection, request):
        hooked.append(request.path)

    async with serve(handler, "127.0.0.1", 0, process_request=hook) as server:
        port = server.sockets[0].getsockname()[1]
        found = {}
        for name, parts in (
            ("no body", (HEAD + b"\r\n",)),
            ("body later", (WITH_BODY, BODY)),
            ("body at once", (WITH_BODY + BODY,)),
        ):
            before = len(hooked)
            answer = await ask(port, *parts)
            found[name] = (answer, len(hooked) - before)
    print(f"websockets {websockets.__version__}, Python {sys.version.split()[0]}")
    for name, (answer, calls) in found.items():
        print(f"  POST, {name:12}: {answer}; the hook was called {calls} times")
    dropped = ("closed without an answer", 0)
    refused = ("HTTP/1.1 405 Method Not Allowed", 1)
    expected = {
        "no body": refused,
        "body later": dropped,
        "body at once": dropped,
    }
    sys.exit(0 if found == expected else 1)


asyncio.run(main())
PYTHON
