#!/usr/bin/env bash
# What: a Realtime event of a type that OpenAI's Python SDKs do not know: one that is newer than they are, or a
#   proxy's own. And an item of a new type in an event that is known.
# Guess: it comes as an event of no known class (a generic one, or a dict), or not at all.
# Seen (openai 3.54.0): it is an instance of ConversationCreatedEvent, whose conversation is None although
#   the class says that it is never so; an unknown item is a RealtimeConversationItemSystemMessage. Each is
#   merely the first class of its union. Only the attribute `type` says what came.
#   openai-agents 0.24.0, which is built on it, makes an `error` event of it: a validation error.
# Why it matters: a client that tells events apart by their class takes what a proxy adds for the start of a
#   conversation, and one that ends at the first `error` hangs up. So such events must be asked for.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    openai==3.54.0 openai-agents==0.24.0 websockets==16.1.1
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, logging, sys
from agents.realtime import RealtimeAgent, RealtimeRunner
from openai import AsyncOpenAI
from openai.types.realtime import ConversationCreatedEvent, RealtimeConversationItemSystemMessage
from websockets.asyncio.server import serve

logging.disable()
SESSION = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "m"}
UNKNOWN = [
    {"type": "proxy.credit", "event_id": "event_1", "left": 3},
    {"type": "response.something.new", "event_id": "event_2", "response_id": "resp_1"},
]
NEW_ITEM = {"type": "conversation.item.added", "event_id": "event_3", "previous_item_id": None,
            "item": {"type": "something_new", "id": "item_1", "role": "assistant"}}


async def heard_by_openai(port):
    client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
    async with client.realtime.connect(model="m") as connection:
        await connection.session.update(session={"type": "realtime"})
        return [event async for event in connection][1:]


async def heard_by_agents(port):
    runner = RealtimeRunner(RealtimeAgent(name="a", instructions="Say hello."))
    session = await runner.run(model_config={
        "api_key": "none", "url": f"ws://127.0.0.1:{port}/v1/realtime?model=m"})
    async with session:
        return [event async for event in session if event.type == "error"]


async def main(events, listen):
    async def handler(connection):
        await connection.send(json.dumps({"type": "session.created", "event_id": "event_0", "session": SESSION}))
        await connection.recv()  # its session.update
        for event in events:
            await connection.send(json.dumps(event))

    async with serve(handler, "127.0.0.1", 0) as server:
        return await asyncio.wait_for(listen(server.sockets[0].getsockname()[1]), 30)


print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openai", "openai-agents")))
*events, added = asyncio.run(main([*UNKNOWN, NEW_ITEM], heard_by_openai))
for event in events:
    print(f"  openai: {event.type}: {type(event).__name__}, conversation={event.conversation}")
print(f"  openai: {added.type} with an item of type {added.item.type}: {type(added.item).__name__}")
errors = [str(event.error).splitlines() for event in asyncio.run(main(UNKNOWN, heard_by_agents))]
for lines in errors:
    print(f"  openai-agents: error: {lines[0][:40]}…: {lines[1].strip()[:60]}…")
is_same = len(events) == 2 and all(isinstance(event, ConversationCreatedEvent) for event in events)
is_same = is_same and isinstance(added.item, RealtimeConversationItemSystemMessage)
is_same = is_same and len(errors) == 2 and all("validation error" in lines[0] for lines in errors)
sys.exit(not is_same and "CHANGED: expected the first class of each union, and two errors of openai-agents")
PY
"$dir/venv/bin/python" "$dir/run.py"
