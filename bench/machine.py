"""What the bench ran on, and which of the programs to compare with are there."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple


class Program(NamedTuple):
    """A program that relays are compared with: how it says its version, and how to get it."""

    version: tuple[str, ...]
    hint: str


PROGRAMS: Final = {
    "haproxy": Program(("-v",), "apt-get install haproxy"),
    "nginx": Program(("-v",), "apt-get install nginx-light"),
    "litellm": Program(("--version",), "pipx install 'litellm[proxy]', or its folder in PATH"),
}
_PLACES: Final = "/usr/sbin:/usr/local/sbin:/sbin"  # often not in a user's PATH
_VERSION: Final = re.compile(r"\d+(\.\d+)+\S*")


def find(name: str) -> str | None:
    """The path of one of ``PROGRAMS``, or None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_PLACES)


def missing() -> list[str]:
    """A line for each program that is not there, with what to run."""
    return [
        f"found no {name} to compare with: {program.hint}"
        for name, program in PROGRAMS.items()
        if find(name) is None
    ]


def facts() -> dict[str, Any]:
    """What figures depend on: the processor, the kernel, and versions."""
    libraries = ("uvloop", "websockets", "pyzmq", "msgpack", "peewee", "sqlcipher3")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in libraries},
        "sqlcipher": _sqlcipher(),
        **{name: _version_of(name) for name in PROGRAMS},
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _sqlcipher() -> str:
    import sqlcipher3  # noqa: PLC0415 - the bench of the relay needs no database

    connection = sqlcipher3.connect(":memory:")
    try:
        (version,) = connection.execute("PRAGMA cipher_version").fetchone()
    finally:
        connection.close()
    return str(version)


def _version_of(name: str) -> str | None:
    path = find(name)
    if path is None:
        return None
    done = subprocess.run(
        [path, *PROGRAMS[name].version], capture_output=True, text=True, timeout=60, check=False
    )
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def cpu_us(pid: int) -> float:
    """The CPU that all threads of a process have used, in microseconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e3
