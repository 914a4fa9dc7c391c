#!/usr/bin/env bash
# What: soxr's ResampleStream, fed with speech in real time, 20 ms at a time, from and to the rates of voice.
# Guess: after a short delay of its filter (some milliseconds) each 20 ms that go in give 20 ms that come out.
# Seen (soxr 1.1.0): with the default quality (HQ) nothing comes out for 80 ms between 24 kHz and 8 kHz; then
#   about 60 ms come at once, and then nothing again for 60 to 80 ms. A sample is up to 93 ms late, with VHQ
#   170 ms. Only QQ, cubic interpolation, is steady. The others work in blocks of some hundred samples of the
#   slower rate; delay() counts what is held back, but nothing makes it come earlier.
# Why it matters: a telephone's frames are 20 ms. Who sends what comes as it comes sends bursts, and a buffer
#   for playing that is shorter than such a burst runs dry.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check soxr==1.1.0 numpy==2.4.6
cat > "$dir/run.py" <<'PY'
import sys
import numpy
import soxr

CHUNK_MS, CHUNKS = 20, 250


def measure(rate_in, rate_out, quality):
    """When output comes, in ms of input: first, the pauses between, and how late the oldest sample is."""
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="int16", quality=quality)
    chunk = numpy.zeros(rate_in * CHUNK_MS // 1000, "int16")
    times, late, samples, held = [], 0, 0, 0
    for number in range(1, CHUNKS + 1):
        now = number * CHUNK_MS
        count = len(stream.resample_chunk(chunk))
        held = max(held, stream.delay() * 1000 / rate_out)
        if count:
            times.append(now)
            late = max(late, now - samples * 1000 / rate_out)
            samples += count
    pauses = [after - before for before, after in zip(times, times[1:])]
    return times[0], min(pauses), max(pauses), round(late), round(held)


print("soxr", soxr.__version__, "numpy", numpy.__version__)
results = {}
for rate_in, rate_out in ((24_000, 8_000), (8_000, 24_000), (24_000, 16_000)):
    for quality in ("QQ", "LQ", "HQ", "VHQ"):
        first, least, most, late, held = results[rate_in, rate_out, quality] = measure(rate_in, rate_out, quality)
        print(f"  {rate_in} to {rate_out} Hz, {quality}: first output after {first} ms, then every {least} to {most} ms;"
              f" a sample is up to {late} ms late; delay() says up to {held} ms")
steady = [results[rates][1:3] for rates in results if rates[2] == "QQ"]
is_same = steady == [(CHUNK_MS, CHUNK_MS)] * 3
is_same = is_same and results[24_000, 8_000, "HQ"][:3] == (80, 60, 80) == results[8_000, 24_000, "HQ"][:3]
is_same = is_same and results[24_000, 8_000, "VHQ"][3] > 150
sys.exit(not is_same and "CHANGED: expected bursts of some 60 ms with HQ, and none with QQ")
PY
"$dir/venv/bin/python" "$dir/run.py"
