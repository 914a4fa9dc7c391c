#!/usr/bin/env bash
# What: a server that answers 429 with "Retry-After: 1" and an error in OpenAI's or Google's form, to a plain request and to
#   the handshake of a realtime session, of the four official SDKs.
# Guess: one client object has one kind of errors and one policy: for both it asks again, as often as max_retries or
#   retry_options say, and then raises openai.RateLimitError, or google.genai.errors.APIError, with status and message.
# Seen (openai 3.54.0, google-genai 3.4.0, websockets 17.4; openai 7.59.0, @google/genai 3.3.0, ws 8.23.0 on Node 20): true of the plain
#   request. The handshake is asked once. In Python the error is websockets.exceptions.InvalidStatus, which no
#   `except openai.OpenAIError` and no `except errors.APIError` catches; in JavaScript it is a text with the
#   number in it, without a status. The server's words and its Retry-After reach none of the four; in Python
#   they stand in exc.response.
# Why it matters: code that handles limits and wrong keys around openai.APIStatusError lets them through as soon as it
#   opens a session. What a user has to read cannot be said in a refusal, only in an event and a close.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node and npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    openai==3.54.0 google-genai==3.4.0 websockets==17.4 trustme==1.2.1
npm install --silent --no-audit --no-fund --prefix "$dir" openai@7.59.0 @google/genai@3.3.0 ws@8.23.0 > /dev/null
cat > openai_node.mjs <<'JS'
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const [, , kind, url] = process.argv;
const client = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1` });
const tell = (error) => {
  console.log(JSON.stringify([error.constructor.name, error.message, error.status ?? null]));
  process.exit();
};
if (kind === 'request') client.models.list().catch(tell);
else new OpenAIRealtimeWS({ model: 'm' }, client).on('error', tell);
JS
cat > google_genai_node.mjs <<'JS'
import { GoogleGenAI } from '@google/genai';

const [, , kind, url] = process.argv;
const ai = new GoogleGenAI({ apiKey: 'none', httpOptions: { baseUrl: url, retryOptions: { attempts: 3 } } });
const tell = (error) => {
  console.log(JSON.stringify([error.constructor.name, error.message, error.status ?? null]));
  process.exit();
};
if (kind === 'request') ai.models.generateContent({ model: 'm', contents: 'hi' }).catch(tell);
else ai.live.connect({ model: 'm', callbacks: { onmessage() {} } }).catch(tell);
JS
cat > run.py <<'PY'
import asyncio, importlib.metadata, json, os, ssl, subprocess, sys
import trustme
from google import genai
from google.genai import errors, types
from openai import AsyncOpenAI, OpenAIError

WORDS = "slow down, please"
BODY = json.dumps({"error": {"code": 429, "message": WORDS, "status": "RESOURCE_EXHAUSTED", "type": "rate_limit"}}).encode()
ANSWER = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
authority = trustme.CA()
server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("127.0.0.1").configure_cert(server_tls)
authority.configure_trust(client_tls)
authority.cert_pem.write_to_path("ca.pem")


async def openai_python(kind, url):
    client = AsyncOpenAI(api_key="none", base_url=f"{url}/v1".replace("https", "http"))
    try:
        if kind == "request":
            return await client.models.list()
        async with client.realtime.connect(model="m"):
            return None
    except Exception as exc:
        return type(exc).__name__, str(exc), isinstance(exc, OpenAIError)


async def google_genai(kind, url):
    retry = types.HttpRetryOptions(attempts=3, initial_delay=0.1)
    client = genai.Client(api_key="none", http_options=types.HttpOptions(
        base_url=url, retry_options=retry, async_client_args={"ssl": client_tls, "verify": client_tls}))
    try:
        if kind == "request":
            return await client.aio.models.generate_content(model="m", contents="hi")
        async with client.aio.live.connect(model="m"):
            return None
    except Exception as exc:
        return type(exc).__name__, str(exc), isinstance(exc, errors.APIError)


async def node(script, kind, url):
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": "ca.pem"}
    process = await asyncio.create_subprocess_exec("node", script, kind, url, stdout=subprocess.PIPE, env=environment)
    name, message, status = json.loads((await process.communicate())[0])
    return name, message, status is not None


async def openai_node(kind, url):
    return await node("openai_node.mjs", kind, url)


async def google_genai_node(kind, url):
    return await node("google_genai_node.mjs", kind, url if kind == "request" else url.replace("https", "http"))


async def told(ask, kind, tls):
    asked = 0

    async def serve(reader, writer):
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls if tls else None) as server:
        name, message, is_usual = await ask(kind, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    return name, asked, WORDS in message, is_usual


async def main():
    found = {}
    for ask, tls in ((openai_python, ()), (google_genai, ("request", "session")), (openai_node, ("request", "session")), (google_genai_node, ("request",))):
        found[ask.__name__] = {kind: await told(ask, kind, kind in tls) for kind in ("request", "session")}
    return found


print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openai", "google-genai", "websockets")), end="; Node: ")
print(*(f"{name} {json.load(open(f'node_modules/{name}/package.json'))['version']}" for name in ("openai", "@google/genai", "ws")))
is_same = True
for sdk, kinds in asyncio.run(main()).items():
    for kind, (name, asked, has_words, is_usual) in kinds.items():
        print(f"  {sdk}, a {kind}: asked {asked} times, {name}; has the server's words: {has_words}, is its usual error: {is_usual}")
        is_same &= (asked > 1, has_words, is_usual) == ((True,) * 3 if kind == "request" else (False,) * 3)
sys.exit(not is_same and "CHANGED: expected the usual error after several tries for requests, and for sessions neither")
PY
"$dir/venv/bin/python" run.py
