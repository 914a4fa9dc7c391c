"""The registry of the bench."""

import ast

from bench.scenarios import MODULE_BY_NAME
from tests.support.paths import ROOT


def test_every_scenario_is_registered() -> None:
    """A module that measures and is not named would never run."""
    measuring = {
        f"bench.{path.stem}"
        for path in (ROOT / "bench").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "measure"
    }
    assert measuring == set(MODULE_BY_NAME.values())
