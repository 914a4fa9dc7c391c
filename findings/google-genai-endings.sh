#!/usr/bin/env bash
# What: what an application that iterates over session.receive() of google-genai (Python, Gemini Live) hears
#   of four valid things that a server, or a proxy, may do.
# Guess: a close with 1000 ends the loop, as it does in openai-python; a message that the SDK does not know is
#   skipped; an error in Google's own form raises an APIError with its code; a large message arrives.
# Seen (google-genai 3.4.0, websockets 17.4): the close with 1000 raises APIError 1000. Both messages raise a TypeError
#   about "<=" that holds no word of the error, though the connection is well. A message of more than 1 MiB
#   raises APIError 1006, as if the connection had broken, while the server is told 1009: the SDK leaves
#   the WebSocket library's limit in force.
# Why it matters: the code and the reason of the close are the only words that reach such an application.
#   An error event before the close, or an event of one's own, hides them.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    google-genai==3.4.0 websockets==17.4 trustme==1.2.1
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, ssl, sys
import trustme
from google import genai
from google.genai import types
from websockets.asyncio.server import serve

ERROR = {"error": {"code": 429, "message": "no credit", "status": "RESOURCE_EXHAUSTED"}}
authority = trustme.CA()
server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("127.0.0.1").configure_cert(server_tls)
authority.configure_trust(client_tls)


async def told(message, close_code):
    """What the application hears, and the code that the server does."""

    async def handler(connection):
        await connection.recv()
        await connection.send('{"setupComplete": {}}')
        if message:
            await connection.send(json.dumps(message))
        if close_code:
            await connection.close(close_code, "the reason")
        await connection.wait_closed()
        ended.set_result(connection.close_code)

    ended = asyncio.get_running_loop().create_future()
    async with serve(handler, "127.0.0.1", 0, ssl=server_tls) as server:
        client = genai.Client(api_key="none", http_options=types.HttpOptions(
            base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            async_client_args={"ssl": client_tls}))
        async with client.aio.live.connect(model="m", config={"response_modalities": ["AUDIO"]}) as session:
            try:
                async for _ in session.receive():
                    pass
                heard = "the loop ends"
            except Exception as exc:
                heard = f"{type(exc).__name__} {exc}"
        return heard, await asyncio.wait_for(ended, 20)


large = {"serverContent": {"modelTurn": {"parts": [{"text": "x" * 1_100_000}]}}}
cases = {
    "close with 1000": (None, 1000, "APIError 1000", 1000),
    "unknown message": ({"somethingNew": {"left": 3}}, None, "TypeError '<='", 1000),
    "error, then 1008": (ERROR, 1008, "TypeError '<='", 1008),
    "message of 1.1 MB": (large, None, "APIError 1006", 1009),
}
print("google-genai", importlib.metadata.version("google-genai"), "websockets", importlib.metadata.version("websockets"))
is_same = True
for name, (message, close_code, expected, expected_code) in cases.items():
    heard, code = asyncio.run(told(message, close_code))
    print(f"  {name}: the application hears: {heard}; the server: {code}")
    is_same &= heard.startswith(expected) and code == expected_code and "no credit" not in heard
sys.exit(not is_same and f"CHANGED: expected {[case[2:] for case in cases.values()]}")
PY
"$dir/venv/bin/python" "$dir/run.py"
