"""Every scenario of the bench runs, for a second or so: bytes and charges, and no stopwatch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scenarios import MODULE_BY_NAME
from tests.support.paths import ROOT

QUICK_S = 60


@pytest.mark.parametrize("name", MODULE_BY_NAME)
def test_a_scenario_runs_and_counts_right(name: str, tmp_path: Path) -> None:
    """It writes what it found, and what must be exact at any speed is."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--quick", "--folder", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=QUICK_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["is_quick"]
    assert {"cpu", "cores", "kernel", "python", "uvloop", "haproxy", "nginx", "sqlcipher"} <= set(
        report["machine"]
    )
    assert list(report["scenarios"]) == [name]
    outcome = report["scenarios"][name]
    assert outcome["tables"]
    for table in outcome["tables"]:
        assert table["rows"], table["title"]
        assert table["title"] in done.stdout
    for check in outcome["checks"]:
        assert check["is_right"], check
        assert check["expected"] > 0, check
    for drawing in outcome["drawings"]:
        assert (tmp_path / "bench" / drawing).stat().st_size > 0
