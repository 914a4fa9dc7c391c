#!/usr/bin/env bash
# What: the first message that a Live server sends to google-genai (Python), when it is not setupComplete: a
#   sessionResumptionUpdate, a goAway, or an error in Google's own form.
# Guess: live.connect() waits for setupComplete. What comes before is kept for receive(), or raises; an error raises.
# Seen (google-genai 3.4.0): live.connect() takes whatever comes first for the answer to the setup and drops it. The
#   session counts as open: after an error too, of which nobody hears a word. A goAway or a
#   resumption handle is gone, session_id is None, and the real setupComplete comes out of receive() later.
# Why it matters: a proxy that sends an event of its own first, or an error in place of setupComplete, does not reach
#   such a client: only a close does, and its reason. A handle is sent after setupComplete, or is lost.
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

COMPLETE = {"setupComplete": {"sessionId": "session-1"}}
HANDLE = {"sessionResumptionUpdate": {"newHandle": "handle-1", "resumable": True}}
GO_AWAY = {"goAway": {"timeLeft": "10s"}}
ERROR = {"error": {"code": 429, "message": "no credit", "status": "RESOURCE_EXHAUSTED"}}
authority = trustme.CA()
server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("127.0.0.1").configure_cert(server_tls)
authority.configure_trust(client_tls)


async def told(messages):
    """The session's id, and what receive() gives until the server closes with 1008."""

    async def handler(connection):
        await connection.recv()
        for message in messages:
            await connection.send(json.dumps(message))
        await connection.close(1008, "the reason")

    async with serve(handler, "127.0.0.1", 0, ssl=server_tls) as server:
        client = genai.Client(api_key="none", http_options=types.HttpOptions(
            base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            async_client_args={"ssl": client_tls}))
        async with client.aio.live.connect(model="m", config={"response_modalities": ["AUDIO"]}) as session:
            received = []
            try:
                async for message in session.receive():
                    received += message.model_dump(exclude_none=True)
            except Exception as exc:
                received.append(f"{type(exc).__name__} {exc}")
            return session.session_id, received


END = "APIError 1008 None. the reason"
cases = {
    "setupComplete, a handle": ([COMPLETE, HANDLE], ("session-1", ["session_resumption_update", END])),
    "a handle, setupComplete": ([HANDLE, COMPLETE], (None, ["setup_complete", END])),
    "goAway, setupComplete": ([GO_AWAY, COMPLETE], (None, ["setup_complete", END])),
    "an error": ([ERROR], (None, [END])),
}
print("google-genai", importlib.metadata.version("google-genai"), "websockets", importlib.metadata.version("websockets"))
is_same = True
for name, (messages, expected) in cases.items():
    found = asyncio.run(told(messages))
    print(f"  {name}: connect() succeeds with session_id {found[0]}; receive() gives {found[1]}")
    is_same &= found == expected
sys.exit(not is_same and f"CHANGED: expected {[expected for _, expected in cases.values()]}")
PY
"$dir/venv/bin/python" "$dir/run.py"
