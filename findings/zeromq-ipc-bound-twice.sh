#!/usr/bin/env bash
# What: two processes (here two sockets) bind the same ipc:// path, as when a daemon is started a second time.
# Guess: the second bind() raises EADDRINUSE, as it does over tcp, and for a Unix socket that is bound by hand.
# Seen (pyzmq 27.3.0, libzmq 4.3.5): it succeeds. libzmq removes the file first, without looking whether somebody
#   listens there. Whoever connects from then on reaches the second; who was connected stays with the first, whose
#   monitor reports nothing. When the second closes, the first is still bound, and no longer reached by
#   anybody new. An address in the abstract namespace (ipc://@name) is refused, as over tcp.
# Why it matters: a second daemon that starts, sees its mistake and exits leaves the first one deaf for everybody who
#   connects later, without an error on either side. Who wants EADDRINUSE must connect to the path first,
#   or hold a lock.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.3.0
cat > "$dir/run.py" <<'PY'
import errno, os, socket, sys
import zmq
from zmq.utils.monitor import recv_monitor_message

path = sys.argv[1] + "/usage.sock"


def bound(context, endpoint):
    pull = context.socket(zmq.PULL)
    pull.bind(endpoint)
    return pull


def second_bind(context, endpoint):
    first = bound(context, endpoint)
    try:
        bound(context, first.LAST_ENDPOINT.decode())
    except zmq.ZMQError as exc:
        return exc.errno
    return "succeeds"


def by_hand():
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(sys.argv[1] + "/plain.sock")
        try:
            second.bind(sys.argv[1] + "/plain.sock")
        except OSError as exc:
            return exc.errno


def reached(push, **pulls):
    """Whom a message of ``push`` reaches."""
    push.send(b"usage")
    poller = zmq.Poller()
    for pull in pulls.values():
        poller.register(pull, zmq.POLLIN)
    ready = dict(poller.poll(3_000))
    names = [name for name, pull in pulls.items() if pull in ready]
    for name in names:
        pulls[name].recv()
    return names


context = zmq.Context()
context.linger = 0


def connected():
    push = context.socket(zmq.PUSH)
    push.connect(f"ipc://{path}")
    return push


print("pyzmq", zmq.__version__, "libzmq", zmq.zmq_version())
binds = {name: second_bind(context, name) for name in (f"ipc://{path}.2", f"ipc://@usage-{os.getpid()}", "tcp://127.0.0.1:*")}
plain = by_hand()
for name, answer in (*binds.items(), ("a Unix socket by hand", plain)):
    shown = name.replace(sys.argv[1], "").replace(str(os.getpid()), "PID")
    print(f"  a second bind of {shown}:", answer if answer == "succeeds" else os.strerror(answer))
first = bound(context, f"ipc://{path}")
early = connected()
found = [reached(early, first=first)]
monitor = first.get_monitor_socket()
second = bound(context, f"ipc://{path}")
late = connected()
found += [reached(late, first=first, second=second), reached(early, first=first, second=second)]
second.close()
found += [reached(connected(), first=first), reached(early, first=first)]
told = []
while monitor.poll(300):
    told.append(recv_monitor_message(monitor)["event"].name)
texts = ("connects to the first", "connects after the second bind", "was connected before it", "connects after the second left",
         "was there always")
for text, names in zip(texts, found):
    print(f"  who {text} reaches {names or 'nobody'}")
print(f"  the monitor of the first was told {told}")
context.destroy(linger=0)
expected = [["first"], ["second"], ["first"], [], ["first"]]
is_same = found == expected and not told and plain == errno.EADDRINUSE
is_same = is_same and [answer == "succeeds" for answer in binds.values()] == [True, False, False]
sys.exit(not is_same and f"CHANGED: expected {expected}, and a refusal of all but the path")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
