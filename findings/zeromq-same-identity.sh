#!/usr/bin/env bash
# What: two DEALERs with the same identity (routing id) connect to one ROUTER, as two copies of a process do
#   whose identity is its host name or its process id (which is 1 in every container).
# Guess: the second is refused so that it can see it, or takes the place of the first.
# Seen (pyzmq 27.3.0, libzmq 4.3.5): the second one's monitor reports HANDSHAKE_SUCCEEDED and no
#   disconnection, its send() accepts 5,000 messages without waiting (five times its high-water mark), and
#   none of them arrives, also once the first has left. With ROUTER_HANDOVER the same happens to the first.
# Why it matters: neither monitor nor send() shows it; only an answer that is missing does.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.3.0
cat > "$dir/run.py" <<'PY'
import collections, sys, time
import zmq
from zmq.utils.monitor import recv_monitor_message

MESSAGES = 5_000


def events(monitor):
    names = []
    while monitor.poll(300):
        names.append(recv_monitor_message(monitor)["event"].name)
    return names


def arrived(router):
    count = collections.Counter()
    while router.poll(500):
        count[router.recv_multipart()[1].decode()] += 1
    return dict(count)


def run(handover):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.ROUTER_HANDOVER = handover
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        dealers, ends = [], []
        for _ in range(2):
            dealer = context.socket(zmq.DEALER)
            dealer.IDENTITY, dealer.SNDTIMEO, dealer.linger = b"gateway-1", 500, 0
            monitor = dealer.get_monitor_socket()
            dealer.connect(f"tcp://127.0.0.1:{port}")
            dealers.append((dealer, monitor))
            ends.append(events(monitor)[-1])
        accepted = []
        for name, (dealer, monitor) in zip(("first", "second"), dealers):
            sent = 0
            try:
                for sent in range(1, MESSAGES + 1):
                    dealer.send_string(name)
            except zmq.Again:
                pass
            accepted.append(sent)
        found = arrived(router)
        told = [event for _, monitor in dealers for event in events(monitor)]
        dealers[handover][0].disable_monitor()
        dealers[handover][0].close()  # the one that is heard
        time.sleep(0.5)
        later = arrived(router)
        dealers[1 - handover][0].disable_monitor()
        dealers[1 - handover][0].close()
    print(f"handover={handover}: connections ended in {ends}; send() accepted {accepted}; told afterwards {told}")
    print(f"    arrived {found}; once the one that is heard has left {later}")
    return ends, accepted, told, found, later


print("pyzmq", zmq.__version__, "libzmq", zmq.zmq_version())
results = [run(0), run(1)]
common = (["HANDSHAKE_SUCCEEDED"] * 2, [MESSAGES] * 2, [])
expected = [(*common, {"first": MESSAGES}, {}), (*common, {"second": MESSAGES}, {})]
sys.exit(results != expected and f"CHANGED: expected {expected}")
PY
"$dir/venv/bin/python" "$dir/run.py"
