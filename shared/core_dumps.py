"""Switches core dumps off: a daemon's memory has keys and what was said.

Called once by each daemon before it reads a secret; its children inherit the limit.
"""

import resource
from typing import Final

# With 0 the kernel writes no file, but still pipes the dump to the program of a ``core_pattern``
# that begins with ``|`` (systemd-coredump, apport). It takes 1 for such a program's own crash and
# pipes nothing (Linux, fs/coredump.c), and a file of one byte is less than the least dump.
_BYTES: Final = 1


def forbid() -> None:
    """Let no signal and no crash write this process's memory anywhere."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = _BYTES if hard == resource.RLIM_INFINITY else min(_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (allowed, allowed))
