#!/usr/bin/env bash
# What: openai-python's on_reconnecting, when the redial is answered 401 (a key that was revoked meanwhile).
# Guess: it stops there, and the application hears of the 401, as it does at the first connect.
# Seen (openai 3.54.0): every attempt is made (max_retries), and no word of 401 is told. After a close with
#   1001 the loop over events just ends, as after a normal close; after 1012 the old close is raised.
# Why it matters: a server that refuses for good has to say so in a close that the SDK does not redial on
#   (1008), not only in the refused handshake; and after 1001 an application does not even see that it failed.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.54.0 websockets==15.0.1
cat > "$dir/run.py" <<'PY'
import asyncio, http, importlib.metadata, sys
from openai import AsyncOpenAI
from websockets.asyncio.server import serve

RETRIES = 3


async def after(code):
    asked = 0

    def refuse(connection, request):
        nonlocal asked
        asked += 1
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "") if asked > 1 else None

    async def leave(connection):
        await connection.close(code, "restarting")

    async with serve(leave, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
        connecting = client.realtime.connect(model="m", on_reconnecting=lambda event: None,
                                             max_retries=RETRIES, initial_delay=0.01, max_delay=0.01)
        async with connecting as connection:
            try:
                async for _ in connection:
                    pass
                told = "nothing"
            except Exception as exc:
                told = f"{type(exc).__name__} {exc}"
        return asked - 1, told


print("openai", importlib.metadata.version("openai"))
found = {code: asyncio.run(after(code)) for code in (1001, 1012)}
for code, (redials, told) in found.items():
    print(f"closed with {code}: {redials} redials, each answered 401; told in the end: {told}")
is_same = all(redials == RETRIES and "401" not in told for redials, told in found.values())
is_same = is_same and found[1001][1] == "nothing" and "1012" in found[1012][1]
sys.exit(not is_same and "CHANGED: expected every redial, nothing told after 1001, and the old close after 1012")
PY
"$dir/venv/bin/python" "$dir/run.py"
