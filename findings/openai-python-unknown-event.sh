#!/usr/bin/env bash
# What: a Realtime event of a type that openai-python does not know: one that is newer than the SDK, or a
#   proxy's own. And an item of a new type in an event that it does know.
# Guess: it comes as an event of no known class (a generic one, or a dict), so that isinstance() and match tell
#   it from all others.
# Seen (openai 3.54.0): it is an instance of ConversationCreatedEvent, whose conversation is None although
#   the class says that it is never so; an unknown item is a RealtimeConversationItemSystemMessage. Each is
#   merely the first class of its union. Only the attribute `type` says what came.
# Why it matters: a client that tells events apart by their class takes what a proxy adds for the start of a
#   conversation. So such events must be asked for, and clients must go by `type`.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.54.0 websockets==17.4
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, sys
from openai import AsyncOpenAI
from openai.types.realtime import ConversationCreatedEvent, RealtimeConversationItemSystemMessage
from websockets.asyncio.server import serve

EVENTS = [
    {"type": "proxy.credit", "event_id": "event_1", "left": 3},
    {"type": "response.something.new", "event_id": "event_2", "response_id": "resp_1"},
    {"type": "conversation.item.added", "event_id": "event_3", "previous_item_id": None,
     "item": {"type": "something_new", "id": "item_1", "role": "assistant"}},
]


async def main():
    async def handler(connection):
        for event in EVENTS:
            await connection.send(json.dumps(event))

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
        async with client.realtime.connect(model="m") as connection:
            return [event async for event in connection]


events = asyncio.run(main())
print("openai", importlib.metadata.version("openai"))
for event in events[:2]:
    print(f"  {event.type}: {type(event).__name__}, conversation={event.conversation}")
item = events[2].item
print(f"  {events[2].type}: {type(events[2]).__name__} with an item of type {item.type}: {type(item).__name__}")
is_same = all(isinstance(event, ConversationCreatedEvent) and event.conversation is None for event in events[:2])
is_same = is_same and isinstance(item, RealtimeConversationItemSystemMessage)
sys.exit(not is_same and "CHANGED: expected instances of the first class of each union")
PY
"$dir/venv/bin/python" "$dir/run.py"
