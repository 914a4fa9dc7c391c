#!/usr/bin/env bash
# What: openai-agents-python's RealtimeRunner, given a URL that names a model.
# Guess: the URL decides; the session.update that configures the session does not name another model.
# Seen (openai-agents 0.24.0): the first session.update carries a model of the SDK's own choice
#   ("gpt-realtime-2.1"), whatever ?model= says.
# Why it matters: who bills or allows by the client's session.update bills or refuses the wrong model;
#   the server's session.created/updated is the authority.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai-agents==0.24.0 websockets==16.1.1
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, sys
from agents.realtime import RealtimeAgent, RealtimeRunner
from websockets.asyncio.server import serve

ASKED = "gpt-realtime-mini-2025-10-06"


async def main():
    seen = asyncio.get_running_loop().create_future()

    async def handler(connection):
        await connection.send(json.dumps({"type": "session.created", "event_id": "event_1", "session": {
            "type": "realtime", "object": "realtime.session", "id": "sess_1", "model": ASKED}}))
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "session.update" and not seen.done():
                seen.set_result((connection.request.path, event["session"].get("model")))

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        runner = RealtimeRunner(RealtimeAgent(name="a", instructions="Say hello."))
        session = await runner.run(model_config={
            "api_key": "none", "url": f"ws://127.0.0.1:{port}/v1/realtime?model={ASKED}"})
        async with session:
            return await asyncio.wait_for(seen, 20)


path, model = asyncio.run(main())
print("openai-agents", importlib.metadata.version("openai-agents"))
print("connected to", path)
print("session.update names the model", model)
sys.exit(model != "gpt-realtime-2.1" and "CHANGED: expected gpt-realtime-2.1")
PY
"$dir/venv/bin/python" "$dir/run.py"
