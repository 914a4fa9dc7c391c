"""Branch coverage of the pure modules, from ``coverage json``: at least 95 % of each.

``make coverage`` runs all tests, measures the processes that they start, too, and calls this. A
branch is a pair of lines of which the second may follow the first. Other modules are reported
without a bound: their tests kill processes, and a killed process writes no coverage data.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from checks.pure import pure_modules

ROOT: Final = Path(__file__).resolve().parent.parent
REPORT: Final = ROOT / "var" / "coverage.json"
PACKAGES: Final = ("gateway", "accountd", "shared")
PERCENT_MIN: Final = 95.0


def percent(summaries: list[dict[str, Any]]) -> float:
    """The branches that were taken, in percent of all; 100 when there are none."""
    taken = sum(summary["covered_branches"] for summary in summaries)
    total = sum(summary["num_branches"] for summary in summaries)
    return 100.0 * taken / total if total else 100.0


def main() -> int:
    """Print each package and every pure module below the bound; exit code 1 when there is one."""
    summary_by_path = {
        path: found["summary"] for path, found in json.loads(REPORT.read_text())["files"].items()
    }
    pure = {str(path.relative_to(ROOT)) for path in pure_modules(ROOT, PACKAGES)}
    for package in PACKAGES:
        for kind, is_pure in (("pure", True), ("shells", False)):
            chosen = [
                summary
                for path, summary in summary_by_path.items()
                if path.startswith(f"{package}/") and (path in pure) is is_pure
            ]
            print(f"{package:10} {kind:7} {len(chosen):3} modules {percent(chosen):6.1f} %")
    is_low = not pure
    for path in sorted(pure):
        summary = summary_by_path.get(path)
        if summary is None:
            print(f"{path:50} was never imported")
            is_low = True
        elif (found := percent([summary])) < PERCENT_MIN:
            print(f"{path:50} {found:6.1f} %, expected at least {PERCENT_MIN:g}")
            is_low = True
    return 1 if is_low else 0


if __name__ == "__main__":
    sys.exit(main())
