"""Modules of at most 400 lines and functions of at most 60, so that each can be read at once.

``python -m checks.sizes`` names longer ones and exits 1. Tests are not checked: each test is read
by itself, and a table of cases may be long.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = (
    "gateway", "accountd", "shared", "simulator", "migrations", "deploy", "bench", "checks",
)  # fmt: skip
MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60


def too_long(path: Path) -> Iterator[str]:
    """A line for the module ``path`` and for each of its functions that is too long."""
    text, name = path.read_text(), path.relative_to(ROOT)
    lines = text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield f"{name}: {lines} lines, at most {MODULE_LINES_MAX}: split it by what it is about"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                where = f"{name}:{node.lineno} {node.name}"
                yield f"{where}: {length} lines, at most {FUNCTION_LINES_MAX}"


def main() -> int:
    """Print every module and function that is too long; exit code 1 when there is one."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    found = [line for path in paths if "node_modules" not in path.parts for line in too_long(path)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
