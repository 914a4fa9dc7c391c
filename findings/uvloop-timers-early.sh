#!/usr/bin/env bash
# What: loop.call_later() and asyncio.sleep() under uvloop, with times that are no whole milliseconds: frames of
#   1,024 samples at 48 kHz (21.33 ms) are due one after the other.
# Guess: a timer fires when its time has come or a little later, never before, as with asyncio; uvloop differs in
#   speed. Who sleeps until a frame is due sleeps once for each frame.
# Seen (uvloop 0.23.0, Python 3.11.7): uvloop counts whole milliseconds, and rounds to the nearest. Most timers of
#   21.33 ms fire early, by a millisecond at times, and sleep(0.0004) does not sleep at all. A loop that sleeps until a frame
#   is due wakes up too early by the loop's own clock, and then spins through the rest: dozens to hundreds of
#   wake-ups for one frame. asyncio wakes up once a frame, never early. With 20 ms flat little of it shows.
# Why it matters: a pacer of audio burns CPU for up to a millisecond a frame; code that relies on "the
#   timer has fired, so the time has come" is wrong under uvloop.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
cat > "$dir/run.py" <<'PY'
import asyncio, sys, time
import uvloop

FRAMES, FRAME_S = 100, 1_024 / 48_000


async def early_timers():
    """How many of the timers fire before their time, by Python's clock, and by how much at most."""
    loop = asyncio.get_running_loop()
    early = []
    for _ in range(FRAMES):
        fired = loop.create_future()
        begun = time.perf_counter()
        loop.call_later(FRAME_S, fired.set_result, None)
        await fired
        early.append(begun + FRAME_S - time.perf_counter())
    return sum(one > 0 for one in early), max(0, *early)


async def wakeups():
    """How often a pacer wakes up for its frames."""
    loop = asyncio.get_running_loop()
    begun, count = loop.time(), 0
    for frame in range(1, FRAMES + 1):
        while (left := begun + frame * FRAME_S - loop.time()) > 0:
            await asyncio.sleep(left)
            count += 1
    return count


async def short_sleep():
    begun = time.perf_counter()
    for _ in range(FRAMES):
        await asyncio.sleep(0.0004)
    return (time.perf_counter() - begun) / FRAMES


print("uvloop", uvloop.__version__, "Python", sys.version.split()[0])
found = {}
for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    (early, most), woken, slept = run(early_timers()), run(wakeups()), run(short_sleep())
    found[name] = early, woken, slept
    print(f"  {name}: {early} of {FRAMES} timers of {FRAME_S * 1e3:.2f} ms fire early, by up to {most * 1e3:.2f} ms;"
          f" a pacer wakes up {woken} times for {FRAMES} frames; sleep(0.0004) takes {slept * 1e3:.3f} ms")
early, woken, slept = found["uvloop"]
is_same = found["asyncio"][0] == 0 and found["asyncio"][1] <= FRAMES and found["asyncio"][2] >= 0.0004
is_same = is_same and early > FRAMES / 4 and woken > 3 * FRAMES and slept < 0.0004
sys.exit(not is_same and "CHANGED: expected early timers, and many wake-ups, under uvloop only")
PY
"$dir/venv/bin/python" "$dir/run.py"
