"""Ports for programs that are told theirs, and keep them while they are down."""

import random
import socket
from pathlib import Path

LOWEST = 10_000  # below are the ports of well-known programs
HIGHEST = 65_000  # what RTS_PORT may be

_reserved: list[socket.socket] = []  # held until this process ends, whatever becomes of the ports


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, next to each other.

    None of them is one that the kernel chooses for others: such a port, free when it is looked at,
    may be anybody's before the program binds it. Nor one that another process with tests has been
    given: its programs may be down, or not up yet.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    low, high = (int(port) for port in given)
    firsts = [*range(LOWEST, low - count + 1), *range(high + 1, HIGHEST - count + 2)]
    while True:
        first = random.choice(firsts)
        ports = list(range(first, first + count))
        if all(is_free(port) and reserve(port) for port in ports):
            return ports


def listeners(port: int) -> int:
    """How many sockets listen on a port of 127.0.0.1: the kernel's own table."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(1 for line in lines if line[1] == f"0100007F:{port:04X}" and line[3] == "0A")


def reserve(port: int) -> bool:
    """Whether a port becomes ours among all processes with tests: by a name that one can have."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0realtime-switch-test-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name)
    return True


def is_free(port: int) -> bool:
    """Whether a port can be bound now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
