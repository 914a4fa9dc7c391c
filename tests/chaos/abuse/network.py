"""A network of the abusers' own, which can be cut without a word to the other side."""

import os
import shutil
import subprocess
from typing import Any

OURS, THEIRS = "10.199.77.1", "10.199.77.2"


class Network:
    """A network namespace, and a pair of devices that leads there."""

    ours, theirs = OURS, THEIRS

    def __init__(self) -> None:
        name = f"rts{os.getpid()}"
        self._name, self._device, self._far = name, f"{name}a", f"{name}b"

    @staticmethod
    def missing() -> str:
        """Why there can be none; empty: there can."""
        if os.geteuid():
            return "a network namespace needs root"
        if shutil.which("ip") is None:
            return "found no ip (iproute2)"
        probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
        return "" if not probe.returncode else "the kernel makes no network namespace here"

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs there."""
        return ("ip", "netns", "exec", self._name)

    def __enter__(self) -> "Network":
        _ip("netns", "add", self._name)
        _ip("link", "add", self._device, "type", "veth", "peer", self._far, "netns", self._name)
        _ip("addr", "add", f"{OURS}/30", "dev", self._device)
        _ip("link", "set", self._device, "up")
        _ip("-n", self._name, "addr", "add", f"{THEIRS}/30", "dev", self._far)
        _ip("-n", self._name, "link", "set", self._far, "up")
        return self

    def __exit__(self, *_: Any) -> None:
        _ip("netns", "del", self._name)

    def cut(self) -> None:
        """From now on not a packet comes or goes."""
        _ip("-n", self._name, "link", "set", self._far, "down")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
