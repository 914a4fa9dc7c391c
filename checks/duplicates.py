"""Code that stands in two places: eight or more lines of Python or JavaScript, one after the other.

``python -m checks.duplicates`` names both places and exits 1. What a line says counts, and not its
indentation; blank lines, imports, comments and docstrings do not count.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Final

LINES_MIN: Final = 8
_NO_PYTHON: Final = re.compile(
    r'^[ \t]*(?:[rb]?""".*?"""$|(?:from \S+ )?import (?:\(.*?\)|[^\n(]*$)|#[^\n]*)', re.M | re.S
)
_NO_SCRIPT: Final = re.compile(r"^[ \t]*(?:import\b.*?;$|//[^\n]*|/\*.*?\*/)", re.M | re.S)


def lines_of(name: str, text: str) -> list[tuple[int, str]]:
    """The lines that count, each after its number."""
    left_out = _NO_PYTHON if name.endswith(".py") else _NO_SCRIPT
    text = left_out.sub(lambda found: "\n" * found[0].count("\n"), text)
    return [(n, line) for n, x in enumerate(text.splitlines(), start=1) if (line := x.strip())]


def duplicates(text_by_name: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each place that repeats one before it, in the order of the names."""
    lines_by_name = {name: lines_of(name, text) for name, text in text_by_name.items()}
    places: dict[tuple[str, ...], tuple[str, int]] = {}
    for name, lines in lines_by_name.items():
        told = 0  # lines before this one are in a place that was named
        for at in range(len(lines) - LINES_MIN + 1):
            window = tuple(line for _, line in lines[at : at + LINES_MIN])
            other, first = places.setdefault(window, (name, at))
            distance = at - first if other == name else len(lines)
            if at < told or distance < LINES_MIN:
                continue
            pairs = zip(lines_by_name[other][first:], lines[at : at + distance], strict=False)
            same = list(takewhile(lambda pair: pair[0][1] == pair[1][1], pairs))
            (there, here), (last_there, last_here) = same[0], same[-1]
            told = at + len(same)
            both = f"{other}:{there[0]}-{last_there[0]} and {name}:{here[0]}-{last_here[0]}"
            yield f"{both}: {len(same)} lines are the same; put them where both can use them"


def main() -> int:
    """Print every repetition in the tracked files; exit code 1 when there is one."""
    listed = subprocess.check_output(["git", "ls-files", "*.py", "*.js", "*.mjs"], text=True)  # noqa: S607
    paths = [path for path in map(Path, listed.splitlines()) if path.exists()]
    found = list(duplicates({str(path): path.read_text() for path in paths}))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
