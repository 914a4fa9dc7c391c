#!/usr/bin/env bash
# What: half of an emoji in JSON. JavaScript's strings are UTF-16, so text.slice(0, 4) may cut one in two, and so may a
#   server that streams deltas. JSON.stringify writes what is left as "\ud83d", which is valid JSON (RFC 8259 section 8.2),
#   and plain ASCII, so no check for UTF-8 sees it.
# Guess: a parser takes it, or puts U+FFFD, or refuses it as a bad surrogate; they agree, as on other valid JSON. Two
#   deltas with a half each make one emoji again.
# Seen (Python 3.11.7, msgspec 0.23.0, orjson 3.13.0, pydantic 2.14.4, openai 3.54.0, Node 20): json and Node take it. msgspec,
#   orjson and pydantic (which has jiter's parser) refuse the whole message, msgspec with "Input data was truncated", also where
#   the text is in a field that the type does not have. openai-python gives it on; in Python the two halves, joined,
#   are no emoji and cannot be encoded or printed, and event.to_json() raises. In Node they are the emoji.
# Why it matters: a server that exchanges json for a faster parser begins to refuse messages of browsers that cut texts to a
#   length; a client in Python that shows or stores deltas fails on what a client in JavaScript does not notice.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    msgspec==0.23.0 orjson==3.13.0 pydantic==2.14.4 openai==3.54.0 websockets==15.0.1
cat > cut.mjs <<'JS'
const text = 'hi 👋';
console.log(JSON.stringify([text.slice(0, 4), text.slice(4)].map((delta) => ({ delta }))));
JS
cat > joined.mjs <<'JS'
let text = '';
for (const { delta } of JSON.parse(process.argv[2])) text += delta;
console.log(Buffer.from(text).toString('hex'));
JS
cat > run.py <<'PY'
import asyncio, importlib.metadata, json, subprocess, sys
import msgspec, orjson, pydantic
from openai import AsyncOpenAI
from websockets.asyncio.server import serve


class Other(msgspec.Struct):
    type: str = ""


class Event(pydantic.BaseModel):
    delta: str


def node(script, *arguments):
    return subprocess.run(["node", script, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def outcome(act):
    try:
        act()
    except Exception as exc:
        words = " ".join(str(exc).split())
        return f"{type(exc).__name__}: {words[:90]}"
    return "taken"


async def deltas_by_openai(cut):
    async def handler(connection):
        for number, one in enumerate(cut):
            event = {"type": "response.output_text.delta", "event_id": f"event_{number}", **one}
            await connection.send(json.dumps(event))
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1").realtime.connect(model="m") as connection:
            return [await connection.recv() for _ in cut]


print("Python", sys.version.split()[0], *(f"{name} {importlib.metadata.version(name)}" for name in ("msgspec", "orjson", "pydantic", "openai")))
written = node("cut.mjs")
first = json.dumps(json.loads(written)[0])
parsers = {
    "json": lambda: json.loads(first),
    "msgspec": lambda: msgspec.json.decode(first),
    "msgspec, not in the type": lambda: msgspec.json.decode(first, type=Other),
    "orjson": lambda: orjson.loads(first),
    "pydantic": lambda: Event.model_validate_json(first),
    "pydantic after json": lambda: Event.model_validate(json.loads(first)),
}
print(f"  Node writes {written}")
found = {name: outcome(parse) for name, parse in parsers.items()}
for name, told in found.items():
    print(f"  {name}: {told}")
events = asyncio.run(deltas_by_openai(json.loads(written)))
text = "".join(event.delta for event in events)
told, encoded, in_node = outcome(events[0].to_json), outcome(text.encode), node("joined.mjs", written)
print(f"  openai-python gives {text!r}; to encode it: {encoded}; to_json(): {told}")
print(f"  the same deltas joined in Node: {bytes.fromhex(in_node).decode()!r}")
taken = [name for name, outcome in found.items() if outcome == "taken"]
is_same = taken == ["json", "pydantic after json"] and "truncated" in found["msgspec"]
is_same = is_same and text == "hi \ud83d\udc4b" and "taken" not in (told, encoded) and bytes.fromhex(in_node).decode() == "hi 👋"
sys.exit(not is_same and "CHANGED: expected that json and Node take it, and nobody else")
PY
"$dir/venv/bin/python" run.py
