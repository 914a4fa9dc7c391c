"""The search for bytes that the gateway does not survive: it runs, and it finds what is there."""

import importlib.util
from pathlib import Path

import pytest

from tests.chaos import fuzz

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this machine"
)


def test_a_short_search_finds_nothing(tmp_path: Path) -> None:
    """Of the meters, which are small: that the gateway's modules are instrumented shows."""
    (found,) = fuzz.fuzz(["meters"], 2, print, tmp_path)
    assert found.is_clean, (tmp_path / "meters.log").read_text()
    assert found.cases > 100
    assert found.branches > 500


def test_a_search_finds_what_is_there(tmp_path: Path) -> None:
    """What no chance would find, branch by branch; the input is kept."""
    found = fuzz.run("planted", 20, print, tmp_path)
    assert not found.is_clean
    assert Path(found.crash).read_bytes().startswith(b"rts")
