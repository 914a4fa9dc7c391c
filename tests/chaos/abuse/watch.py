"""What the kernel knows of a gateway: who is connected to it, its memory, its CPU."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

SAMPLE_S = 0.1
# States in /proc/net/tcp of connections that were not closed from this side.
OPEN = ("01", "08")
NO_FILE = "0"  # the inode of what nobody holds: closed, or in the kernel's queue
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def connections(ports: set[int], source: str) -> set[int]:
    """The ports of an address from which connections stand to ``ports``, also those that wait in
    the kernel's queue.
    """
    host = socket.inet_aton(source)[::-1].hex().upper()
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, _, _, _, _, _, file, *_ = line.split()
        there, _, port = remote.partition(":")
        is_held = state in OPEN or file != NO_FILE
        if there == host and is_held and int(local[-4:], 16) in ports:
            found.add(int(port, 16))
    return found


def memory_mib(pid: int) -> float:
    """What a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB


def cpu_s(pid: int) -> float:
    """The CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Watch:
    """Looks again and again, in a thread of its own, until ``stop``."""

    def __init__(self, pid: int, ports: set[int], source: str) -> None:
        self._pid = pid
        self._ports = ports
        self._source = source
        self._came: dict[int, float] = {}  # who is there, by port
        self._longest_s = 0.0
        self._cpu_begun_s = cpu_s(pid)
        self._begun = time.monotonic()
        self.since = self._begun  # from when on the time of connections counts
        self.peak_mib = 0.0
        self.seen = 0  # the most connections at once
        self.cpu = 0.0  # the share of one core that was used
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()
        self.cpu = (cpu_s(self._pid) - self._cpu_begun_s) / (time.monotonic() - self._begun)

    @property
    def left(self) -> int:
        """How many are connected."""
        return len(self._came)

    @property
    def longest_s(self) -> float:
        """How long the connection stood that stood longest."""
        now = time.monotonic()
        return max([self._longest_s, *(self._stood_s(came, now) for came in self._came.values())])

    def _run(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            with contextlib.suppress(OSError):  # the gateway is gone
                self.peak_mib = max(self.peak_mib, memory_mib(self._pid))
                self._look()

    def _look(self) -> None:
        there, now = connections(self._ports, self._source), time.monotonic()
        self.seen = max(self.seen, len(there))
        for port in self._came.keys() - there:
            self._longest_s = max(self._longest_s, self._stood_s(self._came[port], now))
        self._came = {port: self._came.get(port, now) for port in there}

    def _stood_s(self, came: float, now: float) -> float:
        return now - max(came, self.since)
