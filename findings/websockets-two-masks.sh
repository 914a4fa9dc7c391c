#!/usr/bin/env bash
# What: which apply_mask an application gets that unmasks frames with the one of websockets.
# Guess: websockets.utils.apply_mask is the C function where the wheel has the extension, as in the library itself.
# Seen (websockets 17.4, wheel with the extension): websockets.utils.apply_mask is a Python function always. The library's own
#   frames use websockets.speedups, which they try first. Both give the same bytes; for 1.4 kB the one of utils takes more
#   than ten times as long, for the first 128 bytes four to six times.
# Why it matters: a relay that looks at the head of each frame of a client pays half a microsecond a frame for the import.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: websockets==17.4
cat > "$dir/run.py" <<'PY'
import importlib.metadata, inspect, os, sys, timeit

from websockets import frames, utils
from websockets.speedups import apply_mask

data, mask = os.urandom(1_400), os.urandom(4)
print("websockets", importlib.metadata.version("websockets"), "python", sys.version.split()[0])
is_python = inspect.isfunction(utils.apply_mask)
is_c = not inspect.isfunction(apply_mask) and frames.apply_mask is apply_mask
is_same = utils.apply_mask(data, mask) == apply_mask(data, mask)
print(f"  utils.apply_mask: {'Python' if is_python else 'C'}; the library's own: {'C' if is_c else 'Python'}; the same bytes: {is_same}")
for size in (128, 1_400):
    slow, fast = (min(timeit.repeat(lambda f=f: f(data[:size], mask), number=20_000, repeat=5)) for f in (utils.apply_mask, apply_mask))
    print(f"  {size} bytes: the one of utils takes {slow / fast:.0f} times as long")
sys.exit(not (is_python and is_c and is_same) and "CHANGED: expected Python in utils, C in frames, the same bytes")
PY
"$dir/venv/bin/python" "$dir/run.py"
