#!/usr/bin/env bash
# What: pyzmq, the time to ask whether another frame of a message follows (RCVMORE), beside the time to receive one.
# Guess: to ask is nearly free, a flag of the last frame; recv_multipart, which asks after each frame, costs what its
#   frames cost.
# Seen (pyzmq 27.3.0, libzmq 4.3.5): to ask costs more than to receive a frame. A message of three short frames takes three
#   times as long as Frames (copy=False, which know by themselves what follows), four times by recv_multipart and nine
#   times by recv and socket.rcvmore, as it does by three recv in a row. socket.rcvmore goes through Python's attribute
#   lookup and an enumeration to zmq_getsockopt; recv stays in C.
# Why it matters: who takes many short messages reads Frames, or has one frame sent; usage is received as Frames here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.3.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

import zmq

MESSAGES, ROUNDS = 20_000, 7
PARTS = [b"p" * 16, b"s" * 8, b"u" * 300]


def three(socket):
    return [socket.recv(), socket.recv(), socket.recv()]


def asking(socket):
    frames = [socket.recv()]
    while socket.rcvmore:
        frames.append(socket.recv())
    return frames


def as_frames(socket):
    frame = socket.recv(copy=False)
    frames = [frame.bytes]
    while frame.more:
        frame = socket.recv(copy=False)
        frames.append(frame.bytes)
    return frames


def multipart(socket):
    return socket.recv_multipart()


WAYS = {"three times recv": three, "recv and rcvmore": asking, "Frame.more": as_frames, "recv_multipart": multipart}
taken = dict.fromkeys(WAYS, float("inf"))
with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
    pull.setsockopt(zmq.RCVHWM, 0)
    push.setsockopt(zmq.SNDHWM, 0)
    pull.bind("inproc://x")
    push.connect("inproc://x")
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            for _ in range(MESSAGES):
                push.send_multipart(PARTS)
            started = time.thread_time()
            for _ in range(MESSAGES):
                received = way(pull)
            spent = time.thread_time() - started
            assert received == PARTS
            taken[name] = min(taken[name], spent / MESSAGES)
print("pyzmq", zmq.pyzmq_version(), "libzmq", zmq.zmq_version(), "CPython", sys.version.split()[0])
for name, seconds in taken.items():
    print(f"{name}: {seconds * 1e6:.2f} µs a message, {seconds / taken['three times recv']:.1f} times")
base = taken["three times recv"]
same = all(taken[name] > 2 * base for name in ("recv and rcvmore", "recv_multipart"))
if not (same and base < taken["Frame.more"] < taken["recv and rcvmore"]):
    sys.exit("this has changed")
PYTHON
