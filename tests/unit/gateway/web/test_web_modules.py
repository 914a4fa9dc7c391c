"""The page's pure modules, in Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TESTS = sorted((ROOT / "tests" / "unit" / "gateway" / "web").glob("*.test.mjs"))
PROGRAM_S = 60.0


def test_there_are_tests() -> None:
    """A folder that moved would prove nothing."""
    assert TESTS


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_modules_of_the_page(path: Path) -> None:
    """Every test of the file passes, and none is skipped."""
    assert shutil.which("node"), "found no node; on Debian: apt-get install nodejs (.ci/run does)"
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(path)],
        capture_output=True, text=True, timeout=PROGRAM_S, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "# skipped 0" in done.stdout
