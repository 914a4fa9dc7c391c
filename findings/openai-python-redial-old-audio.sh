#!/usr/bin/env bash
# What: openai-python's on_reconnecting. The application sends a microphone, 20 ms at a time, and its session.update
#   whenever session.created arrives, as at the beginning. The server closes with 1012 (restart).
# Guess: audio of the time between is dropped, or raises; the new session is configured first, as the old one was.
# Seen (openai 3.54.0): while the SDK redials, send() succeeds and keeps up to 1 MiB. The moment the new connection stands
#   all of it is sent, before session.created can have arrived. So the new session gets the audio of the whole gap at
#   once, unconfigured (the default voice, tools and turn detection, and 24 kHz PCM for what may be G.711), and its
#   configuration last. What was appended right before the close, but not answered, is lost.
# Why it matters: the model answers old speech without instructions, and such an answer is billed. An application that
#   asks for redials drops its audio from on_reconnecting on until session.updated.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.54.0 websockets==15.0.1
cat > "$dir/run.py" <<'PY'
import asyncio, importlib.metadata, json, sys, time
from openai import AsyncOpenAI
from websockets.asyncio.server import serve

CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "model": "m"}}
FIRST_FRAMES, DELAY_S = 5, 0.5
sessions = []


async def handler(connection):
    events = []
    sessions.append(events)
    begun = time.monotonic()
    await connection.send(json.dumps(CREATED))
    async for message in connection:
        event = json.loads(message)
        events.append((event["type"], event.get("audio"), time.monotonic() - begun))
        if len(sessions) == 1 and event.get("audio") == str(FIRST_FRAMES):
            return await connection.close(1012, "restart")
        if len(sessions) == 2 and event["type"] == "session.update":
            return await connection.close(1000)


async def main():
    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
        connecting = client.realtime.connect(model="m", on_reconnecting=lambda event: None, initial_delay=DELAY_S)
        async with connecting as connection:

            async def microphone():
                for frame in range(1, 1_000):
                    await connection.input_audio_buffer.append(audio=str(frame))
                    await asyncio.sleep(0.02)

            speaking = None
            async for event in connection:
                if event.type == "session.created":
                    await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
                    speaking = speaking or asyncio.create_task(microphone())
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)


print("openai", importlib.metadata.version("openai"))
asyncio.run(main())
kinds = [[kind.rpartition("audio_buffer.")[2] for kind, _, _ in events] for events in sessions]
print(f"  the first session gets {kinds[0]}, and is closed with 1012")
before = kinds[1].index("session.update")
frames = [int(audio) for _, audio, _ in sessions[1][:before]]
seconds = sessions[1][before - 1][2]
print(f"  the second gets {before} frames of audio ({frames[0]} to {frames[-1]}, {before * 20} ms of sound)"
      f" within {seconds * 1e3:.0f} ms, and then session.update")
is_same = len(sessions) == 2 and kinds[0][0] == "session.update"
is_same = is_same and before >= 10 and before * 0.02 > 2 * seconds and frames == list(range(frames[0], frames[0] + before))
sys.exit(not is_same and "CHANGED: expected the audio of the gap at once, and session.update after it")
PY
"$dir/venv/bin/python" "$dir/run.py"
