"""Branch coverage of the pure modules, from ``coverage json``: at least 95 % in each package.

``make coverage`` runs the unit and property tests under ``coverage`` and calls this. A branch is a
pair of lines of which the first may be followed by the second. The shells are reported without a
bound: their branches are exercised by real processes, in other tests.
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
    """Lines and branches that ran, of all that there are, in percent."""
    ran = sum(s["covered_lines"] + s["covered_branches"] for s in summaries)
    total = sum(s["num_statements"] + s["num_branches"] for s in summaries)
    return 100.0 * ran / total if total else 100.0


def main() -> int:
    """Print modules below the bound, and each package; the exit code is 1 where one is below."""
    summary_by_path = {
        path: found["summary"] for path, found in json.loads(REPORT.read_text())["files"].items()
    }
    pure = {str(path.relative_to(ROOT)) for path in pure_modules(ROOT, PACKAGES)}
    for path in sorted(pure & summary_by_path.keys()):
        if (found := percent([summary_by_path[path]])) < PERCENT_MIN:
            print(f"{path:50} {found:6.1f} %")
    low = []
    for package in PACKAGES:
        for kind, is_pure in (("pure", True), ("shells", False)):
            chosen = [
                summary
                for path, summary in summary_by_path.items()
                if path.startswith(f"{package}/") and (path in pure) is is_pure
            ]
            found = percent(chosen)
            print(f"{package:10} {kind:7} {len(chosen):3} modules {found:6.1f} %")
            if is_pure and found < PERCENT_MIN:
                low.append(package)
    if low:
        print(f"pure modules of {', '.join(low)}: expected at least {PERCENT_MIN:g} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
