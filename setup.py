"""Compiles the modules that every frame passes through, with mypyc, where there is a C compiler.

Everything else about the package is in pyproject.toml. The source is the same in both variants: the
gateway's own part of a round trip, without sockets, takes 1.25 µs compiled and 3.3 µs in Python. An
editable install is never compiled, so what is edited is what runs. ``RTS_COMPILED=no`` keeps
Python, ``RTS_COMPILED=yes`` fails where nothing can be compiled; otherwise a line says which of the
two it became.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

ROOT: Final = Path(__file__).resolve().parent
# Not the observers: one has two bases, which mypyc refuses, and they charge nothing. Enums and
# structs stay Python as well, since there is nothing to gain (``frames``, ``metering.base``).
MODULES: Final = (
    "gateway/frame_scanner.py",
    *(
        f"gateway/connections/{name}.py"
        for name in ("connection", "control", "downstream", "receive_queue", "sink", "upstream")
    ),
    *(f"gateway/relay/{name}.py" for name in ("kept_sinks", "sinks")),
    *(f"gateway/metering/{name}.py" for name in ("batching", "parsing", "usage_recorder")),
    *(
        f"gateway/metering/openai/{name}.py"
        for name in (
            "audio", "billed_seconds", "call_meter", "cancel", "charges", "events", "gpt_live",
            "images", "meter", "questions", "transcripts", "translation", "usage",
        )
    ),
)  # fmt: skip

# mypyc, and the libraries whose types the compiled modules need: without them a field is an Any,
# and a struct no class that can be built. pyproject.toml requires them for a build.
NEEDED: Final = ("mypyc", "h11", "msgspec", "structlog", "websockets")
# What compiled modules import, or may: mypyc copies constants of other modules into them.
IMPORTED: Final = ("gateway", "shared")


def why_plain() -> str:
    """Why nothing is compiled here; empty where it can be."""
    if "editable_wheel" in sys.argv:
        return "an editable install runs what is edited"
    if os.environ.get("RTS_COMPILED") == "no":
        return "RTS_COMPILED=no"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:  # only without build isolation
        return f"not installed: {', '.join(missing)}"
    return "" if has_compiler() else "found no C compiler, or no header files of Python"


def has_compiler() -> bool:
    """Whether a C file that includes Python.h compiles."""
    from setuptools._distutils.ccompiler import new_compiler  # noqa: PLC0415
    from setuptools._distutils.sysconfig import (  # noqa: PLC0415
        customize_compiler,
        get_python_inc,
    )

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\n", encoding="ascii")
        try:
            compiler = new_compiler()
            customize_compiler(compiler)
            compiler.compile([str(source)], folder, include_dirs=[get_python_inc()])
        except Exception:  # noqa: BLE001 - a probe: setuptools' errors have no base of their own
            return False
    return True


def extensions() -> list[Extension]:
    """What is compiled; nothing where that cannot be."""
    reason = why_plain()
    if reason:
        if os.environ.get("RTS_COMPILED") == "yes":
            sys.exit(f"realtime-switch: RTS_COMPILED=yes, but {reason}")
        sys.stderr.write(f"realtime-switch: not compiled: {reason}\n")
        return []
    from mypyc.build import mypycify  # noqa: PLC0415

    # `make check` has judged the types. A build has those of NEEDED; msgpack, which ``shared.wire``
    # imports, has none.
    options = ["--config-file=", "--ignore-missing-imports", *MODULES]
    compiled: list[Any] = mypycify(options, opt_level="3", debug_level="0")
    return compiled


class NotedBuild(build_ext):
    """Writes down what was compiled, and from what (``gateway.build`` compares it)."""

    def run(self) -> None:
        """Compile, then write."""
        super().run()
        if self.inplace:  # ``gateway.build`` refuses what is compiled without a note
            return
        built = Path(self.build_lib)
        sources = [x for name in IMPORTED for x in sorted((ROOT / name).rglob("*.py"))]
        noted = [(x, x.relative_to(ROOT)) for x in sources]
        noted += [(Path(x), Path(x).relative_to(built)) for x in sorted(self.get_outputs())]
        lines = [f"{hashlib.sha256(x.read_bytes()).hexdigest()} {name}\n" for x, name in noted]
        (built / "gateway" / "compiled.txt").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": NotedBuild})
