#!/usr/bin/env bash
# What: a PULL that handles a message in 1 ms is killed while a PUSH sends to it as fast as send() takes
#   messages; then another PULL connects and takes all that comes. High-water mark 1 on both ends.
# Guess: with a high-water mark of 1 the killed PULL takes a handful of messages with it. What it had not
#   received is still the PUSH's, and goes to the next PULL.
# Seen (pyzmq 27.3.0, libzmq 4.3.5): over tcp thousands of accepted messages of 100 bytes are gone, over
#   ipc more than a hundred; the next PULL gets nothing but what is sent after it came. send() succeeded for
#   each of them. A PUSH gives a message up once it is written to the socket, and the mark counts neither
#   the batches under way nor what both kernels hold.
# Why it matters: a send() that succeeded promises nothing. A test with a PULL that keeps up loses nothing,
#   and so proves nothing.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.3.0
cat > "$dir/run.py" <<'PY'
import multiprocessing, sys, time
import zmq

SIZE, KILL_AFTER = 100, 300
folder = sys.argv[1]


def pull(address, count, seconds):
    """Receives until nothing comes for 2 s, ``seconds`` for each message."""
    socket = zmq.Context().socket(zmq.PULL)
    socket.RCVHWM = 1
    socket.RCVTIMEO = 2_000
    socket.connect(address)
    while True:
        try:
            socket.recv()
        except zmq.Again:
            return
        count.value += 1
        time.sleep(seconds)


def start(address, seconds):
    count = multiprocessing.Value("q", 0)
    process = multiprocessing.Process(target=pull, args=(address, count, seconds))
    process.start()
    return process, count


def lost(address):
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.SNDHWM = 1
        push.SNDTIMEO = 500
        push.bind(address)
        slow, received = start(push.LAST_ENDPOINT.decode(), 0.001)
        accepted = 0
        while received.value < KILL_AFTER:
            try:
                push.send(b"x" * SIZE)
                accepted += 1
            except zmq.Again:
                break  # everything is full
        slow.kill()
        slow.join()
        fast, received_later = start(push.LAST_ENDPOINT.decode(), 0)
        push.SNDTIMEO = 10_000
        push.send(b"after")
        fast.join()
        push.linger = 0
        missing = accepted + 1 - received.value - received_later.value
        print(f"{address[:3]}: send() accepted {accepted + 1}, the killed PULL received {received.value},"
              f" the next one {received_later.value}: {missing} are gone")
        return missing


if __name__ == "__main__":
    print("pyzmq", zmq.__version__, "libzmq", zmq.zmq_version())
    found = {"tcp": lost("tcp://127.0.0.1:*"), "ipc": lost(f"ipc://{folder}/push")}
    sys.exit(not (found["tcp"] > 1_000 and found["ipc"] > 20) and "CHANGED: expected many lost messages")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
