#!/usr/bin/env bash
# What: the four official SDKs of OpenAI and Google, in Python and in JavaScript, each given the base URL
#   http://127.0.0.1:PORT (of a proxy within the cluster) and asked for a realtime session.
# Guess: all of them turn http into ws and append their path, as each does for plain requests.
# Seen (openai 3.54.0, google-genai 3.4.0; openai 7.59.0 and @google/genai 3.3.0 for Node): openai-python and
#   @google/genai speak plain ws. google-genai and openai-node speak TLS to that port all the same: for each
#   provider the other language. @google/genai asks for a path that begins with two slashes.
# Why it matters: a proxy needs TLS as soon as one of two SDKs is used; and a rule of a balancer for paths under
#   "/ws/" does not match "//ws/", unless the balancer merges slashes, as nginx does and haproxy does not.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node and npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    openai==3.54.0 google-genai==3.4.0 websockets==17.4
npm install --silent --no-audit --no-fund --prefix "$dir" openai@7.59.0 @google/genai@3.3.0 ws@8.23.0 > /dev/null
cat > openai_python.py <<'PY'
import sys
from openai import OpenAI

with OpenAI(api_key="none", base_url=sys.argv[1]).realtime.connect(model="m"):
    pass
PY
cat > google_genai_python.py <<'PY'
import asyncio, sys
from google import genai
from google.genai import types


async def main():
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=sys.argv[1]))
    async with client.aio.live.connect(model="m"):
        pass


asyncio.run(main())
PY
cat > openai_node.mjs <<'JS'
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const client = new OpenAI({ apiKey: 'none', baseURL: process.argv[2] });
new OpenAIRealtimeWS({ model: 'm' }, client).on('error', () => process.exit(1));
JS
cat > google_genai_node.mjs <<'JS'
import { GoogleGenAI } from '@google/genai';

const ai = new GoogleGenAI({ apiKey: 'none', httpOptions: { baseUrl: process.argv[2] } });
ai.live.connect({ model: 'm', callbacks: { onmessage() {}, onerror: () => process.exit(1) } });
JS
cat > run.py <<'PY'
import re, socket, subprocess, sys

SDKS = {
    "openai-python": ([sys.executable, "openai_python.py"], "plain", "/realtime"),
    "google-genai": ([sys.executable, "google_genai_python.py"], "TLS", ""),
    "openai-node": (["node", "openai_node.mjs"], "TLS", ""),
    "@google/genai": (["node", "google_genai_node.mjs"], "plain", "//ws"),
}


def first_bytes(command):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            data = connection.recv(4_096)
        process.kill()
        process.wait()
        return data


is_same = True
for name, (command, expected, expected_path) in SDKS.items():
    data = first_bytes(command)
    spoken = "TLS" if data[:2] == b"\x16\x03" else "plain" if data[:4] == b"GET " else repr(data[:10])
    path = re.match(r"GET ([^? ]*)", data.decode("latin-1"))
    path = path[1] if path else ""
    print(f"  {name}: {spoken} {path}")
    is_same &= spoken == expected and path.startswith(expected_path)
sys.exit(not is_same and f"CHANGED: expected {[sdk[1:] for sdk in SDKS.values()]}")
PY
"$dir/venv/bin/pip" list --disable-pip-version-check 2> /dev/null | grep -E '^(openai|google-genai) '
npm ls --depth 0 --prefix "$dir" | grep '@.*[0-9]$' | sed 's/^[^@a-z]*//'
"$dir/venv/bin/python" run.py
