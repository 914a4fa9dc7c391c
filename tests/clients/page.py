"""Reads docs/CLIENTS.md and runs its programs."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clients.surroundings import NODE_MODULES, ROOT, run_program, where
from tests.support.harness import Cluster, eventually

PAGE = (ROOT / "docs" / "CLIENTS.md").read_text()
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
# A browser's WebSocket, for Node before 22.
_BROWSER = ("--import", "./browser.mjs")


@dataclass
class Section:
    """A client: what its shell is told, and its program."""

    name: str
    shell: str = ""
    language: str = ""
    program: str = field(default="", repr=False)

    @property
    def anchor(self) -> str:
        """How a link names the section."""
        return re.sub(r"[^\w -]", "", self.name.lower()).replace(" ", "-")

    async def run(self, cluster: Cluster, *, python: str | Path = sys.executable) -> None:
        """Run the program as in a terminal: the shell's lines first. It must end well and cost."""
        told = where(cluster, key=cluster.create_account(self.anchor), model="").environment()
        command: list[str | Path] = [python, "-"]
        if self.language == "js":
            options = _BROWSER if self.name == "A browser" else ()
            command = ["node", *options, "--input-type=module", "-"]
        await run_program(
            "bash", "-euc", f'{self.shell}\nexec "$@"', "bash", *command,
            env=told, program=self.program, folder=NODE_MODULES.parent,
        )  # fmt: skip
        # xAI bills the seconds of audio too, in a row of their own.
        expected = 2 if "xAI" in self.name else 1
        rows = eventually(lambda: len(r := cluster.usage_rows(self.anchor)) >= expected and r)
        assert len(rows) == expected
        assert all(row["total_tokens"] + row["billed_ms"] > 0 for row in rows)


def sections() -> Iterator[Section]:
    """Every section of the page."""
    for text in PAGE.split("\n## ")[1:]:
        section = Section(text.split("\n", 1)[0])
        for language, code in _FENCE.findall(text):
            if language == "sh":
                section.shell += code
            else:
                assert not section.program, f"{section.name}: more than one program"
                section.language, section.program = language, code
        yield section
