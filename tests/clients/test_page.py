"""The programs of docs/CLIENTS.md, run as they stand there."""

import asyncio
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from harness import Cluster, eventually

from clients.programs import needs_node
from clients.surroundings import (
    AGENTS_PYTHON,
    NODE_MODULES,
    ROOT,
    every_provider,
    run_program,
    where,
)

PAGE = (ROOT / "docs" / "CLIENTS.md").read_text()
HEAVY = ("pipecat", "livekit")  # `make clients` runs these
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
# A browser's WebSocket, for Node before 22.
BROWSER = ("--import", "./browser.mjs")


@dataclass
class Section:
    """A client: what its shell is told, and its program."""

    name: str
    shell: str = ""
    language: str = ""
    program: str = field(default="", repr=False)


def sections() -> Iterator[Section]:
    """Every section of the page that has a program."""
    for text in PAGE.split("\n## ")[1:]:
        section = Section(text.split("\n", 1)[0])
        for language, code in FENCE.findall(text):
            if language == "sh":
                section.shell += code
            else:
                assert not section.program, f"{section.name}: more than one program"
                section.language, section.program = language, code
        if section.name not in HEAVY:
            yield section


SECTIONS = list(sections())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with every provider."""
    with every_provider(pace=0) as running:
        yield running


def test_the_page_has_a_program_for_every_client() -> None:
    """A section without one, or a row of the table without a section, would prove nothing."""
    assert all(section.program for section in SECTIONS), SECTIONS
    anchors = {re.sub(r"[^\w -]", "", s.name.lower()).replace(" ", "-") for s in SECTIONS}
    linked = set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) - set(HEAVY)
    assert linked == anchors


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_program_of_the_page_works(cluster: Cluster, section: Section) -> None:
    """It ends well, and what it did is charged."""
    account = f"acct-{SECTIONS.index(section)}"
    told = where(cluster, key=cluster.create_account(account), model="").environment()
    if section.language == "js":
        needs_node()
        options = BROWSER if section.name == "A browser" else ()
        command = ["node", *options, "--input-type=module", "-"]
    else:
        command = [str(AGENTS_PYTHON if section.name == "openai-agents" else sys.executable), "-"]
    # As in a terminal: first the lines for the shell, then the program.
    asyncio.run(
        run_program(
            "bash", "-euc", f'{section.shell}\nexec "$@"', "bash", *command,
            env=told, program=section.program, folder=NODE_MODULES.parent,
        )
    )  # fmt: skip
    (row,) = eventually(lambda: cluster.usage_rows(account))
    assert row["total_tokens"] + row["billed_ms"] > 0
    assert cluster.gateways[0].complaints() == []
