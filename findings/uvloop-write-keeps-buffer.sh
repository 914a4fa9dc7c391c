#!/usr/bin/env bash
# What: transport.write() is given a bytearray that the caller uses again afterwards, as one does who reads
#   into one buffer (BufferedProtocol, recv_into) and passes on what came.
# Guess: write() takes what it is given: "buffers the data", say the documents. What the caller
#   does to its buffer later changes nothing.
# Seen (uvloop 0.23.0, Python 3.11.7): what did not fit into the kernel at once stays in the caller's buffer,
#   and is sent with what stands there later: of 20 MB more than half arrive changed. asyncio's own transport
#   copies up to Python 3.11; from 3.12 on it does as uvloop. While the peer keeps up, nothing is seen.
# Why it matters: it shows under backpressure only, as damaged frames of a client that is slow.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
cat > "$dir/run.py" <<'PY'
import asyncio, sys
import uvloop


class Receiver(asyncio.Protocol):
    """Counts what arrives of each letter."""

    def __init__(self):
        self.before = self.after = 0
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.before += data.count(b"a")
        self.after += data.count(b"b")

    def connection_lost(self, exc):
        self.lost.set_result(exc)


async def received(size):
    loop = asyncio.get_running_loop()
    receivers = []

    def make():
        receivers.append(Receiver())
        return receivers[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    buffer = bytearray(b"a" * size)
    transport.write(buffer)
    buffer[:] = b"b" * size  # used again
    transport.close()
    while not receivers:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(receivers[0].lost, 20)
    server.close()
    return receivers[0].before, receivers[0].after


print("uvloop", uvloop.__version__, "Python", sys.version.split()[0])
changed = {}
for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    for size in (1_000, 20_000_000):
        before, after = run(received(size))
        changed[name, size] = after
        print(f"  {name}, write() of {size} bytes: {before} arrive as they were, {after} as they were made later")
is_same = changed["uvloop", 1_000] == changed["asyncio", 1_000] == 0 and changed["uvloop", 20_000_000] > 0
is_same = is_same and (changed["asyncio", 20_000_000] > 0) == (sys.version_info >= (3, 12))
sys.exit(not is_same and "CHANGED: expected changed bytes under uvloop, and under asyncio from Python 3.12 on")
PY
"$dir/venv/bin/python" "$dir/run.py"
