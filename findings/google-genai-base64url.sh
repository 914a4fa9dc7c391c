#!/usr/bin/env bash
# What: the messages of a Gemini Live session of google-genai (Python): a setup, and quiet audio.
# Guess: JSON as the setup is, in camelCase, with audio in the usual base64 ("+" and "/").
# Seen (google-genai 3.4.0): audio is in base64url ("-" and "_"). After the setup the outer names are in
#   snake_case (realtime_input, client_content), and those within in either (mime_type beside
#   audioStreamEnd and turnComplete). Google reads all of it. Python's base64.b64decode() does not: it skips
#   characters that it does not know. Of quiet sound, whose samples are often -1 (ff ff), most chunks raise
#   an error about padding, and the others come out shorter than they were, without a word.
# Why it matters: who relays, stores or measures such audio has to read both alphabets and both spellings. A
#   test with a loud tone, or with zeros, hardly shows it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    google-genai==3.4.0 websockets==17.4 trustme==1.2.1
cat > "$dir/run.py" <<'PY'
import asyncio, base64, binascii, importlib.metadata, json, random, ssl, sys
import trustme
from google import genai
from google.genai import types
from websockets.asyncio.server import serve

CHUNKS, SAMPLES = 200, 480  # 30 ms at 16 kHz


def quiet_chunk(draw):
    samples = (draw.randint(-3, 3) for _ in range(SAMPLES))
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


async def messages(chunks):
    received = []

    async def handler(connection):
        async for message in connection:
            received.append(json.loads(message))
            if "setup" in received[-1]:
                await connection.send('{"setupComplete": {}}')

    authority = trustme.CA()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    async with serve(handler, "127.0.0.1", 0, ssl=server_tls) as server:
        client = genai.Client(api_key="none", http_options=types.HttpOptions(
            base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            async_client_args={"ssl": client_tls}))
        async with client.aio.live.connect(model="m", config={"response_modalities": ["AUDIO"]}) as session:
            for chunk in chunks:
                await session.send_realtime_input(audio=types.Blob(data=chunk, mime_type="audio/pcm;rate=16000"))
            await session.send_realtime_input(audio_stream_end=True)
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "hi"}]})
    return received


draw = random.Random(1)
chunks = [quiet_chunk(draw) for _ in range(CHUNKS)]
received = asyncio.run(messages(chunks))
texts = [message["realtime_input"]["audio"]["data"] for message in received if "audio" in message.get("realtime_input", {})]
names = [[*message, *next(iter(message.values()))] for message in (received[0], received[1], *received[-2:])]
raised = shorter = 0
for text, chunk in zip(texts, chunks, strict=True):
    try:
        shorter += len(base64.b64decode(text)) < len(chunk)
    except binascii.Error:
        raised += 1
is_url = [base64.urlsafe_b64decode(text) for text in texts] == chunks
print("google-genai", importlib.metadata.version("google-genai"), "Python", sys.version.split()[0])
for name in names:
    print("  names:", " > ".join(name[:2]), *name[2:])
print(f"  the first chunk begins {texts[0][:40]}; all of them are base64url: {is_url}")
print(f"  b64decode() of {CHUNKS} chunks of quiet sound: {raised} raise, {shorter} come out shorter,"
      f" {CHUNKS - raised - shorter} are right")
outer = [name[0] for name in names]
is_same = is_url and raised > shorter > 0 and raised + shorter == CHUNKS
is_same = is_same and outer == ["setup", "realtime_input", "realtime_input", "client_content"]
is_same = is_same and names[2][1] == "audioStreamEnd" and names[3][-1] == "turnComplete"
sys.exit(not is_same and "CHANGED: expected base64url, and snake_case around camelCase")
PY
"$dir/venv/bin/python" "$dir/run.py"
