"""Runs the drills of ``docs/OPERATIONS.md``: their very lines, and what they print.

A drill is a heading ``### Drill: NAME`` with blocks of ``console``: a line that begins with ``$ ``
is a command of a shell, and what follows it is what it prints, on either output, exit code included
where it says so (``[exit 1]``). ``…`` stands for any text within a line, and on a line of its own
for any lines. A line that ends with a backslash goes on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.paths import ROOT

PAGE: Final = ROOT / "docs" / "OPERATIONS.md"
_PROMPT: Final = "$ "
_EXIT: Final = re.compile(r"\[exit (\d+)\]")
_ANYTHING: Final = "…"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, what it prints, and its exit code."""

    command: str
    output: tuple[str, ...]
    exit_code: int

    def matches(self, printed: str) -> bool:
        """Whether this is what it should print."""
        return _pattern(self.output).fullmatch(printed.rstrip("\n") + "\n") is not None


def drills(page: Path = PAGE) -> dict[str, list[Step]]:
    """The steps of each drill, by its name."""
    found: dict[str, list[Step]] = {}
    for part in re.split(r"^### Drill: ", page.read_text(), flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        text = re.split(r"^##", rest, flags=re.MULTILINE)[0]
        blocks = re.findall(r"^```console\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        found[name] = [step for block in blocks for step in _steps(block)]
    return found


def _steps(block: str) -> Iterator[Step]:
    for part in re.split(rf"^{re.escape(_PROMPT)}", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        command = [lines.pop(0)]
        while command[-1].endswith("\\"):
            command.append(lines.pop(0))
        exit_code = 0
        if lines and (ended := _EXIT.fullmatch(lines[-1])):
            exit_code = int(ended[1])
            lines.pop()
        yield Step("\n".join(command), tuple(lines), exit_code)


def _pattern(lines: tuple[str, ...]) -> re.Pattern[str]:
    parts = [
        "(?:.*\n)*" if line.strip() == _ANYTHING
        else ".*".join(re.escape(piece) for piece in line.split(_ANYTHING)) + "\n"
        for line in lines
    ]  # fmt: skip
    return re.compile("".join(parts) or "\n?")
