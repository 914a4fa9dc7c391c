"""The console's pure modules, in Node's own test runner."""

import subprocess
from pathlib import Path

from clients.programs import needs_node

HERE = Path(__file__).parent


def test_the_pure_modules() -> None:
    """Formatting, scales, paging, words and questions."""
    needs_node()
    done = subprocess.run(
        ["node", "--test", str(HERE / "console.test.mjs")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
