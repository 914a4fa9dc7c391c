#!/usr/bin/env bash
# What: a session of livekit-plugins-openai (Realtime) whose server takes each handshake and then closes with 1008, with 4000
#   or with 1000, as one that refuses for good what only the first message shows; and one that answers 401.
# Guess: 1008 and the application's own codes end the session, as they do in openai-python. Otherwise max_retry (3) counts: after
#   three tries that came to nothing the application hears of an error that is not recoverable.
# Seen (livekit-plugins-openai 1.8.9, livekit-agents 1.8.9, aiohttp 3.14.5): the code of the close is not looked at, and each
#   handshake that succeeds starts the count anew. So it dials again after 0.1 s, without end and without growing pauses: about
#   nine times a second, each time with the session's configuration and conversation, and an error that calls itself
#   recoverable. The 401 is asked four times, and then is an error for good. What ends it is an `error` event
#   before the close whose code or type is one of a few, such as insufficient_quota; an invalid_request_error is not.
# Why it matters: one agent with a model that its key may not use opens three quarters of a million sessions a day. A server refuses in
#   the handshake what it can; a proxy limits how often one key may connect.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    livekit-agents==1.8.9 livekit-plugins-openai==1.8.9 aiohttp==3.14.5 websockets==17.4
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, logging, sys
import aiohttp
from livekit.plugins import openai
from websockets.asyncio.server import serve

CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "model": "m"}}
SECONDS = 3
logging.disable(logging.CRITICAL)


def error_event(kind):
    return {"type": "error", "event_id": "event_2", "error": {"type": kind, "code": "some_code", "message": "no", "param": None}}


async def dials(close_code=None, error=None, status=None, seconds=SECONDS):
    """How often the plugin dials, and whether the last error that it tells is recoverable."""
    dialled, errors = 0, []

    def count(connection, request):
        nonlocal dialled
        dialled += 1
        return connection.respond(status, "no") if status else None

    async def handler(connection):
        await connection.send(json.dumps(CREATED))
        await connection.recv()
        if error:
            await connection.send(json.dumps(error))
        await connection.close(close_code, "refused for good")

    async with serve(handler, "127.0.0.1", 0, process_request=count) as server, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        session = openai.realtime.RealtimeModel(base_url=url, api_key="none", model="m", http_session=http).session()
        session.on("error", errors.append)
        async with asyncio.timeout(seconds + 60):
            await asyncio.sleep(seconds)
            while status and (not errors or errors[-1].recoverable):
                await asyncio.sleep(0.1)
        found = dialled, errors[-1].recoverable
        try:
            await session.aclose()
        except Exception:
            pass  # the error that was told already
    return found


async def main():
    yield "closed with 1008", await dials(1008)
    yield "closed with 4000", await dials(4000)
    yield "closed with 1000", await dials(1000)
    yield "invalid_request_error, closed with 1008", await dials(1008, error_event("invalid_request_error"))
    yield "insufficient_quota, closed with 1008", await dials(1008, error_event("insufficient_quota"))
    yield "answered 401", await dials(status=401)


async def check():
    is_same = True
    async for name, (count, is_recoverable) in main():
        is_final = name in ("insufficient_quota, closed with 1008", "answered 401")
        print(f"  {name}: dialled {count} times{'' if 'answered' in name else f' in {SECONDS} s'}; the last error is recoverable: {is_recoverable}")
        is_same &= (count == (4 if "answered" in name else 1) and not is_recoverable) if is_final else (count > 6 and is_recoverable)
    return is_same


print(*(f"{name} {importlib.metadata.version(name)}" for name in ("livekit-plugins-openai", "livekit-agents", "aiohttp")))
sys.exit(not asyncio.run(check()) and "CHANGED: expected dials without end, but for insufficient_quota and 401")
PY
"$dir/venv/bin/python" -W ignore "$dir/run.py"
