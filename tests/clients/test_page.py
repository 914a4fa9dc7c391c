"""The programs of docs/CLIENTS.md, and that of README.md, run as they stand there."""

import ast
import asyncio
import re
import sys
from collections.abc import Iterator

import pytest

from clients.page import PAGE, Section, sections
from clients.programs import needs_node
from clients.surroundings import AGENTS_PYTHON, every_provider
from tests.support.harness import Cluster, eventually
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
HEAVY = ("pipecat", "livekit", "livekit, Gemini")  # `make clients` runs these
SECTIONS = [section for section in sections() if section.name not in HEAVY]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with every provider."""
    with every_provider(pace=0) as running:
        yield running


def test_the_page_has_a_program_for_every_client() -> None:
    """A section without one, or one that the table does not know, would prove nothing."""
    assert [section.name for section in sections() if not section.program] == []
    linked = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert sorted(linked) == sorted(section.anchor for section in sections())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_program_of_the_page_works(cluster: Cluster, section: Section) -> None:
    """It ends well, and what it did is charged."""
    if section.language == "js":
        needs_node()
    python = AGENTS_PYTHON if section.name == "openai-agents" else sys.executable
    asyncio.run(section.run(cluster, python=python))
    assert cluster.gateways[0].complaints() == []


def test_the_program_of_the_readme_works(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """An OpenAI client is answered by Gemini, which is what is charged."""
    (shown,) = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    program = shown.replace("127.0.0.1:8080", cluster.address)
    code = compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    asyncio.run(eval(code, {"KEY": cluster.create_account("readme")}))
    assert "I heard you" in capsys.readouterr().out
    (row,) = eventually(lambda: cluster.usage_rows("readme"))
    assert (row["provider"], row["model"]) == ("gemini", "gemini-3.1-flash-live-preview")
